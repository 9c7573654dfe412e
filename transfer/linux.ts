/**
 * System calls that Node's fs lacks, through koffi: holes, advice, block devices, rename without
 * replacing. About 1.4 us a call; loads in worker threads too. Elsewhere than on Linux the calls that
 * only save work do nothing, and the others throw ENOTSUP.
 */
import { closeSync, openSync } from 'node:fs'
import { constants as os } from 'node:os'
import { link, unlink } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'

// From <linux/fs.h>, <fcntl.h> and <linux/falloc.h>; the same on every 64-bit Linux.
const SEEK_END = 2
const SEEK_DATA = 3
const SEEK_HOLE = 4
const FALLOC_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
const BLKZEROOUT = 0x127f
const FICLONE = 0x40049409
const F_DUPFD_CLOEXEC = 1030
const F_SETSIG = 10
const F_SETLEASE = 1024
const F_WRLCK = 1
const F_UNLCK = 2
const POSIX_FADV_WILLNEED = 3
const POSIX_FADV_DONTNEED = 4
const SYNC_FILE_RANGE_WRITE = 2
// From <bits/mman-linux.h>.
const PROT_NONE = 0
const MAP_SHARED = 1
const RENAME_NOREPLACE = 1
// From <netinet/tcp.h>.
const IPPROTO_TCP = 6
const TCP_INFO = 11
const TCP_CONGESTION = 13
const TCP_INFO_BYTES = 176
const TCP_INFO_RTT_OFFSET = 68
const TCP_INFO_TOTAL_RETRANS_OFFSET = 100
const TCP_INFO_MIN_RTT_OFFSET = 148
const TCP_INFO_BUSY_OFFSET = 168
/** What stands for a shortest round trip that was never measured is the greatest number. */
const UNMEASURED_MS = 1_000_000
const AT_FDCWD = -100
// From <asm-generic/socket.h>.
const SOL_SOCKET = 1
const SO_BUFFER = { send: 7, receive: 8 } as const
// From <bits/socket.h>.
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_MORE = 0x8000
// From <time.h>.
const CLOCK_THREAD_CPUTIME_ID = 3

const libc = process.platform === 'linux' ? bind() : undefined

function bind() {
  const self = koffi.load(null)
  return {
    lseek: self.func('int64_t lseek(int fd, int64_t offset, int whence)'),
    fallocate: self.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
    ioctl: self.func('int ioctl(int fd, unsigned long request, ...)'),
    fcntl: self.func('int fcntl(int fd, int command, ...)'),
    fadvise: self.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
    syncRange: self.func('int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)'),
    getsockopt: self.func(
      'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
    ),
    setsockopt: self.func(
      'int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)',
    ),
    send: self.func('int64_t send(int fd, void *bytes, size_t length, int flags)'),
    mmap: self.func(
      'uintptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t offset)',
    ),
    munmap: self.func('int munmap(uintptr_t at, size_t length)'),
    mincore: self.func('int mincore(uintptr_t at, size_t length, _Out_ uint8_t *pages)'),
    clockGettime: self.func('int clock_gettime(int clock, void *time)'),
    renameat2: self.func(
      'int renameat2(int fromFd, const char *from, int toFd, const char *to, unsigned int flags)',
    ),
  }
}

/** Where the next data at or after `from` starts; undefined when only a hole follows. Throws EINVAL where holes cannot be told. */
export function seekData(fd: number, from: number): number | undefined {
  return seek(fd, from, SEEK_DATA)
}

/** Where the next hole at or after `from` starts (the end of the file counts as one); undefined past the end. */
export function seekHole(fd: number, from: number): number | undefined {
  return seek(fd, from, SEEK_HOLE)
}

function seek(fd: number, from: number, whence: number): number | undefined {
  if (!libc) throw systemError('lseek', os.errno.ENOTSUP)
  const { value, errno } = outcome(() => libc.lseek(fd, from, whence))
  if (errno === 0) return value
  if (errno === os.errno.ENXIO) return undefined
  throw systemError('lseek', errno)
}

/** Of a call that fails in a new way each time. */
const MAX_TRIES = 16

/**
 * What a call gives, or why it fails. The engine may call the system itself before we can ask for errno (collecting garbage, its
 * threads wait for each other: EAGAIN of futex(2)), so only what two failures in a row say is believed. A call that
 * fails has done nothing.
 */
function outcome(call: () => number | bigint): { readonly value: number; readonly errno: number } {
  let before = -1
  for (let tries = 1; ; tries++) {
    const value = Number(call())
    if (value >= 0) return { value, errno: 0 }
    const errno = koffi.errno()
    if (errno === before || tries === MAX_TRIES) return { value, errno }
    before = errno
  }
}

/** Bytes of a block device. */
export function blockDeviceSize(fd: number): number {
  if (!libc) throw systemError('lseek', os.errno.ENOTSUP)
  const size = Number(libc.lseek(fd, 0, SEEK_END))
  if (size < 0) throw systemError('lseek', koffi.errno())
  return size
}

/** Makes a range of a file read as zeros and gives its space back; false where the file system cannot. Merge ranges: 64 KiB cost 0.85 ms. */
export function punchHole(fd: number, offset: number, lengthBytes: number): boolean {
  if (!libc) return false
  return didOrRefused('fallocate', () => libc.fallocate(fd, FALLOC_KEEP_SIZE_PUNCH_HOLE, offset, lengthBytes))
}

/**
 * Makes a new file share all blocks of another until either is written (FICLONE); false where the file system cannot, or
 * the two are on different ones. Takes milliseconds and no space.
 */
export function cloneFile(fromFd: number, toFd: number): boolean {
  if (!libc) return false
  return didOrRefused('ioctl', () => libc.ioctl(toFd, FICLONE, 'int', fromFd))
}

/** Makes a range of a block device read as zeros; false where it cannot. `offset` and length are multiples of the device's sector. */
export function zeroRange(fd: number, offset: number, lengthBytes: number): boolean {
  if (!libc) return false
  const range = new BigUint64Array([BigInt(offset), BigInt(lengthBytes)])
  return didOrRefused('ioctl', () => libc.ioctl(fd, BLKZEROOUT, 'uint64_t *', range))
}

// EBUSY: the cache holds dirty pages there and someone else has the device exclusively.
const REFUSALS = [
  os.errno.EOPNOTSUPP,
  os.errno.ENOSYS,
  os.errno.ENOTTY,
  os.errno.EINVAL,
  os.errno.EBUSY,
  os.errno.EXDEV,
]

/** True when the call succeeds, false when the system has no such thing there; throws otherwise. */
function didOrRefused(syscall: string, call: () => number): boolean {
  const { errno } = outcome(call)
  if (errno === 0) return true
  if (REFUSALS.includes(errno)) return false
  throw systemError(syscall, errno)
}

/** Starts reading a range into the page cache; returns at once. */
export function adviseWillNeed(fd: number, offset: number, lengthBytes: number): void {
  libc?.fadvise(fd, offset, lengthBytes, POSIX_FADV_WILLNEED)
}

/** Drops the clean pages of a range from the page cache; a length of 0 means to the end. */
export function adviseDontNeed(fd: number, offset: number, lengthBytes: number): void {
  libc?.fadvise(fd, offset, lengthBytes, POSIX_FADV_DONTNEED)
}

/**
 * Whether the pages at `from` and every `strideBytes` behind it, a multiple of the page's size, within `lengthBytes` are in the
 * page cache. Where the system does not tell, which it does only to who may write the file, all are.
 */
export function cachedAt(fd: number, from: number, lengthBytes: number, strideBytes: number): boolean[] {
  const cached = Array.from({ length: Math.floor(lengthBytes / strideBytes) }, () => true)
  if (!libc) return cached
  const mapped = libc.mmap(0, lengthBytes, PROT_NONE, MAP_SHARED, fd, from)
  // MAP_FAILED is the last address.
  if (Number(mapped) > Number.MAX_SAFE_INTEGER) return cached
  const page = new Uint8Array(1)
  for (let i = 0; i < cached.length; i++)
    if (libc.mincore(Number(mapped) + i * strideBytes, 1, page) === 0) cached[i] = (page[0] & 1) !== 0
  libc.munmap(mapped, lengthBytes)
  return cached
}

/** Starts writing the dirty pages of a range to the disk without waiting; not a promise of durability. */
export function startWriteback(fd: number, offset: number, lengthBytes: number): void {
  libc?.syncRange(fd, offset, lengthBytes, SYNC_FILE_RANGE_WRITE)
}

/** A second descriptor of the same open file, which the caller closes. */
export function duplicateFd(fd: number): number {
  if (!libc) throw systemError('fcntl', os.errno.ENOTSUP)
  const copy = libc.fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0)
  if (copy < 0) throw systemError('fcntl', koffi.errno())
  return copy
}

/**
 * True when anyone, in any process of this machine, has the file open beside `fd`, which is for writing: the kernel leases
 * it to nobody then. False also where leases are unknown (network file systems) or only an owner may ask.
 */
export function isOpenElsewhere(fd: number): boolean {
  if (!libc) return false
  // Whoever opens it meanwhile waits until we let go, which we are told by a signal: one that does nothing, not SIGIO.
  libc.fcntl(fd, F_SETSIG, 'int', os.signals.SIGURG)
  const { errno } = outcome(() => libc.fcntl(fd, F_SETLEASE, 'int', F_WRLCK))
  if (errno !== 0) return errno === os.errno.EAGAIN
  libc.fcntl(fd, F_SETLEASE, 'int', F_UNLCK)
  return false
}

/** What the kernel says of a connected TCP socket. */
export interface TcpState {
  /** Smoothed, milliseconds. */
  readonly roundTripMs: number
  /** Of the last minutes; undefined where the kernel does not tell. */
  readonly leastRoundTripMs: number | undefined
  /** Segments sent again so far. */
  readonly repeats: number
  /** For so long, milliseconds, it had bytes that the other end had not acknowledged; undefined before Linux 4.10. */
  readonly busyMs: number | undefined
}

/** The state of a TCP socket; undefined when there is none to ask. */
export function tcpState(fd: number): TcpState | undefined {
  if (!libc) return undefined
  const info = Buffer.alloc(TCP_INFO_BYTES)
  const length = [info.length]
  if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) !== 0) return undefined
  const leastMs =
    length[0] < TCP_INFO_MIN_RTT_OFFSET + 4 ? 0 : info.readUInt32LE(TCP_INFO_MIN_RTT_OFFSET) / 1000
  return {
    roundTripMs: info.readUInt32LE(TCP_INFO_RTT_OFFSET) / 1000,
    leastRoundTripMs: leastMs > 0 && leastMs < UNMEASURED_MS ? leastMs : undefined,
    repeats: info.readUInt32LE(TCP_INFO_TOTAL_RETRANS_OFFSET),
    busyMs: length[0] < info.length ? undefined : Number(info.readBigUInt64LE(TCP_INFO_BUSY_OFFSET)) / 1000,
  }
}

/**
 * Has a TCP socket use the congestion control `name` for what it sends; false where the system has none of that name, or
 * lets only administrators choose it.
 */
export function setCongestionControl(fd: number, name: string): boolean {
  const bytes = Buffer.from(name)
  return libc !== undefined && libc.setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, bytes, bytes.length) === 0
}

/** The socket's descriptor, which Node keeps beneath; undefined where it does not. */
export function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

/** Has a socket's buffer hold so many bytes, neither more nor less from then on; the system's own maximum holds. */
export function setBufferBytes(fd: number, way: 'send' | 'receive', bytes: number): boolean {
  const value = Buffer.alloc(4)
  value.writeInt32LE(bytes)
  return libc !== undefined && libc.setsockopt(fd, SOL_SOCKET, SO_BUFFER[way], value, value.length) === 0
}

/**
 * Hands bytes at a native address to a connected socket: how many it took, 0 when it has no room now, is broken, or there is
 * no such call here. The caller writes the rest through Node, which tells what is broken, and sees to the order. With `more`
 * a segment that is not full waits for what the caller sends at once.
 */
export function sendNow(
  fd: number,
  bytes: unknown,
  length: number,
  { more = false }: { readonly more?: boolean } = {},
): number {
  if (!libc) return 0
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0)
  return Math.max(0, Number(libc.send(fd, bytes, length, flags)))
}

const timespec = Buffer.alloc(16)

/** Processor time of the calling thread so far. Exact here; elsewhere as the system counts it, often in ticks. */
export function threadCpuMs(): number {
  if (!libc || libc.clockGettime(CLOCK_THREAD_CPUTIME_ID, timespec) !== 0) {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  }
  return timespec.readUInt32LE(0) * 1000 + timespec.readUInt32LE(8) / 1e6
}

/** Renames a file unless the new name is taken (EEXIST), in one step that no other process can get between. */
export async function renameNoReplace(from: string, to: string): Promise<void> {
  if (libc) {
    if (didOrRefused('renameat2', () => libc.renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)))
      return
  }
  // File systems without the flag (some network ones): a hard link never replaces either.
  await link(from, to)
  await unlink(from)
}

function systemError(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${code}: ${syscall} failed`), { code, errno: -errno, syscall })
}

/** Has the system forget the cached pages of the file at `path`, so that what is read next comes from the disk. */
export function dropCachedPages(path: string): void {
  const fd = openSync(path, 'r')
  try {
    adviseDontNeed(fd, 0, 0)
  } finally {
    closeSync(fd)
  }
}
