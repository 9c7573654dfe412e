/** An object as another sees it, with some of its members replaced. */

/** `target` with `members` instead of its own. Its methods keep `target` as their `this`. */
export function override<T extends object>(target: T, members: { readonly [K in keyof T]?: unknown }): T {
  return new Proxy(target, {
    get: (_, asked) => {
      if (Object.hasOwn(members, asked)) return members[asked as keyof T]
      const found: unknown = Reflect.get(target, asked, target)
      return typeof found === 'function' && target.constructor !== Object ? found.bind(target) : found
    },
  })
}
