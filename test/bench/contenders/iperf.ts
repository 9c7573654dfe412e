/** The reference on a line: as many bytes as the source has data, from memory to nowhere. */
import type { Contender } from '../contender.ts'
import { dataBytes } from '../workloads.ts'
import { measure } from '../meter.ts'
import { freePort, runToEnd, startServer } from '../processes.ts'

interface IperfReport {
  readonly end: { readonly sum_received: { readonly bits_per_second: number } }
}

/** iperf3 over as many connections. */
export function iperf3(streams: number): Contender {
  return {
    name: `iperf3 -P ${streams}`,
    needs: ['iperf3'],
    traits: { verified: false, encrypted: false, resumable: false },
    async move({ source, line }) {
      const { sender, receiver } = line
      const [port, bytes] = [await freePort(), await dataBytes(source)]
      const args = ['--server', '--one-off', '--port', `${port}`]
      await using _server = await startServer(receiver, port, 'iperf3', args)
      const client = ['--client', receiver.address, '--port', `${port}`, '--json']
      const { figures, result } = await measure(line, () =>
        runToEnd(sender, 'iperf3', [...client, '--parallel', `${streams}`, '--bytes', `${bytes}`]),
      )
      const { end } = JSON.parse(result.stdout) as IperfReport
      return { ...figures, jobSeconds: (bytes * 8) / end.sum_received.bits_per_second }
    },
  }
}
