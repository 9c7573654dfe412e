/** The reference on a line: what it gives to that many connections, from memory to nowhere. */
import type { Contender } from '../contender.ts'
import { measure } from '../meter.ts'
import { freePort } from '../../helpers/free-port.ts'
import { runToEnd, startServer } from '../processes.ts'
import { dataBytes } from '../holes.ts'

interface IperfReport {
  readonly end: { readonly sum_received: { readonly bits_per_second: number; readonly bytes: number } }
}

/** For as many bytes it would count what lies in its send buffers, 4 MiB a connection, as sent. */
const SECONDS = 10

/** iperf3; all figures are scaled from what arrived in `seconds` to the data of the source. */
export function iperf3(streams: number, seconds = SECONDS): Contender {
  return {
    name: `iperf3 -P ${streams}`,
    needs: ['iperf3'],
    traits: { verified: false, encrypted: false, resumable: false },
    async move({ source, line }) {
      const { sender, receiver } = line
      const port = await freePort()
      const args = ['--server', '--one-off', '--port', `${port}`]
      await using _server = await startServer(receiver, port, 'iperf3', args)
      const client = ['--client', receiver.address, '--port', `${port}`, '--json']
      const { figures, result } = await measure(line, () =>
        runToEnd(sender, 'iperf3', [...client, '--parallel', `${streams}`, '--time', `${seconds}`]),
      )
      const received = (JSON.parse(result.stdout) as IperfReport).end.sum_received
      const bytes = await dataBytes(source)
      const scale = bytes / received.bytes
      return {
        seconds: (bytes * 8) / received.bits_per_second,
        cpuSeconds: figures.cpuSeconds * scale,
        wireBytes: figures.wireBytes * scale,
        peakRssBytes: figures.peakRssBytes,
      }
    },
  }
}
