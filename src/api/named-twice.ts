/** The values that occur more than once. */
export function namedTwice<T>(values: readonly T[]): Set<T> {
  const once = new Set<T>();
  const twice = new Set<T>();
  for (const value of values) (once.has(value) ? twice : once).add(value);
  return twice;
}
