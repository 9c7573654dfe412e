import test from 'ava'
import { parseFstab, volumeOfSpec } from '../../../transfer/guest/fstab.ts'
import type { GuestVolume } from '../../../transfer/guest/guest-volume.ts'

const partition = (number: number, uuid: string, name?: string) => ({
  number,
  offset: 0,
  sizeBytes: 1,
  type: '83',
  uuid,
  active: false,
  ...(name && { name }),
})
const VOLUMES: readonly GuestVolume[] = [
  {
    name: 'vda1',
    diskIndex: 0,
    partition: partition(1, 'p-1'),
    pieces: [],
    sizeBytes: 1,
    fileSystem: { kind: 'vfat', uuid: '1234-abcd' },
  },
  {
    name: 'vda2',
    diskIndex: 0,
    partition: partition(2, 'p-2', 'the root'),
    pieces: [],
    sizeBytes: 1,
    fileSystem: { kind: 'ext4', uuid: 'aaaa', label: 'root disk' },
  },
  { name: 'vdb', diskIndex: 1, pieces: [], sizeBytes: 1, fileSystem: { kind: 'ext4', uuid: 'bbbb' } },
  { name: 'my-vg/home', pieces: [], sizeBytes: 1, fileSystem: { kind: 'ext4', uuid: 'cccc' } },
]

const names = test.macro({
  exec(t, spec: string, name: string | undefined) {
    t.is(volumeOfSpec(spec, VOLUMES)?.name, name)
  },
  title: (_, spec: string, name?: string) => `volumeOfSpec() finds ${name ?? 'nothing'} for ${spec}`,
})
test(names, 'UUID=AAAA', 'vda2')
test(names, 'UUID="aaaa"', 'vda2')
test(names, 'UUID=1234-ABCD', 'vda1')
test(names, 'LABEL=root disk', 'vda2')
test(names, 'PARTUUID=p-2', 'vda2')
test(names, 'PARTLABEL=the root', 'vda2')
test(names, '/dev/disk/by-uuid/bbbb', 'vdb')
test(names, '/dev/disk/by-label/root\\x20disk', 'vda2')
test(names, '/dev/vda2', 'vda2')
test(names, '/dev/sda2', 'vda2')
test(names, '/dev/xvdb', 'vdb')
test(names, '/dev/nvme0n1p1', 'vda1')
test(names, '/dev/nvme1n1', 'vdb')
test(names, '/dev/mapper/my--vg-home', 'my-vg/home')
test(names, '/dev/my-vg/home', 'my-vg/home')
test(names, '/dev/sdc1', undefined)
test(names, '/dev/sda', undefined)
test(names, 'UUID=dddd', undefined)
test(names, 'nas:/export', undefined)

test('parseFstab() reads lines with comments, tabs and escapes', (t) => {
  const text =
    '# comment\n\nUUID=a\t/\text4 defaults,noatime 0 1\nLABEL=x /srv/with\\040space/ ext4\n/dev/sdb none swap\nhalf\n'
  t.deepEqual(parseFstab(text), [
    { spec: 'UUID=a', path: '/', type: 'ext4', options: ['defaults', 'noatime'] },
    { spec: 'LABEL=x', path: '/srv/with space', type: 'ext4', options: ['defaults'] },
    { spec: '/dev/sdb', path: 'none', type: 'swap', options: ['defaults'] },
  ])
})
