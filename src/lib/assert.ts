/**
 * Thrown by `assert`: a bug in chronik itself, never an operating error. `main.ts` logs it and
 * ends the process.
 */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** A property that must hold; stays on in the shipped build. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Ends an exhaustive `switch`. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value: ${String(value)}`);
}
