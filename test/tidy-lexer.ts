/**
 * The same text with comments, strings and regular expressions blanked out, line for line; enough
 * for the shape rules, for TypeScript and for Rust. Code inside a template's `${}` is blanked too.
 */
export function codeOnly(text: string): string {
  let out = "";
  let at = 0;
  while (at < text.length) {
    const end = endOfBlank(text, at, out);
    if (end === at) {
      out += text[at];
      at += 1;
    } else {
      out += text.slice(at, end).replace(/[^\n]/g, " ");
      at = end;
    }
  }
  return out;
}

/** Where the comment, string or pattern that begins at `at` ends; `at` when none begins. */
function endOfBlank(text: string, at: number, before: string): number {
  const two = text.slice(at, at + 2);
  if (two === "//") return or(text.indexOf("\n", at), text.length);
  if (two === "/*") return or(text.indexOf("*/", at + 2), text.length - 2) + 2;
  const char = text[at];
  if (char === '"' || char === "`") return endOfQuote(text, at, char);
  // In Rust a single quote may begin a lifetime; a character or string literal closes soon.
  if (char === "'" && !/^'[a-z_]\w*[^'\w]/.test(text.slice(at, at + 40))) {
    return endOfQuote(text, at, char);
  }
  if (char === "/" && /(?:^|[(,=:[!&|?{};]|\breturn|=>)\s*$/.test(before.slice(-40))) {
    return endOfPattern(text, at);
  }
  return at;
}

function endOfQuote(text: string, from: number, quote: string): number {
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === quote) return at + 1;
    else if (text[at] === "\n" && quote === "'") return from;
  }
  return text.length;
}

function endOfPattern(text: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < text.length && text[at] !== "\n"; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "[") inClass = true;
    else if (text[at] === "]") inClass = false;
    else if (text[at] === "/" && !inClass) return at + 1;
  }
  return from;
}

function or(found: number, otherwise: number): number {
  return found < 0 ? otherwise : found;
}
