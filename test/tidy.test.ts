import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { codeOnly } from "./tidy-lexer.ts";
import { importsOf, type Rule, roomOf, rules, type Source } from "./tidy-rules.ts";

const root = resolve(import.meta.dir, "..");

function sources(): Source[] {
  const found: Source[] = [];
  const patterns = ["{src,admin,scripts,test}/**/*.ts", "ffi/{src,tests,benches}/**/*.rs"];
  for (const pattern of patterns) {
    for (const path of new Bun.Glob(pattern).scanSync({ cwd: root })) {
      if (/(^|\/)(node_modules|target|dist)\//.test(path)) continue;
      found.push({ path, text: readFileSync(join(root, path), "utf8") });
    }
  }
  return found.sort((left, right) => (left.path < right.path ? -1 : 1));
}

describe("the code's own shape", () => {
  const all = sources();
  test("there is code to look at", () => {
    expect(all.some(({ path }) => path === "src/main.ts")).toBe(true);
    expect(all.some(({ path }) => path === "ffi/src/lib.rs")).toBe(true);
  });
  for (const [name, rule] of Object.entries(rules)) {
    test(name, () => {
      expect(all.flatMap(rule)).toEqual([]);
    });
  }
});

/** Samples that each rule must refuse, and near misses that it must let pass. */
const samples: Record<string, { bad: Source[]; good: Source[] }> = {
  keepsLayers: {
    bad: [
      source("src/lib/a.ts", 'import { x } from "../telemetry/metrics.ts";'),
      source("src/log/a.ts", 'import type { Engine } from "../native/engine.ts";'),
      source("src/log/a.ts", 'const later = await import("../native/engine.ts");'),
      source("src/api/a.ts", 'import {\n  a,\n  b,\n} from "../store/local-store.ts";'),
      source("src/net/a.ts", 'export { x } from "../log/partition.ts";'),
      source("src/store/a.ts", 'import "../protocol/reader.ts";'),
      source("src/tier/a.ts", 'import { x } from "../../scripts/build.ts";'),
      source("admin/app.ts", 'import { x } from "../src/log/partition.ts";'),
      source("src/lib/a.ts", 'import { version } from "../../package.json";'),
      source("src/config.ts", 'import { x } from "./log/partition.ts";'),
      source("src/strange/a.ts", ""),
      source("src/strange.ts", ""),
    ],
    good: [
      source("src/api/a.ts", 'import { x } from "../log/partition.ts";'),
      source("src/log/a.ts", 'import { x } from "./partition.ts";'),
      source("src/broker.ts", 'import { x } from "./native/engine.ts";'),
      source("src/config-load.ts", 'import { x } from "./config.ts";'),
      source("src/cli/a.ts", 'import { version } from "../../package.json";'),
      source("admin/routes/a.ts", 'import { x } from "../view.ts";'),
      source("admin/a.ts", 'import { x } from "../src/lib/errors.ts";'),
    ],
  },
  keepsOwners: {
    bad: [
      source("src/log/a.ts", 'import { dlopen } from "bun:ffi";'),
      source("src/net/a.ts", 'import { Hono } from "hono";'),
      source("src/net/a.ts", 'import type { Context } from "hono/tiny";'),
      source("src/net/a.ts", 'import net from "node:net";'),
      source("src/log/a.ts", "const now = Date.now();"),
      source("src/log/a.ts", "const at = new Date();"),
      source("src/log/a.ts", "const at = performance.now();"),
      source("src/log/a.ts", "setTimeout(task, 5);"),
      source("src/log/a.ts", "const handle = setInterval(task, 5);"),
      source("src/log/a.ts", "await Bun.sleep(5);"),
      source("src/log/a.ts", "const x = Math.random();"),
      source("src/broker.ts", "process.exit(1);"),
      source("src/log/a.ts", "Bun.listen({});"),
      source("src/native/wal.ts", "Bun.connect({});"),
      source("admin/a.ts", "Bun.write(path, text);"),
    ],
    good: [
      source("src/lib/clock.ts", "const now = Date.now();"),
      source("src/lib/prng.ts", "const x = Math.random();"),
      source("src/main.ts", "process.exit(1);"),
      source("src/net/listener.ts", "Bun.listen({});"),
      source("src/log/a.ts", "// not Date.now() but the clock\nconst text = 'Math.random';"),
      source("src/log/a.ts", "const at = new Date(clock.nowMs());"),
      source("scripts/a.ts", "process.exit(1);"),
    ],
  },
  writesNoFiles: {
    bad: [
      source("src/tier/a.ts", 'import { writeFileSync } from "node:fs";'),
      source("src/tier/a.ts", 'import { readFile, rename } from "node:fs/promises";'),
      source("admin/a.ts", 'import * as fs from "node:fs";'),
      source("src/native/library.ts", 'import { mkdirSync } from "node:fs";'),
    ],
    good: [
      source("src/config.ts", 'import { readFileSync, existsSync } from "node:fs";'),
      source("src/native/unpack.ts", 'import { writeFileSync } from "node:fs";'),
      source("test/a.ts", 'import { writeFileSync } from "node:fs";'),
    ],
  },
  keepsSizes: {
    bad: [
      source("src/lib/a.ts", "a\n".repeat(501)),
      source("ffi/src/a.rs", "x".repeat(101)),
      source("test/a.test.ts", `ok\n${"x".repeat(101)}\n`),
    ],
    good: [
      source("src/lib/a.ts", "a\n".repeat(500)),
      source("src/lib/a.ts", "é".repeat(100)),
      source("src/lib/a.ts", `import { x } from "./${"y".repeat(90)}.ts";`),
      source("src/protocol/messages/fetch.ts", "x\n".repeat(9000)),
    ],
  },
  leavesNothingOpen: {
    bad: [
      source("src/lib/a.ts", `// ${"TO"}DO later`),
      source("ffi/src/a.rs", `/* ${"FIX"}ME */`),
      source("src/lib/a.ts", `// @ts-${"ignore"}`),
      source("ffi/src/a.rs", `fn a() { ${"todo"}!() }`),
    ],
    good: [source("src/lib/a.ts", "// the method todos() lists what is left")],
  },
  exportsPlainly: {
    bad: [
      source("src/lib/a.ts", "export default class A {}"),
      source("src/lib/a.ts", 'export * from "./b.ts";'),
      source("src/lib/a.ts", 'export * as b from "./b.ts";'),
      source("src/lib/a.ts", 'export {\n  b,\n} from "./b.ts";'),
      source("src/lib/a.ts", 'export type { B } from "./b.ts";'),
    ],
    good: [
      source("src/lib/a.ts", "export const a = 1;\nexport { b };"),
      source("src/lib/a.ts", "// export default is not used here"),
    ],
  },
  namesPlainly: {
    bad: [
      source("src/log/a.ts", "export class PartitionManager {"),
      source("src/log/a.ts", "export interface StoreImpl {"),
    ],
    good: [source("src/log/a.ts", "export class Partition {")],
  },
  namesNoMachine: {
    bad: [
      source("src/log/a.ts", `const x = "${"/home"}/someone/x";`),
      source("test/a.ts", `open("${"/root"}/x")`),
      source("scripts/a.ts", `// see ${"/work"}/notes`),
    ],
    good: [source("src/log/a.ts", "// scratch lives in {data_dir}/tmp/ and src/work/x")],
  },
  keepsUnsafeInOnePlace: {
    bad: [source("ffi/src/wal/frame.rs", "let x = unsafe { *pointer };")],
    good: [
      source("ffi/src/abi.rs", "let x = unsafe { *pointer };"),
      source("ffi/src/lib.rs", "#![deny(unsafe_code)]\n// unsafe is banned here"),
    ],
  },
  testsHonestly: {
    bad: [
      source("test/log/a.test.ts", "test.only('x', () => {});"),
      source("test/log/a.test.ts", "describe.skip('x', () => {});"),
      source("test/log/a.test.ts", "it.todo('x');"),
      source("test/log/a.test.ts", "await Bun.sleep(100);"),
      source("test/log/a.test.ts", "await pollPause(100);"),
      source("test/support/wait.ts", "await Bun.sleep(5);"),
      source("test/log/a.test.ts", "await new Promise((r) => setTimeout(resolve, 10));"),
    ],
    good: [
      source("test/log/a.test.ts", "test.skipIf(noJava)('x', () => {});"),
      source("test/support/moments.ts", "await Bun.sleep(5);"),
      source("test/crash/producer.ts", "await Bun.sleep(5);"),
      source("test/log/a.test.ts", "await Bun.sleep(0);"),
    ],
  },
};

function source(path: string, text: string): Source {
  return { path, text };
}

describe("each rule can fail", () => {
  test("each has samples", () => {
    expect(Object.keys(samples).sort()).toEqual(Object.keys(rules).sort());
  });
  for (const [name, rule] of Object.entries<Rule>(rules)) {
    test(name, () => {
      const { bad = [], good = [] } = samples[name] ?? {};
      expect(bad.filter((sample) => rule(sample).length === 0)).toEqual([]);
      expect(good.flatMap(rule)).toEqual([]);
    });
  }
});

test("a breach names the file and the line", () => {
  const text = "const a = 1;\n\nconst now = Date.now();\n";
  expect(rules["keepsOwners"]?.(source("src/log/a.ts", text))).toEqual([
    "src/log/a.ts:3 Date.now belongs to src/lib/clock.ts",
  ]);
});

test("imports are found in every form", () => {
  const text = [
    'import { a, type B } from "./one.ts";',
    'import type { C } from "./two.ts";',
    'import "./three.ts";',
    'import {\n  d,\n} from "./four.ts";',
    'export type { E } from "./five.ts";',
    'const f = await import("./six.ts");',
    'import g, * as h from "./seven.ts";',
    'export const notAnImport = "./eight.ts";',
  ].join("\n");
  const names = ["one", "two", "three", "four", "five", "six", "seven"];
  expect(importsOf(text).map(({ module }) => module)).toEqual(names.map((name) => `./${name}.ts`));
});

test("rooms are told by path", () => {
  expect(roomOf("src/log/partition.ts")).toBe("log");
  expect(roomOf("src/config-file.ts")).toBe("config");
  expect(roomOf("src/broker-tier.ts")).toBe("broker");
  expect(roomOf("admin/routes/health.ts")).toBe("admin");
  expect(roomOf("src/other.ts")).toBeNull();
});

describe("comments and strings are not code", () => {
  test.each([
    ["a // b", "a     "],
    ["a /* b\nc */ d", "a     \n     d"],
    ['f("x // y") + 1', "f(        ) + 1"],
    ["x = /['\"`]/ + y", "x =         + y"],
    ["a / b / c", "a / b / c"],
    ["fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"],
    ["let c = '\\'';", "let c =     ;"],
    ['"http://x" y', `${" ".repeat(10)} y`],
  ])("%p", (text, code) => {
    expect(codeOnly(text)).toBe(code);
  });
});
