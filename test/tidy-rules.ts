import { dirname, join, normalize } from "node:path";
import { codeOnly } from "./tidy-lexer.ts";

/** One source file: its path from the project's top folder, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** Gives one line for each breach, `path:line what is wrong`. */
export type Rule = (source: Source) => string[];

const base = ["lib", "telemetry", "protocol"];

/** Who may import whom: a room may import itself, these rooms, and no other. */
const layers: Readonly<Record<string, readonly string[] | "everything">> = {
  lib: [],
  config: ["lib"],
  telemetry: ["lib"],
  protocol: ["lib"],
  store: ["lib", "telemetry"],
  native: ["lib", "telemetry"],
  metadata: base,
  client: base,
  log: base,
  fetch: base,
  quota: [...base, "metadata"],
  "client-metrics": [...base, "metadata", "log"],
  security: [...base, "metadata"],
  tier: [...base, "store", "log"],
  group: [...base, "metadata", "log"],
  share: [...base, "metadata", "log"],
  transaction: [...base, "metadata", "log", "group"],
  backup: [...base, "store", "metadata", "log", "tier", "group", "share", "transaction"],
  cluster: [...base, "metadata", "log", "client"],
  api: [
    ...base,
    "config",
    "metadata",
    "security",
    "log",
    "fetch",
    "quota",
    "client-metrics",
    "tier",
    "group",
    "share",
    "transaction",
    "cluster",
  ],
  net: [...base, "api", "security"],
  bench: ["lib", "protocol", "client"],
  cli: [...base, "client", "bench", "config", "manifest"],
  admin: ["lib"],
  broker: "everything",
  main: "everything",
};

/** Packages and built-in modules that only some files may import. */
const moduleOwners: readonly { module: RegExp; owner: RegExp; ownerName: string }[] = [
  { module: /^bun:ffi$/, owner: /^src\/native\//, ownerName: "src/native" },
  { module: /^hono(\/|$)/, owner: /^admin\//, ownerName: "admin" },
  { module: /^commander$/, owner: /^src\/cli\//, ownerName: "src/cli" },
  {
    module: /^@aws-sdk\//,
    owner: /^src\/store\/s3-store\.ts$/,
    ownerName: "src/store/s3-store.ts",
  },
  { module: /^(node:)?(net|tls|dgram|http2?|https)$/, owner: /^$/, ownerName: "nobody" },
  { module: /^(bun:sqlite|(node:)?(child_process|vm|cluster))$/, owner: /^$/, ownerName: "nobody" },
];

/** Names in code that only some files may use. */
const nameOwners: readonly { name: RegExp; owner: RegExp; ownerName: string }[] = [
  {
    name: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bBun\.(nanoseconds|sleep)/,
    owner: /^src\/lib\/clock\.ts$/,
    ownerName: "src/lib/clock.ts",
  },
  {
    name: /\bset(Timeout|Interval|Immediate)\b/,
    owner: /^src\/lib\/clock\.ts$/,
    ownerName: "src/lib/clock.ts",
  },
  { name: /\bMath\.random\b/, owner: /^src\/lib\/prng\.ts$/, ownerName: "src/lib/prng.ts" },
  { name: /\bprocess\.exit\b/, owner: /^src\/main\.ts$/, ownerName: "src/main.ts" },
  {
    name: /\bBun\.(listen|connect|udpSocket)\b/,
    owner: /^src\/(net|client)\/|^src\/native\/engine\.ts$/,
    ownerName: "src/net, src/client and src/native/engine.ts",
  },
  { name: /\bBun\.(write|spawn|\$)|\.writer\(/, owner: /^$/, ownerName: "nobody" },
];

/** Functions of node:fs that change the disk; durable bytes belong to the native engine. */
const writes = new RegExp(
  "^(write|append|mk|rm|unlink|rename|truncate|ftruncate|copy|cp$|cpSync|symlink|link|" +
    "chmod|chown|utimes|open|fsync|fdatasync|createWriteStream)",
);
const writer = "src/native/unpack.ts";

interface Import {
  readonly line: number;
  readonly module: string;
  readonly names: readonly string[];
}

/** Every import and re-export of a file, type imports and dynamic ones included. */
export function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const fixedForm = /^[ \t]*(?:import|export)\b(?:([^;"'`]*?)\bfrom)?\s*["']([^"']+)["']/;
  const dynamicForm = /\bimport\(\s*["']([^"']+)["']/;
  const statement = new RegExp(`${fixedForm.source}|${dynamicForm.source}`, "gm");
  for (const match of text.matchAll(statement)) {
    const [, clause, fixed, dynamic] = match;
    found.push({
      line: lineOf(text, match.index),
      module: fixed ?? dynamic ?? "",
      names: [...(clause ?? "*").matchAll(/[\w$*]+/g)].map(([name]) => name),
    });
  }
  return found;
}

/** The room a file lies in; null for a file that lies in none. */
export function roomOf(path: string): string | null {
  if (path === "package.json") return "manifest";
  if (path.startsWith("admin/")) return "admin";
  const inside = /^src\/([^/]+)\//.exec(path)?.[1];
  if (inside !== undefined) return inside in layers ? inside : null;
  const top = /^src\/(main|broker|config)(?:-[\w-]+)?\.ts$/.exec(path)?.[1];
  return top ?? null;
}

/** Import arrows go one way. */
export const keepsLayers: Rule = ({ path, text }) => {
  if (!isProduct(path)) return [];
  const room = roomOf(path);
  if (room === null) return [`${path}:1 lies in no room of the import table`];
  const allowed = layers[room] ?? [];
  const breaches: string[] = [];
  for (const { line, module } of importsOf(text)) {
    if (!module.startsWith(".")) continue;
    const target = normalize(join(dirname(path), module));
    const targetRoom = roomOf(target);
    if (targetRoom === room || allowed === "everything") continue;
    if (targetRoom === null || !allowed.includes(targetRoom)) {
      breaches.push(`${path}:${line} ${room} may not import ${targetRoom ?? target}`);
    }
  }
  return breaches;
};

/** Sockets, clocks, chance, the FFI and the web framework each have one owner. */
export const keepsOwners: Rule = ({ path, text }) => {
  if (!isProduct(path)) return [];
  const breaches: string[] = [];
  for (const { line, module } of importsOf(text)) {
    for (const { module: owned, owner, ownerName } of moduleOwners) {
      if (owned.test(module) && !owner.test(path)) {
        breaches.push(`${path}:${line} ${module} belongs to ${ownerName}`);
      }
    }
  }
  codeOnly(text)
    .split("\n")
    .forEach((code, index) => {
      for (const { name, owner, ownerName } of nameOwners) {
        const used = name.exec(code)?.[0];
        if (used === undefined || owner.test(path)) continue;
        breaches.push(`${path}:${index + 1} ${used} belongs to ${ownerName}`);
      }
    });
  return breaches;
};

/** TypeScript writes no file, but for the library that holds the engine which does (D16). */
export const writesNoFiles: Rule = ({ path, text }) => {
  if (!isProduct(path) || path === writer) return [];
  return importsOf(text)
    .filter(({ module }) => /^(node:)?fs(\/promises)?$/.test(module))
    .flatMap(({ line, names }) => {
      const whole = names.includes("*") || names.includes("default") || !names.length;
      const bad = whole ? "all of node:fs" : names.find((name) => writes.test(name));
      return bad === undefined ? [] : [`${path}:${line} ${bad} can write files`];
    });
};

/** Files of at most 500 lines, lines of at most 100 columns. */
export const keepsSizes: Rule = ({ path, text }) => {
  if (isGenerated(path)) return [];
  const lines = text.replace(/\n$/, "").split("\n");
  const breaches = lines.length > 500 ? [`${path}:501 has ${lines.length} lines`] : [];
  lines.forEach((line, index) => {
    const columns = [...line].length;
    // What is imported from one file cannot be broken into lines shorter than its path.
    if (columns > 100 && !/^import .* from "[^"]+";$/.test(line))
      breaches.push(`${path}:${index + 1} has ${columns} columns`);
  });
  return breaches;
};

/** What is not done is an issue, not a comment; a type error is fixed, not silenced. */
export const leavesNothingOpen: Rule = (source) =>
  matches(
    source,
    /\b(?:TO[D]O|FIX[M]E|XX[X])\b|@ts-(?:ignore|nocheck)|\btodo!\(|\bunimplemented!\(/,
  );

/** A name is imported from the file that defines it, under the name it has there. */
export const exportsPlainly: Rule = (source) => {
  if (!source.path.endsWith(".ts") || isGenerated(source.path)) return [];
  const code = { ...source, text: codeOnly(source.text) };
  return [
    ...matches(code, /^\s*export\s+default\b/m),
    ...matches(code, /^\s*export\s+(?:type\s+)?(?:\*|\{[^}]*\})\s*(?:as\s+\w+\s+)?from\b/m),
  ];
};

/** A class is named for what it is. */
export const namesPlainly: Rule = (source) =>
  isProduct(source.path)
    ? matches(
        source,
        /\bexport\s+(?:abstract\s+)?(?:class|interface)\s+\w*(?:Manager|Helper|Util|Utils|Impl)\b/,
      )
    : [];

/** Nothing knows the machine it was written on. */
export const namesNoMachine: Rule = (source) =>
  matches(source, /(?:^|["'`\s(=:])\/(?:home|root|Users|work|mnt)\/\w/m);

/** Rust's unchecked code stands in one file. */
export const keepsUnsafeInOnePlace: Rule = ({ path, text }) =>
  path.startsWith("ffi/src/") && path !== "ffi/src/abi.rs"
    ? matches({ path, text: codeOnly(text) }, /\bunsafe\b/)
    : [];

/**
 * Every test runs, and none waits for time to pass where it could wait for a condition; `sleep(0)`
 * is a turn of the loop. What does need time says for what in `test/support/moments.ts`; programs
 * that tests start may pace themselves.
 */
export const testsHonestly: Rule = ({ path, text }) => {
  if (!path.startsWith("test/") || !path.endsWith(".ts")) return [];
  const code = { path, text: codeOnly(text) };
  const isTest = path.endsWith(".test.ts");
  const isSupport = path.startsWith("test/support/") && path !== "test/support/moments.ts";
  const sleeps = /\bsleep(?:Sync)?\((?!0\))|\bsetTimeout\(\s*(?:resolve|done|r)\b/;
  return [
    ...matches(code, /\b(?:test|it|describe)\.(?:only|skip|todo)\b/),
    ...(isTest || isSupport ? matches(code, sleeps) : []),
    ...(isTest ? matches(code, /\bpollPause\(/) : []),
  ];
};

export const rules: Readonly<Record<string, Rule>> = {
  keepsLayers,
  keepsOwners,
  writesNoFiles,
  keepsSizes,
  leavesNothingOpen,
  exportsPlainly,
  namesPlainly,
  namesNoMachine,
  keepsUnsafeInOnePlace,
  testsHonestly,
};

function isProduct(path: string): boolean {
  return path.startsWith("src/") || path.startsWith("admin/");
}

function isGenerated(path: string): boolean {
  return (
    path.startsWith("src/protocol/messages/") ||
    /^src\/protocol\/(api-key|error-code)\.ts$/.test(path)
  );
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

function matches({ path, text }: Source, pattern: RegExp): string[] {
  const all = new RegExp(
    pattern,
    pattern.flags.includes("g") ? pattern.flags : `${pattern.flags}g`,
  );
  return [...text.matchAll(all)].map((match) => {
    const leading = match[0].length - match[0].trimStart().length;
    return `${path}:${lineOf(text, match.index + leading)} ${match[0].trim()}`;
  });
}
