import test from 'ava'
import type { FileChange } from '../../../transfer/guest-files.ts'
import type { MigratorContext } from '../../../transfer/migrator.ts'
import { previewChanges } from '../../../transfer/migrators/apply.ts'
import { type GuestContent, memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { resolveMigrator } from '../../../transfer/migrators/registry.ts'
import { showChange } from '../../../transfer/migrators/show-change.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const context: MigratorContext = { signal: new AbortController().signal, machine: { name: 'm', macs: [] } }

async function rewritten(
  contents: Record<string, GuestContent>,
  files: readonly object[],
): Promise<FileChange[]> {
  const migrator = await resolveMigrator('rewrite-config', '1.0.0')
  return previewChanges(memoryGuest(contents), [{ migrator, input: { files } }], context)
}

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString()

test('rewrite-config sets keys of several files', async (t) => {
  const changes = await rewritten(
    {
      '/etc/app.env': '# app\nPORT=1\nNAME="a"\n',
      '/etc/app.json': '{"db": {"host": "a"}}',
      '/etc/nginx/nginx.conf': 'events {}\nhttp { upstream app { server 10.0.0.5:80; } }\n',
    },
    [
      {
        path: '/etc/app.env',
        format: 'env',
        edits: [
          { key: 'PORT', set: 8080 },
          { key: 'NAME', set: 'b c' },
        ],
      },
      { path: '/etc/app.json', format: 'json', edits: [{ key: 'db.host', set: 'b' }] },
      {
        path: '/etc/nginx/nginx.conf',
        format: 'nginx',
        edits: [{ key: ['http', 'upstream app', 'server'], replace: '10.0.0.5', with: 'b' }],
      },
    ],
  )
  t.deepEqual(
    changes.map(({ path, after }) => [path, text(after)]),
    [
      ['/etc/app.env', '# app\nPORT=8080\nNAME="b c"\n'],
      ['/etc/app.json', '{"db": {"host": "b"}}'],
      ['/etc/nginx/nginx.conf', 'events {}\nhttp { upstream app { server b:80; } }\n'],
    ],
  )
})

test('rewrite-config replaces part of a value, whatever else is in it', async (t) => {
  const [change] = await rewritten({ '/etc/app.env': 'DB=postgres://u:hunter2@10.0.0.5:5432/a\n' }, [
    { path: '/etc/app.env', format: 'env', edits: [{ key: 'DB', replace: '10.0.0.5', with: 'db.example' }] },
  ])
  t.is(text(change.after), 'DB=postgres://u:hunter2@db.example:5432/a\n')
  const shown = showChange(change)
  t.true(shown.includes('db.example') && !shown.includes('hunter2'), shown)
})

test('rewrite-config makes a drop-in', async (t) => {
  const path = '/etc/systemd/system/app.service.d/50-fluidcloud.conf'
  const edits = [{ key: 'Service.Environment.PEER', set: '10.1.0.7', add: true }]
  const [change] = await rewritten({ '/etc/os-release': '' }, [
    { path, format: 'systemd', create: true, edits },
  ])
  t.deepEqual(
    [change.path, change.before, text(change.after)],
    [path, undefined, '[Service]\nEnvironment=PEER=10.1.0.7\n'],
  )
})

test('rewrite-config fills a template, escaped for its format', async (t) => {
  const [change] = await rewritten(
    { '/etc/app.tmpl': '{"url": "http://{{ host }}/", "name": "{{name}}"}\n' },
    [
      {
        path: '/etc/app.json',
        format: 'template',
        template: '/etc/app.tmpl',
        escape: 'json',
        values: { host: 'b', name: 'the "b"' },
      },
    ],
  )
  t.is(text(change.after), '{"url": "http://b/", "name": "the \\"b\\""}\n')
})

test('rewrite-config shows nothing of a file with a secret but its note', async (t) => {
  const [change] = await rewritten({ '/etc/app.env': 'A=1\nDSN=old\n' }, [
    {
      path: '/etc/app.env',
      format: 'env',
      edits: [
        { key: 'A', set: '2' },
        { key: 'DSN', set: 'hunter2', secret: true },
      ],
    },
  ])
  t.true(change.secret)
  t.is(change.note, 'A = 2\nDSN = <hidden>')
  t.false(showChange(change).includes('hunter2'))
})

test('rewrite-config keeps the bytes of a file that is not UTF-8', async (t) => {
  const content = Buffer.from('# gr\xfc\xdfe\r\nA=1\r\n', 'latin1')
  const [change] = await rewritten({ '/etc/app.env': content }, [
    { path: '/etc/app.env', format: 'env', edits: [{ key: 'A', set: '2' }] },
  ])
  t.deepEqual(Buffer.from(change.after!), Buffer.from('# gr\xfc\xdfe\r\nA=2\r\n', 'latin1'))
})

const UNSUPPORTED: Readonly<Record<string, object>> = {
  'a file that is not there': { path: '/etc/none', format: 'env', edits: [{ key: 'A', set: '1' }] },
  'a key that is not there': { path: '/etc/app.env', format: 'env', edits: [{ key: 'B', set: '1' }] },
  'a part that is not there': {
    path: '/etc/app.env',
    format: 'env',
    edits: [{ key: 'A', replace: 'x', with: 'y' }],
  },
  'a file of another format': { path: '/etc/app.env', format: 'json', edits: [{ key: 'A', set: '1' }] },
  'a template without a value': {
    path: '/etc/x',
    format: 'template',
    text: '{{a}}{{b}}',
    values: { a: '1' },
  },
  'a value without a place': {
    path: '/etc/x',
    format: 'template',
    text: '{{a}}',
    values: { a: '1', b: '2' },
  },
  'a template that is not its format': {
    path: '/etc/x',
    format: 'template',
    escape: 'json',
    text: '{{a}}',
    values: { a: 'x' },
  },
}
for (const [what, file] of Object.entries(UNSUPPORTED)) {
  test(`rewrite-config refuses ${what}`, async (t) => {
    await refusedWith(t, 'GUEST_UNSUPPORTED', rewritten({ '/etc/app.env': 'A=1\n' }, [file]))
  })
}

const USAGE: Readonly<Record<string, unknown>> = {
  'no files': { files: [] },
  'a relative path': { files: [{ path: 'etc/a', format: 'env', edits: [{ key: 'A', set: '1' }] }] },
  'a path that leads up': { files: [{ path: '/etc/../a', format: 'env', edits: [{ key: 'A', set: '1' }] }] },
  'an unknown format': { files: [{ path: '/a', format: 'xml', edits: [{ key: 'A', set: '1' }] }] },
  'no edits': { files: [{ path: '/a', format: 'env' }] },
  'both ways to edit': {
    files: [{ path: '/a', format: 'env', edits: [{ key: 'A', set: '1', replace: 'x', with: 'y' }] }],
  },
  'half a replacement': { files: [{ path: '/a', format: 'env', edits: [{ key: 'A', replace: 'x' }] }] },
  'a value with a line end': { files: [{ path: '/a', format: 'env', edits: [{ key: 'A', set: 'x\ny' }] }] },
  'a key that is a prototype': {
    files: [{ path: '/a', format: 'json', edits: [{ key: ['__proto__', 'x'], set: '1' }] }],
  },
  'edits of a template': {
    files: [{ path: '/a', format: 'template', text: 'x', edits: [{ key: 'A', set: '1' }] }],
  },
}
for (const [what, input] of Object.entries(USAGE)) {
  test(`rewrite-config has no use for ${what}`, async (t) => {
    const migrator = await resolveMigrator('rewrite-config', '1')
    t.throws(() => migrator.check(input), { code: 'USAGE' })
  })
}
