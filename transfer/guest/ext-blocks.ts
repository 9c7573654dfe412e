/** Which blocks hold a file of ext2, ext3 or ext4: trees of extents, and the older maps. All of it is hostile. */
import { damaged } from './disk-reader.ts'
import type { ExtInode } from './ext-inode.ts'

/** Blocks by number, as the file system will be when its journal has been replayed. */
export interface BlockReader {
  readonly blockBytes: number
  /** Throws GUEST_UNSUPPORTED outside the file system. */
  block(number: number): Promise<Buffer>
}

/** Neighbouring blocks of a file; block 0: nothing was written there, and it reads as zeros. */
interface Run {
  readonly block: number
  /** Blocks from the one asked for on; Infinity: to the end. */
  readonly count: number
}

const HOLE: Run = { block: 0, count: 1 }
const EXTENT_MAGIC = 0xf30a
const MAX_EXTENT_DEPTH = 5
/** Longer extents are allocated and not written: they read as zeros. */
const MAX_WRITTEN_EXTENT = 32_768
const DIRECT_BLOCKS = 12

/** Reads a part of a file that lies within its size: one path down the tree for each run, so that it ends. */
export async function readContent(
  reader: BlockReader,
  inode: ExtInode,
  offset: number,
  lengthBytes: number,
): Promise<Buffer> {
  const content = Buffer.alloc(lengthBytes)
  if (inode.inline) {
    inode.inline.copy(content, 0, offset, offset + lengthBytes)
    return content
  }
  const { blockBytes } = reader
  const end = offset + lengthBytes
  let run: Run = HOLE
  let left = 0
  let block = 0
  for (let at = offset; at < end;) {
    const index = Math.floor(at / blockBytes)
    if (left === 0) {
      run = await runAt(reader, inode, index)
      block = run.block
      left = run.count
    }
    const within = at % blockBytes
    if (block === 0) {
      // Zeros are there already: a hole is passed in one step.
      at = left === Infinity ? end : (index + left) * blockBytes
      left = 0
      continue
    }
    const bytes = await reader.block(block)
    at += bytes.copy(content, at - offset, within, Math.min(blockBytes, within + end - at))
    block++
    left--
  }
  return content
}

/** Where the block of a file with this index lies. */
export async function runAt(reader: BlockReader, inode: ExtInode, index: number): Promise<Run> {
  return inode.extents ? runInTree(reader, inode, index) : runInMap(reader, inode, index)
}

async function runInTree(reader: BlockReader, inode: ExtInode, index: number): Promise<Run> {
  let node = inode.blockArea
  let depth = depthOf(node, inode)
  if (depth > MAX_EXTENT_DEPTH) throw damaged(`the extents of inode ${inode.number} are too deep`)
  /** The first block that belongs to a later part of the tree. */
  let end = Infinity
  for (;;) {
    let found = 0
    const entries = node.readUInt16LE(2)
    for (let entry = 1; entry <= entries; entry++) {
      const first = node.readUInt32LE(12 * entry)
      if (first <= index) found = entry
      else {
        end = Math.min(end, first)
        break
      }
    }
    if (found === 0) return { block: 0, count: end - index }
    const at = 12 * found
    if (depth === 0) return runOfExtent(node, at, index, end)
    node = await reader.block(node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32)
    if (depthOf(node, inode) !== --depth) throw damaged(`the extents of inode ${inode.number} are no tree`)
  }
}

function runOfExtent(node: Buffer, at: number, index: number, end: number): Run {
  const first = node.readUInt32LE(at)
  const length = node.readUInt16LE(at + 4)
  const written = length <= MAX_WRITTEN_EXTENT
  const count = first + (written ? length : length - MAX_WRITTEN_EXTENT) - index
  if (count <= 0) return { block: 0, count: end - index }
  if (!written) return { block: 0, count }
  return { block: node.readUInt16LE(at + 6) * 2 ** 32 + node.readUInt32LE(at + 8) + index - first, count }
}

/** Checks the head of a node. */
function depthOf(node: Buffer, inode: ExtInode): number {
  const entries = node.readUInt16LE(2)
  if (node.readUInt16LE(0) !== EXTENT_MAGIC || 12 * (entries + 1) > node.length)
    throw damaged(`the extents of inode ${inode.number} are unreadable`)
  return node.readUInt16LE(6)
}

async function runInMap(reader: BlockReader, inode: ExtInode, index: number): Promise<Run> {
  if (index < DIRECT_BLOCKS) return { block: inode.blockArea.readUInt32LE(4 * index), count: 1 }
  const perBlock = reader.blockBytes / 4
  let rest = index - DIRECT_BLOCKS
  for (let level = 1; level <= 3; level++) {
    const reach = perBlock ** level
    if (rest < reach) {
      const root = inode.blockArea.readUInt32LE(4 * (DIRECT_BLOCKS + level - 1))
      return runBelow(reader, root, level, rest)
    }
    rest -= reach
  }
  throw damaged(`inode ${inode.number} is longer than its map reaches`)
}

async function runBelow(reader: BlockReader, root: number, levels: number, index: number): Promise<Run> {
  let block = root
  let rest = index
  for (let level = levels - 1; level >= 0; level--) {
    const reach = (reader.blockBytes / 4) ** level
    // Nothing of what lies below was ever written.
    if (block === 0) return { block: 0, count: reach * (reader.blockBytes / 4) - rest }
    const map = await reader.block(block)
    block = map.readUInt32LE(4 * Math.floor(rest / reach))
    rest %= reach
  }
  return { block, count: 1 }
}
