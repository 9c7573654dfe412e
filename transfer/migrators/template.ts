/**
 * Text with {{name}} in it, which become values. What a value would break is escaped the way its format has it: inside double
 * quotes for env, json, yaml, toml and nginx; elsewhere nothing is, and what would break out of a line is refused.
 */
import { unsupported } from './config-format.ts'

export const ESCAPES = ['env', 'json', 'yaml', 'toml', 'nginx', 'none'] as const
export type Escape = (typeof ESCAPES)[number]

const PLACE = /\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}/g

/** Throws GUEST_UNSUPPORTED for a place without a value, and a value without a place. */
export function fillTemplate(text: string, values: Readonly<Record<string, string>>, escape: Escape): string {
  const used = new Set<string>()
  const filled = text.replaceAll(PLACE, (_, name: string) => {
    if (!Object.hasOwn(values, name)) throw unsupported(`The template wants a value for ${name}`)
    used.add(name)
    return escaped(values[name], escape)
  })
  const unused = Object.keys(values).find((name) => !used.has(name))
  if (unused !== undefined) throw unsupported(`The template has no place for ${unused}`)
  return filled
}

function escaped(value: string, escape: Escape): string {
  switch (escape) {
    case 'json':
    case 'yaml':
    case 'toml':
      return JSON.stringify(value).slice(1, -1)
    case 'env':
      return value.replaceAll(/["\\$`]/g, '\\$&')
    case 'nginx':
      if (value.includes('$')) throw unsupported('nginx would take a $ in a value for a variable')
      return value.replaceAll(/["\\]/g, '\\$&')
    case 'none':
      return value
  }
}
