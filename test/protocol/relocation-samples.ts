/** One message of every kind of a relocation, and every body that is signed; see samples.ts. */
import { formatRoot } from '../../protocol/manifest.ts'
import type {
  Outcome,
  Parties,
  Plan,
  RelocationFrame,
  Signed,
  Term,
} from '../../protocol/relocation-message.ts'
import { bodyDigest, encodeBody, type BodyKind, type SignedBodies } from '../../protocol/relocation-signed.ts'

const SOURCE = '12D3KooWGRUyh3ecZ7tL2ipCKU2D2NFkm7xgCHZ4hVKjhqPN8tr1'
const TARGET = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'

function ascending(first: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (first + i) % 256)
}

export const parties: Parties = {
  relocation: Buffer.from(ascending(0x10, 16)).toString('hex'),
  source: SOURCE,
  target: TARGET,
}
const { relocation } = parties

/** A machine with a system disk and a volume. */
export const plan: Plan = {
  ...parties,
  service: 'shop',
  live: true,
  machines: [
    {
      machine: {
        name: 'shop-web',
        architecture: 'x86_64',
        vcpus: 2,
        memoryBytes: 512 * 2 ** 20,
        firmware: 'bios',
        chipset: 'q35',
        disks: [
          {
            id: 'vda',
            path: '',
            format: 'qcow2',
            sizeBytes: 8 * 2 ** 30,
            boot: true,
            bus: 'virtio',
            readOnly: false,
            serial: 'system',
          },
          {
            id: 'vdb',
            path: '',
            format: 'raw',
            sizeBytes: 2 ** 29,
            boot: false,
            bus: 'virtio',
            readOnly: false,
          },
        ],
        nics: [
          {
            id: 'net0',
            mac: '52:54:00:12:34:56',
            model: 'virtio',
            network: 'user',
            forwards: [{ hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 }],
          },
        ],
        extra: { start: ['shop'] },
      },
      disks: [
        { id: 'vda', sizeBytes: 8 * 2 ** 30, allocatedBytes: 2 ** 30 },
        { id: 'vdb', sizeBytes: 2 ** 29, allocatedBytes: 2 ** 28 },
      ],
      steps: [{ migrator: 'adapt-guest', version: '1.0.0', input: { hostname: 'shop-zurich' } }],
    },
  ],
  health: [
    { kind: 'http', url: 'http://127.0.0.1:8080/healthz', status: 200, contains: 'ok' },
    { kind: 'tcp', host: '127.0.0.1', port: 5432 },
  ],
  gateMs: 120_000,
}

const nonce = ascending(0x20, 16)
export const term: Term = { ...parties, nonce, leaseMs: 5000 }
export const outcome: Outcome = {
  ...parties,
  healthy: false,
  objections: [
    { code: 'HEALTH_FAILED', message: 'http://127.0.0.1:8080/healthz answered 503', hint: 'See the log' },
  ],
  timings: { adapting: 800, registering: 20, starting: 9000, checking: 1200 },
  finalDigest: ascending(0x60, 32),
}

export const bodies: { readonly [K in BodyKind]: SignedBodies[K] } = {
  plan,
  final: {
    ...parties,
    planDigest: bodyDigest(encodeBody('plan', plan)),
    disks: [
      { machine: 'shop-web', disk: 'vda', root: formatRoot(ascending(0x40, 32)) },
      { machine: 'shop-web', disk: 'vdb', root: formatRoot(ascending(0x41, 32)) },
    ],
  },
  term,
  pledge: parties,
  outcome,
  release: parties,
}

function signed<K extends BodyKind>(kind: K): Signed {
  return { body: encodeBody(kind, bodies[kind]), signature: ascending(0x80, 64) }
}

export const relocationFrames: readonly RelocationFrame[] = [
  { request: 1, message: { kind: 'prepare', plan: signed('plan'), dry: false } },
  { request: 1, message: { kind: 'pending', reason: 'A person has to allow it' } },
  {
    request: 1,
    message: {
      kind: 'answer',
      accepted: true,
      places: [
        { machine: 'shop-web', disk: 'vda', destination: 'machines/shop-web/vda.qcow2', format: 'qcow2' },
        { machine: 'shop-web', disk: 'vdb', destination: 'machines/shop-web/vdb.raw', format: 'raw' },
      ],
      warnings: ['No KVM: it runs in software'],
      objections: [],
    },
  },
  { request: 2, message: { kind: 'handover', final: signed('final') } },
  { request: 0, message: { kind: 'ask', relocation, nonce } },
  { request: 0, message: { kind: 'lease', term: signed('term') } },
  { request: 2, message: { kind: 'progress', relocation, stage: 'starting', detail: 'shop-web' } },
  {
    request: 2,
    message: {
      kind: 'changed',
      relocation,
      machine: 'shop-web',
      path: '/etc/hostname',
      diff: '-shop-geneva\n+shop-zurich\n',
    },
  },
  { request: 2, message: { kind: 'verdict', outcome: signed('outcome') } },
  { request: 3, message: { kind: 'commit', pledge: signed('pledge') } },
  { request: 4, message: { kind: 'abort', relocation, reason: 'The owner goes back' } },
  { request: 4, message: { kind: 'released', release: signed('release') } },
  { request: 5, message: { kind: 'finalize', relocation } },
  { request: 6, message: { kind: 'inquire', relocation } },
  { request: 6, message: { kind: 'standing', state: 'suspended' } },
  {
    request: 7,
    message: { kind: 'refused', code: 'POLICY_DENIED', message: 'Nothing may be relocated here' },
  },
  { request: 0, message: { kind: 'heartbeat' } },
]

/** An answer that says no. */
export const refusal: RelocationFrame = {
  request: 1,
  message: {
    kind: 'answer',
    accepted: false,
    places: [],
    warnings: [],
    objections: [{ code: 'TOO_LARGE', message: 'At most 4 processors are granted' }],
  },
}
