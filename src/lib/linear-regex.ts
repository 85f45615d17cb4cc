import { unreachable } from "./assert.ts";
import { asciiChars, parseRegex, type RegexNode } from "./linear-regex-parser.ts";
import { Pace, type Portions, runAll } from "./turn-budget.ts";

/**
 * Regular expressions over names, in RE2's syntax and in linear time: an expression becomes a
 * machine that reads each character once, whatever a client thinks of. Only whole names match, so
 * greediness and captures mean nothing; characters beyond ASCII match nothing.
 */
export interface LinearRegex {
  /** Names that the expression matches whole; null: finding them would take too long. */
  matching(names: Iterable<string>): string[] | null;
  /** As `matching`, in portions; one round at a time. */
  matchingInPortions(names: Iterable<string>): Portions<string[] | null>;
}

/** An instruction of the machine; `next` and `other` are indexes. */
type Instruction =
  | { readonly kind: "char"; readonly chars: bigint; readonly next: number }
  | { readonly kind: "split"; readonly next: number; readonly other: number }
  | { readonly kind: "assert"; readonly what: AssertKind; readonly next: number }
  | { readonly kind: "match" };

type AssertKind = Extract<RegexNode, { kind: "assert" }>["what"];

/** Repetitions multiply: an expression that needs more than this is refused. */
const instructionsMax = 10_000;
/** Instructions looked at in one round over names, some tens of milliseconds: a large expression
 * that is somewhere else after every character would keep everybody waiting. */
const workMax = 500_000;
/** Sets of instructions remembered; beyond that all are forgotten and found anew. */
const statesMax = 2_000;

/** Why an expression in order is refused. */
export const tooLarge = "expression too large";

/** The machine of the expression, or why it is none. */
export function compileRegex(text: string): LinearRegex | string {
  const parsed = parseRegex(text);
  if (typeof parsed === "string") return parsed;
  const program = new Program();
  const start = program.compile(parsed, program.add({ kind: "match" }));
  if (start === null) return tooLarge;
  return new Machine(program.instructions, start);
}

class Program {
  readonly instructions: Instruction[] = [];

  add(instruction: Instruction): number {
    return this.instructions.push(instruction) - 1;
  }

  /** Code that goes on at `next` after the node; null when there is too much of it. */
  compile(node: RegexNode, next: number): number | null {
    if (this.instructions.length > instructionsMax) return null;
    switch (node.kind) {
      case "char":
        return this.add({ kind: "char", chars: node.chars, next });
      case "assert":
        return this.add({ kind: "assert", what: node.what, next });
      case "sequence": {
        let at: number | null = next;
        for (const item of node.items.toReversed()) {
          if (at !== null) at = this.compile(item, at);
        }
        return at;
      }
      case "choice": {
        let at: number | null = null;
        for (const item of node.items.toReversed()) {
          const branch = this.compile(item, next);
          if (branch === null) return null;
          at = at === null ? branch : this.add({ kind: "split", next: branch, other: at });
        }
        return at ?? next;
      }
      case "repeat":
        return this.repeat(node, next);
      default:
        return unreachable(node);
    }
  }

  private repeat(node: Extract<RegexNode, { kind: "repeat" }>, next: number): number | null {
    let at: number | null = next;
    if (node.max === null) {
      // The loop needs its own index before its body is known.
      const loop = this.add({ kind: "match" });
      const body = this.compile(node.item, loop);
      if (body === null) return null;
      this.instructions[loop] = { kind: "split", next: body, other: next };
      at = loop;
    } else {
      for (let count = node.min; count < node.max && at !== null; count++) {
        const body = this.compile(node.item, at);
        at = body === null ? null : this.add({ kind: "split", next: body, other: next });
      }
    }
    for (let count = 0; count < node.min && at !== null; count++) at = this.compile(node.item, at);
    return at;
  }
}

/** Where the machine may be, before the next character is looked at. */
interface State {
  /** Instructions after the last character, not followed any further yet. */
  readonly points: readonly number[];
  readonly isStart: boolean;
  readonly afterWord: boolean;
  readonly afterNewline: boolean;
  /** By the next character's code; null: no match can come of it. */
  readonly steps: (State | null)[];
  accepts: boolean | null;
}

class Machine implements LinearRegex {
  private readonly instructions: readonly Instruction[];
  private readonly first: State;
  private readonly states = new Map<string, State>();
  private work = 0;

  constructor(instructions: readonly Instruction[], start: number) {
    this.instructions = instructions;
    this.first = newState([start], null);
  }

  matching(names: Iterable<string>): string[] | null {
    return runAll(this.matchingInPortions(names));
  }

  *matchingInPortions(names: Iterable<string>): Generator<void, string[] | null> {
    this.work = 0;
    const pace = new Pace();
    const matched: string[] = [];
    for (const name of names) {
      let state: State | null = this.first;
      for (let index = 0; index < name.length && state !== null; index++) {
        const code = name.charCodeAt(index);
        const known: State | null | undefined = code < asciiChars ? state.steps[code] : null;
        if (known !== undefined) {
          state = known;
          continue;
        }
        const before = this.work;
        const next = this.step(state, code);
        state.steps[code] = next;
        state = next;
        if (this.work > workMax) return null;
        if (pace.isDue(this.work - before)) yield;
      }
      if (state !== null) {
        state.accepts ??= this.closure(state, null).includes("match");
        if (state.accepts) matched.push(name);
      }
      if (pace.isDue(1 + (name.length >> 3))) yield;
    }
    return this.work > workMax ? null : matched;
  }

  private step(state: State, code: number): State | null {
    const points = new Set<number>();
    for (const point of this.closure(state, code)) {
      if (point === "match") continue;
      const instruction = this.instructions[point];
      if (instruction?.kind !== "char") continue;
      if (((instruction.chars >> BigInt(code)) & 1n) === 1n) points.add(instruction.next);
    }
    if (points.size === 0) return null;
    const sorted = [...points].sort((left, right) => left - right);
    const key = `${isWord(code) ? "w" : ""}${code === newline ? "n" : ""} ${sorted.join(" ")}`;
    const known = this.states.get(key);
    if (known !== undefined) return known;
    if (this.states.size >= statesMax) {
      this.states.clear();
      this.first.steps.length = 0;
    }
    const next = newState(sorted, code);
    this.states.set(key, next);
    return next;
  }

  /** Everything that can be reached without reading, knowing the next character (null: the end). */
  private closure(state: State, next: number | null): (number | "match")[] {
    const seen = new Set<number>();
    const found: (number | "match")[] = [];
    const open = [...state.points];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      this.work++;
      if (seen.has(at)) continue;
      seen.add(at);
      const instruction = this.instructions[at];
      if (instruction === undefined) continue;
      if (instruction.kind === "match") found.push("match");
      else if (instruction.kind === "char") found.push(at);
      else if (instruction.kind === "split") open.push(instruction.next, instruction.other);
      else if (holds(instruction.what, state, next)) open.push(instruction.next);
    }
    return found;
  }
}

const newline = 10;

function newState(points: readonly number[], last: number | null): State {
  return {
    points,
    isStart: last === null,
    afterWord: last !== null && isWord(last),
    afterNewline: last === newline,
    steps: [],
    accepts: null,
  };
}

function holds(what: AssertKind, state: State, next: number | null): boolean {
  const isBoundary = state.afterWord !== (next !== null && isWord(next));
  switch (what) {
    case "textStart":
      return state.isStart;
    case "lineStart":
      return state.isStart || state.afterNewline;
    case "textEnd":
      return next === null;
    case "lineEnd":
      return next === null || next === newline;
    case "wordBoundary":
      return isBoundary;
    case "noWordBoundary":
      return !isBoundary;
    default:
      return unreachable(what);
  }
}

function isWord(code: number): boolean {
  const isDigit = code >= 48 && code <= 57;
  const isUpper = code >= 65 && code <= 90;
  const isLower = code >= 97 && code <= 122;
  return isDigit || isUpper || isLower || code === 95;
}
