/** Two ends of one TLS lane in this thread: a data listener, an optional broken proxy before it, a lane dialed and a lane accepted. */
import { randomBytes } from 'node:crypto'
import { openDataListener, type AcceptedSocket } from '../../agent/viaduct/data-listener.ts'
import { TOKEN_BYTES } from '../../protocol/limits.ts'
import type { Lane, LaneIdentity } from '../../transfer/lane.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { openLane, type OpenLaneFor } from '../../transfer/lanes/open-lane.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import type { OpenLaneOptions } from '../../transfer/lanes/tls-lane.ts'
import { openBrokenProxy, type BrokenProxy } from './broken-proxy.ts'

export type PinnedIdentity = LaneIdentity & { certificateDer: Uint8Array }

/** Both ends, and the proxy all bytes pass. */
export interface TlsLanePair extends AsyncDisposable {
  readonly dialed: Lane
  readonly accepted: Lane
  readonly proxy: BrokenProxy
}

/** What differs from an honest pair: the identity a side shows, or the certificate it expects. */
export interface TlsLanePairOptions {
  readonly dialer?: { shows?: PinnedIdentity; expects?: PinnedIdentity }
  readonly accepter?: { shows?: PinnedIdentity; expects?: PinnedIdentity }
  readonly options?: OpenLaneOptions
  /** How each end does TLS. */
  readonly tls?: { readonly dialed?: OpenLaneFor['tls']; readonly accepted?: OpenLaneFor['tls'] }
}

/** The outcome of opening each end, so that a test can look at a refusal on both. */
export async function tryTlsLanePair({ dialer, accepter, options, tls }: TlsLanePairOptions = {}) {
  const [dialing, accepting] = await Promise.all([
    createLaneIdentity('dialing'),
    createLaneIdentity('accepting'),
  ])
  const owned = new AsyncDisposableStack()
  const listener = owned.use(await openDataListener({ host: '127.0.0.1', port: 0 }))
  const proxy = owned.use(await openBrokenProxy(listener.address))
  const token = randomBytes(TOKEN_BYTES)
  const socket = Promise.withResolvers<AcceptedSocket>()
  listener.expect(token, (taken) => socket.resolve(taken))
  const [dialed, accepted] = await Promise.allSettled([
    openLane(
      {
        kind: 'tls-dial',
        host: proxy.host,
        port: proxy.port,
        serverName: serverName(token, 3),
        identity: dialer?.shows ?? dialing,
        peerCertificate: (dialer?.expects ?? accepting).certificateDer,
      },
      { ...options, tls: tls?.dialed },
    ),
    socket.promise.then(({ fd, head }) =>
      openLane(
        {
          kind: 'tls-accept',
          fd,
          head,
          identity: accepter?.shows ?? accepting,
          peerCertificate: (accepter?.expects ?? dialing).certificateDer,
        },
        { ...options, tls: tls?.accepted },
      ),
    ),
  ])
  for (const outcome of [dialed, accepted]) if (outcome.status === 'fulfilled') owned.use(outcome.value)
  return { dialed, accepted, proxy, owned }
}

/** An honest pair; throws when an end cannot be opened. */
export async function openTlsLanePair(options: TlsLanePairOptions = {}): Promise<TlsLanePair> {
  const { dialed, accepted, proxy, owned } = await tryTlsLanePair(options)
  if (dialed.status === 'rejected' || accepted.status === 'rejected') {
    await owned.disposeAsync()
    throw dialed.status === 'rejected' ? dialed.reason : (accepted as PromiseRejectedResult).reason
  }
  return {
    dialed: dialed.value,
    accepted: accepted.value,
    proxy,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
