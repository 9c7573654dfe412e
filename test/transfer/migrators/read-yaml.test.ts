import test from 'ava'
import { readYaml, yamlFacts } from '../../../transfer/migrators/read-yaml.ts'

const read = (text: string): unknown => yamlFacts(readYaml(text))

const READ: readonly [what: string, text: string, facts: unknown][] = [
  ['nothing', '', null],
  ['comments alone', '# a\n', null],
  [
    'the same key in several maps',
    'a: {k: 1}\nb: {k: 2}\nk:\n  - k: 3\n',
    { a: { k: 1 }, b: { k: 2 }, k: [{ k: 3 }] },
  ],
  [
    'a key that overrides a merged one',
    'a: &a {k: 1, l: 1}\nb:\n  <<: *a\n  k: 2\n',
    {
      a: { k: 1, l: 1 },
      b: { k: 2, l: 1 },
    },
  ],
  [
    'two merges',
    'a: &a {k: 1}\nb: &b {l: 1}\nc:\n  <<: *a\n  <<: *b\n',
    {
      a: { k: 1 },
      b: { l: 1 },
      c: { k: 1, l: 1 },
    },
  ],
  ['an alias as a key', 'a: &a k\nb:\n  *a : 1\n', { a: 'k', b: { k: 1 } }],
  ['keys without values', '{a, ? b}', { a: null, b: null }],
]
for (const [what, text, facts] of READ) {
  test(`readYaml() reads ${what}`, (t) => {
    t.deepEqual(read(text), facts)
  })
}

const REFUSED: readonly [what: string, text: string, message: RegExp][] = [
  ['a key twice', 'a: 1\nb: 2\na: 3\n', /has the key "a" twice, at line 3$/],
  [
    'a key twice in an inner map',
    'a:\n  - b:\n      c: 1\n      d: 1\n      "c": 2\n',
    /"c" twice, at line 5$/,
  ],
  ['a key twice in a map in braces', 'a: 1\nb: {c: 1,\n c: 2}\n', /"c" twice, at line 3$/],
  ['a key twice under a key without a value', '{a, a}', /"a" twice, at line 1$/],
  ['a key twice that stands for nothing', '? \n: 1\n? \n: 2\n', /"null" twice/],
  [
    'a key twice in a map with a merge',
    'a: &a {k: 1}\nb:\n  <<: *a\n  k: 1\n  k: 2\n',
    /"k" twice, at line 5$/,
  ],
  ['a long key twice', `${'k'.repeat(500)}: 1\n`.repeat(2), /^.{0,200}$/],
  ['a list as a key', 'a: 1\n[b]: 2\n', /a key that is no single value, at line 2$/],
  ['keys in keys', '? '.repeat(500), /a key that is no single value/],
  ['several documents', 'a: 1\n---\nb: 1\n', /several documents/],
  ['what is no YAML', 'a: 1\nb: [\n', /is not YAML: .* at line 3$/],
  [
    'what is no YAML, at length',
    `a: 1\n${'"b"'.repeat(30_000)}`,
    /^The file is not YAML: .{0,150} at line 2$/,
  ],
  ['lists in each other', `${'['.repeat(101)}${']'.repeat(101)}`, /more than 100 collections/],
  ['lists in each other for which there is no stack', '['.repeat(100_000), /is not YAML/],
  ['many aliases', `- &a b\n${'- *a\n'.repeat(257)}`, /more than 256 aliases, at line 258$/],
  [
    'aliases that make much of little',
    `- &a [b]\n- &b [${'*a,'.repeat(20)}]\n- [${'*b,'.repeat(20)}]`,
    /alias count/,
  ],
  ['an alias of nothing', 'a: *b\n', /is not YAML: .*b/],
  ['a long file', '#'.repeat(256 * 1024 + 1), /262145 characters/],
]
for (const [what, text, message] of REFUSED) {
  test(`readYaml() refuses ${what}`, (t) => {
    t.throws(() => read(text), { code: 'GUEST_UNSUPPORTED', message })
  })
}

test('readYaml() reads a map of many keys', (t) => {
  const keys = Array.from({ length: 30_000 }, (_, i) => `k${i.toString(36)}`)
  t.deepEqual(Object.keys(read(keys.map((key) => `${key}: 1\n`).join('')) as object), keys)
})
