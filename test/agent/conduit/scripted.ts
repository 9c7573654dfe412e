/**
 * Relocations between things in memory: a cloud whose machines are a word each, jobs that move at once, and a target that
 * does what a test says. What they cannot show, real agents and real clouds do in test/e2e.
 */
import { pino } from 'pino'
import type { Cloud, MachineState } from '../../../agent/clouds/cloud.ts'
import type { RelocationRecord } from '../../../agent/conduit/relocation-record.ts'
import type { RelocationParts } from '../../../agent/conduit/relocation-parts.ts'
import { freshRelocation } from '../../../agent/conduit/relocation-record.ts'
import { Relocations } from '../../../agent/conduit/relocations.ts'
import { parseServiceFile } from '../../../agent/conduit/service-file.ts'
import type {
  LeaseGrantor,
  RelocationAnswer,
  RelocationRequest,
  RelocationTarget,
  TargetEvent,
} from '../../../agent/conduit/target.ts'
import { freshRecord } from '../../../agent/jobs/job-record.ts'
import { Job } from '../../../agent/jobs/job.ts'
import type { Jobs } from '../../../agent/jobs/jobs.ts'
import type { Table } from '../../../agent/state-store.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { LEASE_MS } from '../../../protocol/limits.ts'
import type { TargetStanding } from '../../../protocol/relocation-message.ts'

export const ID = 'ab'.repeat(16)
const TIMINGS = { adapting: 1, registering: 2, starting: 30, checking: 40 }
export const HEALTHY: TargetEvent = { kind: 'verdict', healthy: true, objections: [], timings: TIMINGS }
export const UNHEALTHY: TargetEvent = {
  kind: 'verdict',
  healthy: false,
  objections: [{ code: 'HEALTH_FAILED', message: 'http said 500' }],
  timings: TIMINGS,
}

/** A machine that is a word, and a list of all that was done to it. */
export function memoryCloud({ live = true }: { live?: boolean } = {}) {
  const state = {
    web: 'running' as MachineState,
    exists: true,
    marks: ['file-1-2'],
    dirty: 0,
    released: 0,
    disks: ['vda'],
  }
  const did: string[] = []
  let epoch = 0
  const cloud = {
    kind: 'qemu',
    supports: { live, pause: true, formats: ['raw'], firmware: ['bios'] },
    machines: async () => ['web'],
    state: async () => state.web,
    identity: async () => state.marks,
    snapshot: async () => {
      did.push(`snapshot while ${state.web}`)
      return {
        disks: state.disks.map((disk) => ({ disk, sizeBytes: 100, url: `nbd://h/${epoch++}`, epoch: 'e' })),
        async [Symbol.asyncDispose]() {},
      }
    },
    dirtyBytes: async () => state.dirty,
    pause: async () => {
      did.push('pause')
      state.web = 'paused'
    },
    resume: async () => {
      did.push('resume')
      state.web = 'running'
    },
    start: async () => {
      did.push('start')
      state.web = 'running'
    },
    stop: async () => {
      did.push('stop')
      state.web = 'stopped'
    },
    undefine: async () => {
      did.push('undefine')
      state.exists = false
    },
    release: async () => void state.released++,
    async [Symbol.asyncDispose]() {},
  } as unknown as Cloud
  return { cloud, state, did }
}

/** Jobs whose rounds are done as soon as `gate` says so. */
export function memoryJobs() {
  const jobs = new Map<string, Job>()
  const rounds: { last: boolean; dirty: unknown }[] = []
  const facts = { gate: async (_last: boolean, _signal: AbortSignal) => {}, renewedBytes: 8 * 2 ** 20 }
  const all = {
    async openRounds(
      spec: { source: string; destination: string; sizeBytes: number },
      { owner }: { owner: string },
    ) {
      const record = freshRecord({
        job: `${jobs.size}`.padStart(32, '0'),
        direction: 'out',
        peer: 'peer',
        ...spec,
        options: { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' },
        state: 'paused',
        rounds: { owner, number: 0, url: '', epoch: '', last: false, renewed: [] },
      })
      const job = new Job(record, { put: async () => {} }, (peer) => peer)
      jobs.set(job.id, job)
      return job
    },
    async round(
      id: string,
      { url, dirty }: { url: string; dirty?: unknown },
      options: { last: boolean; signal: AbortSignal },
    ) {
      const job = jobs.get(id)!
      options.signal.throwIfAborted()
      await job.update({ rounds: { ...job.record.rounds!, number: job.record.rounds!.number + 1, url } })
      rounds.push({ last: options.last, dirty })
      await facts.gate(options.last, options.signal)
      options.signal.throwIfAborted()
      if (options.last) await job.become('complete')
      return {
        round: job.record.rounds!.number,
        renewedBytes: facts.renewedBytes,
        sentBytes: 10,
        wireBytes: 12,
        seconds: 1,
        root: options.last ? `b3:${'cd'.repeat(32)}` : undefined,
      }
    },
    get: (id: string) => jobs.get(id)!,
    list: () => [...jobs.values()].map((job) => job.report()),
    async cancel(id: string) {
      await jobs.get(id)!.become('cancelled')
    },
  }
  return { jobs: all as unknown as Jobs, all: jobs, rounds, facts }
}

/** What the target does; a test replaces parts of it. */
export interface Script {
  answer: RelocationAnswer | Promise<RelocationAnswer>
  start(grantor: LeaseGrantor, signal: AbortSignal): AsyncIterable<TargetEvent>
  reachable: boolean
  unpaired?: boolean
  /** When it was heard last; at any time when left out. */
  heardAt?(): number
  /** Called before an abort is acknowledged. */
  onAbort(): Promise<void>
  /** Called before a commit is. */
  onCommit(): Promise<void>
  /** What an inquiry is answered with. */
  standing: TargetStanding
}

export function scriptedTarget(script: Partial<Script> = {}) {
  const did: string[] = []
  const plan: Script = {
    answer: {
      accepted: true,
      places: [{ machine: 'web', disk: 'vda', destination: 'web/vda.raw', format: 'raw' }],
      warnings: [],
    },
    async *start() {
      yield { kind: 'progress', stage: 'adapting', detail: 'web' }
      yield { kind: 'changed', machine: 'web', path: '/etc/hostname', diff: '-a\n+b\n' }
      yield { kind: 'progress', stage: 'starting', detail: 'web' }
      yield { kind: 'progress', stage: 'checking', detail: 'http' }
      yield HEALTHY
    },
    reachable: true,
    onAbort: async () => {},
    onCommit: async () => {},
    standing: 'unknown',
    ...script,
  }
  const unreachable = () => new FluidError('PEER_UNREACHABLE', 'The target does not answer')
  const open = async (_: { request: RelocationRequest }, signal: AbortSignal): Promise<RelocationTarget> => {
    if (plan.unpaired) throw new FluidError('NOT_PAIRED', 'The target is no peer')
    if (!plan.reachable) throw unreachable()
    const say = (what: string) => {
      if (!plan.reachable) throw unreachable()
      did.push(what)
    }
    return {
      get heardAt() {
        return plan.heardAt?.() ?? performance.now()
      },
      async prepare(_request, { dry }) {
        say(dry ? 'dry' : 'prepare')
        return plan.answer
      },
      start(_handover, grantor) {
        say('start')
        return plan.start(grantor, signal)
      },
      async commit() {
        say('commit')
        await plan.onCommit()
      },
      async abort() {
        await plan.onAbort()
        say('abort')
      },
      async finalize() {
        say('finalize')
      },
      inquire: async () => plan.standing,
      async [Symbol.asyncDispose]() {},
    }
  }
  return { open, did, plan }
}

/** A table in memory that keeps what a disk would: copies. */
export function memoryTable<T = RelocationRecord>(): Table<T> {
  const rows = new Map<string, string>()
  return {
    get: (key) => (rows.has(key) ? (JSON.parse(rows.get(key)!) as T) : undefined),
    put: async (key, value) => void rows.set(key, JSON.stringify(value)),
    del: async (key) => void rows.delete(key),
    all: async () => [...rows.values()].map((row) => JSON.parse(row) as T),
    putOp: () => {
      throw new Error('Not here')
    },
    delOp: () => {
      throw new Error('Not here')
    },
  }
}

export function recordOf({
  live = true,
  service = '',
}: { live?: boolean; service?: string } = {}): RelocationRecord {
  const file = parseServiceFile(`${service}\n[[machine]]\nname = "web"\n`)
  return freshRelocation({
    relocation: ID,
    peer: 'peer',
    service: file,
    live,
    leaseMs: LEASE_MS,
    request: { relocation: ID, service: 'web', live, machines: [], health: [], gateMs: 1000 },
    machines: [{ name: 'web', targetName: 'web', cloud: 'qemu', stateBefore: 'running' }],
    disks: [{ machine: 'web', disk: 'vda', sizeBytes: 100, allocatedBytes: 50 }],
  })
}

/** All of it, opened; `reopen` stands for the agent that comes back. */
export async function openScripted({
  script,
  live,
  table = memoryTable(),
  cloud = memoryCloud({ live }),
  carrier = memoryJobs(),
  target = scriptedTarget(script),
}: {
  script?: Partial<Script>
  live?: boolean
  table?: Table<RelocationRecord>
  cloud?: ReturnType<typeof memoryCloud>
  carrier?: ReturnType<typeof memoryJobs>
  target?: ReturnType<typeof scriptedTarget>
} = {}) {
  const parts: RelocationParts = {
    jobs: carrier.jobs,
    clouds: { kinds: ['qemu'], cloud: async () => cloud.cloud, async [Symbol.asyncDispose]() {} },
    openTarget: target.open,
    log: pino({ level: 'silent' }),
  }
  const open = () =>
    Relocations.open(parts, {
      table,
      peerName: (peer) => peer,
      onPeer: () => ({ [Symbol.dispose]() {} }),
    })
  return { relocations: await open(), reopen: open, table, cloud, carrier, target }
}
