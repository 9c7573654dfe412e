/**
 * Two agents: a process that takes in services in its `local` cloud, and one in the test from which services are relocated
 * by hand, through the client that the Conduit uses. A service counts in a file, so that it shows whether it runs. Linux.
 */
import { randomBytes } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createAgent } from '../../agent/agent.ts'
import type { Cloud } from '../../agent/clouds/cloud.ts'
import { openRelocationTarget } from '../../agent/conduit/target-client.ts'
import type {
  Handover,
  LeaseGrantor,
  RelocationRequest,
  RelocationTarget,
  TargetEvent,
} from '../../agent/conduit/target.ts'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import type { PlannedMachine } from '../../protocol/relocation-message.ts'
import { initHome } from '../../agent/home.ts'
import type { JobParts } from '../../agent/job-parts.ts'
import type { BodyKind } from '../../protocol/relocation-signed.ts'
import { startAgent, type AgentProcess } from './agent-process.ts'
import { eventually } from './eventually.ts'
import { localStage } from './local-machine.ts'
import type { Owner } from './temp-dir.ts'

export const STAGE_DISK_BYTES = 262_144
const HELD_STATES = ['paused', 'stopped']

export type Verdict = Extract<TargetEvent, { kind: 'verdict' }>

export interface RelocationStage {
  readonly target: AgentProcess
  /** The target's cloud, as another process sees it. */
  readonly cloud: Cloud
  readonly source: JobParts
  /** Bodies that were signed and accepted, by kind. */
  readonly evidence: Set<BodyKind>
  /** Another paired peer, which is granted nothing. */
  stranger(): Promise<JobParts>
  request(
    name: string,
    change?: Partial<RelocationRequest>,
    machine?: Partial<PlannedMachine['machine']>,
  ): RelocationRequest
  open(request: RelocationRequest): Promise<RelocationTarget>
  /** Prepares, moves a disk of random bytes for every place, and gives what is handed over. */
  fill(request: RelocationRequest): Promise<Handover>
  /** Moves random bytes to a place at the target, over what is there; tells how that ended. */
  move(destination: string): Promise<JobReport>
  /** How often the service of that machine has counted at the target. */
  count(name: string): Promise<number>
  /** When it counted last, ms as performance.now() tells them. */
  countedAt(name: string): Promise<number>
  /** Whether it counts on. */
  runs(name: string): Promise<boolean>
  stateIs(name: string, state: string): Promise<true>
  /** Waits until its guard has it run no more: paused, or stopped where the guard got a processor late. */
  isHeld(name: string): Promise<true>
  /** Fails unless no machine, disk, guard or reservation of any relocation is at the target. */
  leftovers(): Promise<string[]>
}

export interface StageOptions {
  readonly policy?: readonly string[]
  /** Object stores of this host that the target may ask, address:port. */
  readonly stores?: readonly string[]
}

export async function openStage(
  t: Owner,
  { policy = [], stores = [] }: StageOptions = {},
): Promise<RelocationStage> {
  const { cloud, clouds, folder, program, count, countedAt } = await localStage(t)
  const target = await startAgent(t, 'boreal')
  await target.append(
    `[clouds.local]\nmachines = ${JSON.stringify(clouds.local?.machines)}\nprograms = [${JSON.stringify(program)}]`,
  )
  await target.nameStores(stores)
  await target.stop()
  await target.start()
  const { agent, parts: source } = await openSource(t, join(folder, 'alpine'))
  const { ticket } = await target.tell('pair', 'ticket')
  await agent.api.pairRedeem({ ticket })
  await target.tell('policy', 'set', source.identity.peerId, '--relocate', 'local', ...policy)
  const peer = (await agent.api.status()).peers[0].peer
  const evidence = new Set<BodyKind>()
  const at = join(target.home.imports, 'machines')

  async function reaches(name: string, states: readonly string[]): Promise<true> {
    let last = ''
    const look = async (): Promise<true | undefined> => {
      last = await cloud.state(name).catch(String)
      return states.includes(last) || undefined
    }
    return await eventually(look).catch((cause: unknown) => {
      throw new Error(`${name} never was ${states.join(' or ')}, in the end: ${last}`, { cause })
    })
  }

  const stage: RelocationStage = {
    target,
    cloud,
    source,
    evidence,
    async stranger() {
      const other = await openSource(t, join(folder, `other-${randomBytes(4).toString('hex')}`))
      await other.agent.api.pairRedeem({ ticket: (await target.tell('pair', 'ticket')).ticket })
      return other.parts
    },
    request(name, change = {}, machine = {}) {
      return {
        relocation: randomBytes(16).toString('hex'),
        service: name,
        live: false,
        machines: [
          {
            machine: {
              name,
              architecture: 'x86_64',
              vcpus: 1,
              memoryBytes: 2 ** 20,
              firmware: 'bios',
              chipset: 'q35',
              disks: [
                {
                  id: 'vda',
                  path: '',
                  format: 'raw',
                  sizeBytes: STAGE_DISK_BYTES,
                  boot: true,
                  bus: 'virtio',
                  readOnly: false,
                },
              ],
              nics: [],
              extra: { start: [program] },
              ...machine,
            },
            disks: [{ id: 'vda', sizeBytes: STAGE_DISK_BYTES, allocatedBytes: STAGE_DISK_BYTES }],
            steps: [],
          },
        ],
        health: [],
        gateMs: 30_000,
        ...change,
      }
    },
    async open(request) {
      const target_ = await openRelocationTarget(
        source.mesh,
        { identity: source.identity, peer, request, keep: (kind) => evidence.add(kind) },
        AbortSignal.timeout(60_000),
      )
      t.teardown(() => target_[Symbol.asyncDispose]())
      return target_
    },
    async fill(request) {
      await using conversation = await stage.open(request)
      const answer = await conversation.prepare(request, { dry: false })
      if (!answer.accepted) throw new Error(answer.objections.map(({ message }) => message).join('; '))
      const disks: Handover['disks'][number][] = []
      for (const { machine, disk, destination } of answer.places) {
        const { root, error } = await stage.move(destination)
        if (error) throw new Error(error.message)
        disks.push({ machine, disk, root: root! })
      }
      return { disks }
    },
    async move(destination) {
      const path = join(folder, randomBytes(4).toString('hex'))
      await writeFile(path, randomBytes(STAGE_DISK_BYTES))
      let last = await agent.api.move({ source: path, peer, destination, replace: true })
      for await (const report of agent.api.watch({ job: last.job })) last = report
      return last
    },
    count,
    countedAt,
    async runs(name) {
      const before = await stage.count(name)
      if ((await cloud.state(name).catch(() => 'unknown')) !== 'running') return false
      return await eventually(async () => (await stage.count(name)) > before || undefined)
    },
    isHeld: (name) => reaches(name, HELD_STATES),
    stateIs: (name, state) => reaches(name, [state]),
    async leftovers() {
      const files = async (path: string) =>
        (await readdir(path, { recursive: true }).catch(() => [])).map((entry) => join(path, entry))
      return [
        ...(await cloud.machines()),
        ...(await files(at)),
        ...(await files(join(target.home.path, 'arrivals'))),
        ...(await files(target.home.imports)),
      ]
    },
  }
  return stage
}

async function openSource(t: Owner, path: string) {
  const home = await initHome(path, { name: 'alpine' })
  let parts: JobParts | undefined
  const agent = await createAgent({
    home: home.path,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    dataPort: 0,
    mdns: false,
    logLevel: 'silent',
    services: [
      async (opened) => {
        parts = opened
        return { status: () => ({}), async [Symbol.asyncDispose]() {} }
      },
    ],
  })
  t.teardown(() => agent[Symbol.asyncDispose]())
  return { agent, parts: parts! }
}

/** Grants while `open`; says until when it did. */
export function grantor(): LeaseGrantor & { open: boolean; until: number; grants: number } {
  const self = {
    open: true,
    until: Number.NEGATIVE_INFINITY,
    grants: 0,
    grant: () => {
      if (self.open) self.grants++
      return self.open
    },
    onGranted: (until: number) => {
      self.until = Math.max(self.until, until)
    },
  }
  return self
}

/** Hears everything until the verdict. */
export async function verdictOf(
  events: AsyncIterable<TargetEvent>,
  heard: TargetEvent[] = [],
): Promise<Verdict> {
  for await (const event of events) {
    heard.push(event)
    if (event.kind === 'verdict') return event
  }
  throw new Error('No verdict came')
}
