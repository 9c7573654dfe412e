import { readFile } from 'node:fs/promises'
import test from 'ava'
import { SCHEMAS } from '../../protocol/build-proto.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import * as limits from '../../protocol/limits.ts'
import { readGolden } from './golden.ts'

async function specOf(name: string): Promise<string> {
  return readFile(new URL(`../../protocol/${name}.md`, import.meta.url), 'utf8')
}

/** Rows of the error tables: a code and its number. */
function documentedCodes(spec: string): [string, number][] {
  return [...spec.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(([, code, wire]) => [code, Number(wire)])
}

/** Messages of a schema and the names of their fields. */
function messagesOf(proto: string): Map<string, string[]> {
  const plain = proto.replace(/\/\/.*$/gm, '')
  const messages = [...plain.matchAll(/^message (\w+) \{([^{}]*)\}/gm)]
  return new Map(
    messages.map(([, name, body]) => [name, [...body.matchAll(/(\w+) = \d+;/g)].map(([, field]) => field)]),
  )
}

/** The text under a heading of the third level. */
function sectionOf(spec: string, heading: string): string | undefined {
  return spec.split(/^##+ /m).find((section) => section.startsWith(`${heading}\n`))
}

for (const name of SCHEMAS) {
  test(`${name}.md gives error codes the numbers they have`, async (t) => {
    const codes = documentedCodes(await specOf(name))
    t.true(codes.length > 5)
    for (const [code, wire] of codes) t.is<number, number>(ERRORS[code as ErrorCode]?.wire, wire, code)
  })

  test(`${name}.md describes every message and field of its schema`, async (t) => {
    const spec = await specOf(name)
    const messages = messagesOf(
      await readFile(new URL(`../../protocol/${name}.proto`, import.meta.url), 'utf8'),
    )
    t.true(messages.size > 4)
    for (const [message, fields] of messages) {
      const section = sectionOf(spec, message)
      t.truthy(section, message)
      for (const field of fields) t.true(section?.includes(`\`${field}\``), `${message}.${field}`)
    }
  })

  test(`${name}.md shows the bytes of golden frames`, async (t) => {
    const examples = [...(await specOf(name)).matchAll(/```hex ([\w-]+)\n([^`]+)```/g)]
    t.true(examples.length > 2)
    for (const [, frame, hex] of examples) {
      t.is(hex.replace(/\s/g, ''), Buffer.from(await readGolden(frame)).toString('hex'), frame)
    }
  })

  test(`${name}.md names limits that exist`, async (t) => {
    const names = (await specOf(name)).matchAll(
      /\b(?:[A-Z]+_)+(?:BYTES|MS|CHARS|SECOND|LANES?|CHUNKS|OFFENCES|FRAME|PAIRINGS)\b/g,
    )
    for (const [limit] of names) t.true(limit in limits, limit)
  })
}

test('every error code is documented in a spec', async (t) => {
  const documented = new Set(
    (await Promise.all(SCHEMAS.map(specOf))).flatMap(documentedCodes).map(([code]) => code),
  )
  t.deepEqual([...documented].toSorted(), Object.keys(ERRORS).toSorted())
})

test('viaduct.md says of each code whether a retry can help, as the table does', async (t) => {
  for (const [, code, retry] of (await specOf('viaduct')).matchAll(
    /^\| `([A-Z_]+)` \| \d+ \| (yes|no) \|/gm,
  )) {
    t.is(retry === 'yes', ERRORS[code as ErrorCode].retryable, code)
  }
})

test('catalog.md says when an offer has which outcome', async (t) => {
  const proto = await readFile(new URL('../../protocol/catalog.proto', import.meta.url), 'utf8')
  const outcomes = [...proto.matchAll(/OUTCOME_(\w+) = [1-9]/g)].map(([, name]) => name.toLowerCase())
  const section = sectionOf(await specOf('catalog'), 'Examination')
  t.true(outcomes.length > 9)
  for (const outcome of outcomes) t.true(section?.includes(`\`${outcome}\``), outcome)
})
