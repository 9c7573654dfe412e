import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { FluidError } from '../../../protocol/errors.ts'
import {
  type ConfigFormat,
  type Key,
  setProven,
  type Value,
} from '../../../transfer/migrators/config-format.ts'
import { FORMATS } from '../../../transfer/migrators/rewrite-config.ts'

interface Document {
  readonly text: string
  /** Keys that can be set, each on a line of its own. */
  readonly keys: readonly Key[]
}

const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/), { minLength: 2, maxLength: 6 })
const words = fc.stringMatching(/^[A-Za-z0-9./:@_-]{1,12}$/)
const texts = fc.oneof(
  words,
  fc.stringMatching(/^[ -~]{0,16}$/),
  fc.constantFrom('', 'yes', '1', 'null', '#', '"', "'", '\\', '$x', 'a: b', 'ü', '%h'),
)
const comments = fc.constantFrom('', '# note', '# a = 1', '#', '  # a: [')
const ends = fc.constantFrom('\n', '\r\n')

/** Lines for names and values, with comments between. */
function documents(
  build: (
    names: readonly string[],
    values: readonly string[],
    notes: readonly string[],
  ) => [lines: string[], keys: Key[]],
): fc.Arbitrary<Document> {
  return fc
    .tuple(
      names,
      fc.array(words, { minLength: 6, maxLength: 6 }),
      fc.array(comments, { minLength: 6, maxLength: 6 }),
      ends,
    )
    .map(([keys, values, notes, eol]) => {
      const [lines, found] = build(keys, values, notes)
      return { text: lines.map((line) => line + eol).join(''), keys: found }
    })
}

const DOCUMENTS: Readonly<Record<string, fc.Arbitrary<Document>>> = {
  env: documents((keys, values, notes) => [
    keys.flatMap((key, i) => [
      notes[i],
      `${['', 'export ', '  '][i % 3]}${key}=${[values[i], `"${values[i]}"`, `'${values[i]}'`][i % 3]}`,
    ]),
    keys.map((key) => [key]),
  ]),
  ini: documents((keys, values, notes) => [
    keys.flatMap((key, i) => [
      ...(i === 2 ? ['[two words]'] : []),
      notes[i],
      `${key}${[' = ', '=', ': '][i % 3]}${[values[i], `"${values[i]}"`][i % 2]}`,
    ]),
    keys.map((key, i) => [i < 2 ? '' : 'two words', key]),
  ]),
  json: documents((keys, values, notes) => [
    [
      '{',
      ...keys.map((key, i) => `  "${key}":${' '.repeat(i)}${JSON.stringify(values[i])}, //${notes[i]}`),
      '  "LAST": {"x": [1, "two"]}',
      '}',
    ],
    [...keys.map((key) => [key]), ['LAST', 'x', 1]],
  ]),
  yaml: documents((keys, values, notes) => [
    [
      'top:',
      ...keys.flatMap((key, i) => [
        notes[i],
        `  ${key}: ${[`"${values[i]}"`, `'${values[i]}'`, `x${values[i].replaceAll(/:$/g, '')}x # c`][i % 3]}`,
      ]),
      'z:',
      '  - a',
      '  - b',
    ],
    [...keys.map((key) => ['top', key]), ['z', 1]],
  ]),
  toml: documents((keys, values, notes) => [
    keys.flatMap((key, i) => [
      ...(i === 2 ? ['[ T . "u v" ] # t'] : i === 4 ? ['[[LIST]]'] : []),
      notes[i],
      `${key}  =  ${[`"${values[i]}"`, `'${values[i]}'`, `"""\n${values[i]}"""`][i % 3]} # c`,
    ]),
    keys.map((key, i) => [...(i < 2 ? [] : i < 4 ? ['T', 'u v'] : ['LIST', 0]), key]),
  ]),
  systemd: documents((keys, values, notes) => [
    [
      '[Unit]',
      'Description=A',
      '[Service]',
      ...keys.flatMap((key, i) => [
        notes[i],
        i < 2 ? `Environment=A${i}=1 "${key}=${values[i]}"` : `X-${key}=${values[i]}`,
      ]),
    ],
    keys.map((key, i) => (i < 2 ? ['Service', 'Environment', key] : ['Service', `X-${key}`])),
  ]),
  nginx: documents((keys, values, notes) => [
    [
      'http {',
      ...keys.flatMap((key, i) => [
        `${notes[i]}`,
        `  server { server_name ${key}; location / { proxy_pass ${values[i]}; } }`,
      ]),
      '}',
    ],
    keys.map((key) => ['http', `server ${key}`, 'location /', 'proxy_pass']),
  ]),
}

/** What could be set; undefined where the format said that it cannot hold the value. */
function trySet(format: ConfigFormat, text: string, key: Key, value: Value): string | undefined {
  try {
    return setProven(format, text, key, value)
  } catch (error) {
    if (error instanceof FluidError && error.code === 'GUEST_UNSUPPORTED') return undefined
    throw error
  }
}

for (const [name, format] of Object.entries(FORMATS)) {
  const cases = fc.record({ document: DOCUMENTS[name], a: fc.nat(), b: fc.nat(), x: texts, y: texts })

  test(`${name}: a value that was set is read back, and all else keeps its bytes`, (t) => {
    let held = 0
    fc.assert(
      fc.property(cases, ({ document: { text, keys }, a, x }) => {
        const key = keys[a % keys.length]
        const edited = trySet(format, text, key, x)
        if (edited === undefined) return
        held++
        const same = isDeepStrictEqual(format.get(edited, key), x)
        const [before, after] = [text.split('\n'), edited.split('\n')]
        // A text of several lines becomes one.
        const apart = before.length === after.length && before.filter((line, i) => line !== after[i]).length
        if (!same || (before.length === after.length && Number(apart) > 1))
          throw new Error(`${text}\n=> ${edited}`)
      }),
      { numRuns: 200 },
    )
    t.true(held > 80, `${held} of 200 could be held`)
  })

  test(`${name}: setting what is there changes nothing`, (t) => {
    fc.assert(
      fc.property(cases, ({ document: { text, keys }, a }) => {
        const key = keys[a % keys.length]
        return setProven(format, text, key, format.get(text, key)!) === text
      }),
    )
    t.pass()
  })

  test(`${name}: edits of different keys commute`, (t) => {
    fc.assert(
      fc.property(cases, ({ document: { text, keys }, a, b, x, y }) => {
        const [one, other] = [keys[a % keys.length], keys[b % keys.length]]
        if (one === other) return true
        const both = ([[k, v], [l, w]]: [Key, string][]) => {
          const first = trySet(format, text, k, v)
          return first === undefined ? undefined : trySet(format, first, l, w)
        }
        const [ab, ba] = [
          both([
            [one, x],
            [other, y],
          ]),
          both([
            [other, y],
            [one, x],
          ]),
        ]
        return ab === ba
      }),
    )
    t.pass()
  })

  test(`${name}: nothing that is read makes it slow or fail otherwise than refused`, (t) => {
    const pieces = [
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '=',
      ':',
      '\n',
      ' ',
      '#',
      'a',
      '\\',
      ',',
      ';',
      '"""',
      '- ',
      '|',
      '&a',
      '*a',
      '[[a]]',
      '$' + '{',
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 40 }), (parts) => {
        const key = DOCUMENT_KEYS[name]
        trySet(format, parts.join(''), key, 'x')
      }),
      { numRuns: 300 },
    )
    for (const piece of pieces) {
      const begun = process.cpuUsage()
      trySet(format, piece.repeat(5_000), DOCUMENT_KEYS[name], 'x')
      t.true(process.cpuUsage(begun).user < 5_000_000, piece)
    }
  })
}

const DOCUMENT_KEYS: Readonly<Record<string, Key>> = {
  env: ['a'],
  ini: ['', 'a'],
  json: ['a'],
  yaml: ['a'],
  toml: ['a'],
  systemd: ['Service', 'ExecStart'],
  nginx: ['a'],
}

const EDITS: readonly [format: string, before: string, key: Key, value: Value, after: string][] = [
  ['env', 'A=1 # one\nB="x y"\n', ['A'], '2', 'A=2 # one\nB="x y"\n'],
  ['env', 'B="x y"\n', ['B'], 'a "b" $c', 'B="a \\"b\\" \\$c"\n'],
  ['env', 'A=1', ['B'], 'two words', "A=1\nB='two words'\n"],
  ['env', 'A=1\nA=2\n', ['A'], '3', 'A=1\nA=3\n'],
  ['ini', '[a]\nx = 1\n\n[b]\nx = 2\n', ['a', 'y'], '3', '[a]\nx = 1\ny = 3\n\n[b]\nx = 2\n'],
  ['ini', 'x=1\n', ['new', 'y'], '3', 'x=1\n\n[new]\ny=3\n'],
  [
    'ini',
    '[mysqld]\nskip-networking\nbind-address = 127.0.0.1 ; old\n',
    ['mysqld', 'bind-address'],
    '::',
    '[mysqld]\nskip-networking\nbind-address = :: ; old\n',
  ],
  ['json', '{"a": {}}', ['a', 'b'], true, '{"a": {"b": true}}'],
  ['json', '{\n  // c\n  "a": 1\n}\n', ['b'], ['x'], '{\n  // c\n  "a": 1,\n  "b": ["x"]\n}\n'],
  ['yaml', 'a:\n  b: 1 # c\n', ['a', 'c'], 'no', 'a:\n  b: 1 # c\n  c: "no"\n'],
  ['yaml', 'a: [1, 2]\n', ['a', 0], 5, 'a: [5, 2]\n'],
  ['yaml', 'a:\n- x # y\n- z\nb: 1\n', ['a'], ['u', 'v'], 'a:\n- u\n- v\nb: 1\n'],
  ['toml', '[a]\nx = 1\n\n[b]\ny = 2\n', ['a', 'z'], 'new', '[a]\nx = 1\nz = "new"\n\n[b]\ny = 2\n'],
  ['toml', 'x = [1, # one\n 2]\n', ['x', 1], 3, 'x = [1, # one\n 3]\n'],
  ['toml', 'a = { b = "x" }\n', ['a', 'b'], 'y', 'a = { b = "y" }\n'],
  ['toml', 'x = 1\n', ['a', 'b'], 'y', 'x = 1\n\n[a]\nb = "y"\n'],
  [
    'systemd',
    '[Service]\nEnvironment=A=1 "B=2 3"\n',
    ['Service', 'Environment', 'B'],
    '50%',
    '[Service]\nEnvironment=A=1 B=50%%\n',
  ],
  ['systemd', '', ['Service', 'ExecStart'], '/bin/x', '[Service]\nExecStart=\nExecStart=/bin/x\n'],
  [
    'systemd',
    '[Service]\nExecStart=/bin/a \\\n  --b\nUser=x\n',
    ['Service', 'ExecStart'],
    '/bin/c',
    '[Service]\nExecStart=/bin/c\nUser=x\n',
  ],
  [
    'nginx',
    'upstream app { server 10.0.0.1:80 max_fails=3; }',
    ['upstream app', 'server'],
    ['b:80', 'max_fails=3'],
    'upstream app { server b:80 max_fails=3; }',
  ],
  [
    'nginx',
    'upstream a { server x; server y; }',
    ['upstream a', 'server', 1],
    'z',
    'upstream a { server x; server z; }',
  ],
]
for (const [name, before, key, value, after] of EDITS) {
  test(`${name}: ${JSON.stringify(before)} with ${key.join('.')} set`, (t) => {
    t.is(setProven(FORMATS[name], before, key, value), after)
  })
}

const REFUSED: readonly [format: string, before: string, key: Key, why: string][] = [
  ['yaml', 'a: &x 1\nb: *x\n', ['a'], 'an anchor that is used elsewhere'],
  ['yaml', 'a: &x 1\nb: *x\n', ['b'], 'an alias'],
  ['yaml', 'a: 1\n---\nb: 1\n', ['a'], 'several documents'],
  ['yaml', 'a: 1\na: 2\n', ['a'], 'a key twice'],
  ['json', '{"a": 1, "a": 2}', ['a'], 'a key twice'],
  ['json', '{"a": {"b": 1}}', ['a'], 'a table'],
  ['toml', 'a = 1\na = 2\n', ['a'], 'a key twice'],
  ['nginx', 'server { listen 80; listen 81; }', ['server', 'listen'], 'a directive twice'],
  ['nginx', 'content_by_lua_block { x }', ['x'], 'Lua'],
  ['systemd', '[Service]\nExecStartPre=a\nExecStartPre=b\n', ['Service', 'ExecStartPre'], 'a key twice'],
]
for (const [name, before, key, why] of REFUSED) {
  test(`${name}: ${why} is refused`, (t) => {
    t.throws(() => setProven(FORMATS[name], before, key, 'new'), { code: 'GUEST_UNSUPPORTED' })
  })
}

for (const name of ['json', 'yaml', 'toml']) {
  for (const inherited of [['__proto__'], ['constructor', 'prototype']]) {
    test(`${name}: what is set at ${inherited.join('.')} is on no other object`, (t) => {
      const key = [...inherited, 'fluidcloudTest']
      try {
        setProven(FORMATS[name], name === 'json' ? '{}' : '', key, 'x')
      } catch (error) {
        t.like(error, { code: 'GUEST_UNSUPPORTED' })
      }
      const clean = !('fluidcloudTest' in {})
      delete (Object.prototype as Record<string, unknown>).fluidcloudTest
      t.true(clean, 'It is on every object')
    })
  }
}
