import type { Suite } from "./suite.ts";

/** Every conformance suite, in the order of `docs/compatibility.md`. */
export const suites: readonly Suite[] = [];
