/** RE2's syntax (https://github.com/google/re2/wiki/Syntax) over ASCII, as a tree. */

/** A set of characters: bit n for the character with code n. */
export type RegexNode =
  | { readonly kind: "char"; readonly chars: bigint }
  | { readonly kind: "sequence"; readonly items: readonly RegexNode[] }
  | { readonly kind: "choice"; readonly items: readonly RegexNode[] }
  /** `max` null: without end. */
  | {
      readonly kind: "repeat";
      readonly item: RegexNode;
      readonly min: number;
      readonly max: number | null;
    }
  | {
      readonly kind: "assert";
      readonly what:
        | "textStart"
        | "lineStart"
        | "textEnd"
        | "lineEnd"
        | "wordBoundary"
        | "noWordBoundary";
    };

export const asciiChars = 128;

/** RE2's own bounds. */
const repeatMax = 1_000;
const depthMax = 1_000;

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiLine: boolean;
  readonly dotAll: boolean;
}

/** What is wrong with an expression; ends the parsing. */
class RegexSyntaxError extends Error {}

/** The tree of the expression, or what is wrong with it. */
export function parseRegex(text: string): RegexNode | string {
  try {
    return new Parser(text).parse();
  } catch (error) {
    if (error instanceof RegexSyntaxError) return error.message;
    throw error;
  }
}

const allChars = (1n << BigInt(asciiChars)) - 1n;
const digits = range(48, 57);
const words = digits | range(65, 90) | range(97, 122) | bit(95);
const spaces = bit(9) | bit(10) | bit(12) | bit(13) | bit(32);

/** POSIX classes, as in [[:alpha:]]. */
const posixClasses: ReadonlyMap<string, bigint> = new Map([
  ["alnum", words & ~bit(95)],
  ["alpha", range(65, 90) | range(97, 122)],
  ["ascii", allChars],
  ["blank", bit(9) | bit(32)],
  ["cntrl", range(0, 31) | bit(127)],
  ["digit", digits],
  ["graph", range(33, 126)],
  ["lower", range(97, 122)],
  ["print", range(32, 126)],
  ["punct", range(33, 47) | range(58, 64) | range(91, 96) | range(123, 126)],
  ["space", range(9, 13) | bit(32)],
  ["upper", range(65, 90)],
  ["word", words],
  ["xdigit", digits | range(65, 70) | range(97, 102)],
]);

const escapes: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["f", 12],
  ["t", 9],
  ["n", 10],
  ["r", 13],
  ["v", 11],
]);

class Parser {
  private readonly chars: readonly string[];
  private at = 0;
  private depth = 0;
  private flags: Flags = { ignoreCase: false, multiLine: false, dotAll: false };
  private readonly names = new Set<string>();

  constructor(text: string) {
    this.chars = [...text];
  }

  parse(): RegexNode {
    const node = this.choice();
    if (this.at < this.chars.length) fail("unexpected )");
    return node;
  }

  private choice(): RegexNode {
    if (++this.depth > depthMax) fail("expression nests too deeply");
    const items = [this.sequence()];
    while (this.take("|")) items.push(this.sequence());
    this.depth--;
    return items.length === 1 && items[0] !== undefined ? items[0] : { kind: "choice", items };
  }

  private sequence(): RegexNode {
    const items: RegexNode[] = [];
    for (let next = this.peek(); next !== null && next !== "|" && next !== ")"; ) {
      const item = this.atom();
      if (Array.isArray(item)) items.push(...item);
      else items.push(this.repeated(item));
      next = this.peek();
    }
    return { kind: "sequence", items };
  }

  /** One item; a list where \Q…\E or a change of flags stands for several or none. */
  private atom(): RegexNode | RegexNode[] {
    const char = this.next();
    switch (char) {
      case "(":
        return this.group();
      case "[":
        return { kind: "char", chars: this.charClass() };
      case ".":
        return { kind: "char", chars: this.flags.dotAll ? allChars : allChars & ~bit(10) };
      case "^":
        return { kind: "assert", what: this.flags.multiLine ? "lineStart" : "textStart" };
      case "$":
        return { kind: "assert", what: this.flags.multiLine ? "lineEnd" : "textEnd" };
      case "*":
      case "+":
      case "?":
        return fail(`missing argument to repetition operator: \`${char}\``);
      case "\\":
        return this.escape();
      case "{":
        if (this.counts(this.at) !== null) fail("missing argument to repetition operator: `{`");
        return this.literal(char);
      default:
        return this.literal(char);
    }
  }

  private repeated(item: RegexNode): RegexNode {
    let node = item;
    for (let repeats = 0; ; repeats++) {
      const counts = this.repetition();
      if (counts === null) return node;
      if (repeats > 0) fail("invalid nested repetition operator");
      const [min, max] = counts;
      if (min > repeatMax || (max !== null && (max > repeatMax || max < min))) {
        fail("bad repetition operator");
      }
      // A lazy one matches the same names.
      this.take("?");
      node = { kind: "repeat", item: node, min, max };
    }
  }

  private repetition(): readonly [number, number | null] | null {
    if (this.take("*")) return [0, null];
    if (this.take("+")) return [1, null];
    if (this.take("?")) return [0, 1];
    if (this.peek() !== "{") return null;
    const counts = this.counts(this.at + 1);
    if (counts === null) return null;
    this.at = counts.end;
    return [counts.min, counts.max];
  }

  /** {n}, {n,} or {n,m} from behind the brace; anything else is literal text. */
  private counts(from: number): { min: number; max: number | null; end: number } | null {
    const end = this.chars.indexOf("}", from);
    if (end < 0) return null;
    const found = /^(\d{1,9})(?:(,)(\d{1,9})?)?$/.exec(this.chars.slice(from, end).join(""));
    if (found === null) return null;
    const [, min = "0", comma, max] = found;
    const most = comma === undefined ? Number(min) : max === undefined ? null : Number(max);
    return { min: Number(min), max: most, end: end + 1 };
  }

  private group(): RegexNode | RegexNode[] {
    const outer = this.flags;
    if (this.take("?")) {
      if (this.take("P")) {
        if (!this.take("<")) fail("invalid named capture");
        this.groupName();
      } else if (this.take("<")) {
        this.groupName();
      } else if (this.setFlags()) {
        // (?i) holds until the end of the group around it.
        return [];
      }
    }
    const node = this.choice();
    if (!this.take(")")) fail("missing closing )");
    this.flags = outer;
    return node;
  }

  private groupName(): void {
    const end = this.chars.indexOf(">", this.at);
    const name = end < 0 ? "" : this.chars.slice(this.at, end).join("");
    if (!/^\w+$/.test(name)) fail("invalid named capture");
    if (this.names.has(name)) fail("duplicate capture group name");
    this.names.add(name);
    this.at = end + 1;
  }

  /** True: `(?flags)`, whole. False: `(?flags:`, with the group to come. */
  private setFlags(): boolean {
    let isOn = true;
    let count = 0;
    for (;;) {
      const char = this.peek();
      if (char === null) return fail("missing closing )");
      this.at++;
      if (char === ":" || char === ")") {
        if ((!isOn && count === 0) || (isOn && count === 0 && char === ")")) {
          fail("invalid or unsupported Perl syntax");
        }
        return char === ")";
      }
      if (char === "-") {
        if (!isOn) fail("invalid or unsupported Perl syntax");
        [isOn, count] = [false, 0];
        continue;
      }
      count++;
      if (char === "i") this.flags = { ...this.flags, ignoreCase: isOn };
      else if (char === "m") this.flags = { ...this.flags, multiLine: isOn };
      else if (char === "s") this.flags = { ...this.flags, dotAll: isOn };
      // Ungreedy matches the same names.
      else if (char !== "U") fail("invalid or unsupported Perl syntax");
    }
  }

  private escape(): RegexNode | RegexNode[] {
    const char = this.next("trailing backslash at end of expression");
    switch (char) {
      case "A":
        return { kind: "assert", what: "textStart" };
      case "z":
        return { kind: "assert", what: "textEnd" };
      case "b":
        return { kind: "assert", what: "wordBoundary" };
      case "B":
        return { kind: "assert", what: "noWordBoundary" };
      case "C":
        return { kind: "char", chars: allChars };
      case "Q":
        return this.quoted();
      default: {
        const chars = this.classEscape(char) ?? this.folded(this.charEscape(char));
        return { kind: "char", chars };
      }
    }
  }

  private quoted(): RegexNode[] {
    const items: RegexNode[] = [];
    while (this.at < this.chars.length) {
      if (this.peek() === "\\" && this.chars[this.at + 1] === "E") {
        this.at += 2;
        break;
      }
      items.push(this.literal(this.next()));
    }
    // A repetition behind it takes the last character.
    const last = items.pop();
    return last === undefined ? items : [...items, this.repeated(last)];
  }

  /** \d \s \w \p{…} and their opposites; null when it is another escape. */
  private classEscape(char: string): bigint | null {
    switch (char) {
      case "d":
        return digits;
      case "D":
        return allChars & ~digits;
      case "s":
        return spaces;
      case "S":
        return allChars & ~spaces;
      case "w":
        return words;
      case "W":
        return allChars & ~words;
      case "p":
      case "P":
        return this.property(char === "P");
      default:
        return null;
    }
  }

  /** \pN, \p{Greek}: a Unicode category or script, as far as ASCII goes. */
  private property(isNegated: boolean): bigint {
    let name = this.next("invalid character class range");
    if (name === "{") {
      const end = this.chars.indexOf("}", this.at);
      if (end < 0) fail("invalid character class range");
      name = this.chars.slice(this.at, end).join("");
      this.at = end + 1;
    }
    const isInverted = name.startsWith("^");
    const bare = isInverted ? name.slice(1) : name;
    const chars = bare === "Any" ? allChars : propertyChars(bare);
    if (chars === null) return fail(`invalid character class range: \`\\p{${name}}\``);
    return isInverted !== isNegated ? allChars & ~chars : chars;
  }

  /** Code of a character written with a backslash. */
  private charEscape(char: string): number {
    const known = escapes.get(char);
    if (known !== undefined) return known;
    if (char === "x") return this.hexEscape();
    const code = char.codePointAt(0) ?? 0;
    if (char >= "0" && char <= "7") return this.octalEscape(char);
    const isWordChar = code < asciiChars && ((words >> BigInt(code)) & 1n) === 1n;
    if (code >= asciiChars || (isWordChar && char !== "_")) {
      return fail(`invalid escape sequence: \`\\${char}\``);
    }
    return code;
  }

  private octalEscape(first: string): number {
    // A single digit but 0 would be a backreference.
    const second = this.peek();
    const isOctal = second !== null && second >= "0" && second <= "7";
    if (first !== "0" && !isOctal) return fail(`invalid escape sequence: \`\\${first}\``);
    let text = first;
    for (let next = second; next !== null && next >= "0" && next <= "7" && text.length < 3; ) {
      text += this.next();
      next = this.peek();
    }
    return Number.parseInt(text, 8);
  }

  private hexEscape(): number {
    const rest = this.chars.slice(this.at, this.at + 12).join("");
    const found = /^(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))/.exec(rest);
    const code = Number.parseInt(found?.[1] ?? found?.[2] ?? "", 16);
    if (found === null || code > 0x10ffff) return fail("invalid escape sequence: `\\x`");
    this.at += found[0].length;
    return code;
  }

  private charClass(): bigint {
    const isNegated = this.take("^");
    let chars = 0n;
    for (let isFirst = true; ; isFirst = false) {
      const char = this.next("missing closing ]");
      if (char === "]" && !isFirst) break;
      if (char === "[" && this.peek() === ":") {
        const named = this.posixClass();
        if (named !== null) {
          chars |= named;
          continue;
        }
      }
      if (char === "\\") {
        const escaped = this.next("missing closing ]");
        const named = this.classEscape(escaped);
        if (named === null) chars |= this.classRange(this.charEscape(escaped));
        else chars |= named;
        continue;
      }
      const isStray = char === "-" && !isFirst && this.peek() !== "]";
      // A hyphen between two ranges is an error, as in RE2.
      if (isStray && this.chars[this.at] !== undefined && this.peek() === "-") {
        fail("invalid character class range");
      }
      chars |= this.classRange(char.codePointAt(0) ?? 0);
    }
    return isNegated ? allChars & ~chars : chars;
  }

  private classRange(low: number): bigint {
    const isRange = this.peek() === "-" && this.chars[this.at + 1] !== "]";
    if (!isRange) return this.folded(low);
    this.at++;
    const char = this.next("missing closing ]");
    let high = char.codePointAt(0) ?? 0;
    if (char === "\\") high = this.charEscape(this.next("missing closing ]"));
    if (high < low) fail("invalid character class range");
    let chars = 0n;
    for (let code = low; code <= Math.min(high, asciiChars - 1); code++) chars |= this.folded(code);
    return chars;
  }

  private posixClass(): bigint | null {
    const end = this.chars.indexOf("]", this.at);
    const text = end < 0 ? "" : this.chars.slice(this.at, end).join("");
    const found = /^:(\^?)(\w+):$/.exec(text);
    if (found === null) return null;
    const chars = posixClasses.get(found[2] ?? "");
    if (chars === undefined) return fail(`invalid character class range: \`[${text}]\``);
    this.at = end + 1;
    return found[1] === "^" ? allChars & ~chars : chars;
  }

  private literal(char: string): RegexNode {
    return { kind: "char", chars: this.folded(char.codePointAt(0) ?? 0) };
  }

  private folded(code: number): bigint {
    if (code >= asciiChars) return 0n;
    const isLetter = (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
    return this.flags.ignoreCase && isLetter ? bit(code) | bit(code ^ 32) : bit(code);
  }

  private peek(): string | null {
    return this.chars[this.at] ?? null;
  }

  private next(whenMissing = "unexpected end"): string {
    const char = this.chars[this.at];
    if (char === undefined) return fail(whenMissing);
    this.at++;
    return char;
  }

  private take(char: string): boolean {
    if (this.chars[this.at] !== char) return false;
    this.at++;
    return true;
  }
}

function propertyChars(name: string): bigint | null {
  if (!/^\w+$/.test(name)) return null;
  for (const property of [name, `Script=${name}`]) {
    const regex = propertyRegex(property);
    if (regex === null) continue;
    let chars = 0n;
    for (let code = 0; code < asciiChars; code++) {
      if (regex.test(String.fromCharCode(code))) chars |= bit(code);
    }
    return chars;
  }
  return null;
}

/** Null when there is no such property. */
function propertyRegex(property: string): RegExp | null {
  try {
    return new RegExp(`^\\p{${property}}$`, "u");
  } catch {
    return null;
  }
}

function bit(code: number): bigint {
  return 1n << BigInt(code);
}

function range(first: number, last: number): bigint {
  return ((1n << BigInt(last + 1)) - 1n) & ~((1n << BigInt(first)) - 1n);
}

function fail(message: string): never {
  throw new RegexSyntaxError(message);
}
