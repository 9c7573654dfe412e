/** The jobs an agent remembers: found by id, and bounded, the oldest that are over going first. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_JOBS_KEPT, MAX_JOBS_KEPT_PER_PEER, MAX_OPEN_JOBS_PER_PEER } from '../../protocol/limits.ts'
import { Job } from './job.ts'
import type { JobRecord } from './job-record.ts'
import type { Table } from '../state-store.ts'

const MIN_ID_PREFIX_CHARS = 4

export class JobList {
  readonly #table: Table<JobRecord>
  readonly #peerName: (peer: string) => string
  readonly #jobs = new Map<string, Job>()

  private constructor(table: Table<JobRecord>, peerName: (peer: string) => string) {
    this.#table = table
    this.#peerName = peerName
  }

  /** Those that were kept in `table`. */
  static async open(table: Table<JobRecord>, peerName: (peer: string) => string): Promise<JobList> {
    const list = new JobList(table, peerName)
    for (const record of await table.all()) list.#jobs.set(record.job, new Job(record, table, peerName))
    return list
  }

  [Symbol.iterator](): Iterator<Job> {
    return this.#jobs.values()
  }

  /** The job of exactly that id. */
  find(id: string): Job | undefined {
    return this.#jobs.get(id)
  }

  /** The job of that id, or of an unambiguous beginning of it. Throws JOB_UNKNOWN. */
  get(id: string): Job {
    const exact = this.#jobs.get(id)
    if (exact) return exact
    const matches =
      id.length >= MIN_ID_PREFIX_CHARS ? [...this.#jobs.values()].filter((job) => job.id.startsWith(id)) : []
    if (matches.length === 1) return matches[0]
    throw new FluidError(
      'JOB_UNKNOWN',
      matches.length > 1 ? `Several jobs begin with ${id}` : `There is no job ${id}`,
    )
  }

  /** Keeps a new job. Throws LIMIT_EXCEEDED when too many are unfinished. */
  async add(record: JobRecord): Promise<Job> {
    if (record.direction === 'in') await this.#makeRoomOf(record.peer)
    await this.#makeRoom()
    const job = new Job(record, this.#table, this.#peerName)
    this.#jobs.set(job.id, job)
    await job.update({})
    return job
  }

  async #makeRoom(): Promise<void> {
    if (this.#jobs.size < MAX_JOBS_KEPT) return
    const over = [...this.#jobs.values()].filter((job) => job.over)
    if (over.length === 0)
      throw new FluidError(
        'LIMIT_EXCEEDED',
        `This agent keeps ${MAX_JOBS_KEPT} jobs at most, and none is over`,
      )
    await this.#forgetOldest(over)
  }

  /** The same for a job that a peer begins: its own give way first, and those under way are few. */
  async #makeRoomOf(peer: string): Promise<void> {
    const own = [...this.#jobs.values()].filter(
      ({ record }) => record.direction === 'in' && record.peer === peer,
    )
    const over = own.filter((job) => job.over)
    if (own.length - over.length >= MAX_OPEN_JOBS_PER_PEER) {
      throw new FluidError(
        'LIMIT_EXCEEDED',
        `${MAX_OPEN_JOBS_PER_PEER} jobs of this peer are unfinished here`,
        { peer },
      )
    }
    if (own.length >= MAX_JOBS_KEPT_PER_PEER) await this.#forgetOldest(over)
  }

  async #forgetOldest(jobs: readonly Job[]): Promise<void> {
    const { id } = jobs.reduce((oldest, job) =>
      job.record.createdAt < oldest.record.createdAt ? job : oldest,
    )
    this.#jobs.delete(id)
    await this.#table.del(id)
  }
}
