import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that goes away with the scope it is declared in by `using`. */
export function tempFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "chronik-native-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Stands in for the native engine: answers with what it was given, so that a test sees it. */
const source = `
#include <stdint.h>
#include <string.h>
uint32_t chronik_abi(void) { return ABI; }
int32_t chronik_open(const uint8_t* json, uint64_t len, int32_t* fd, uint64_t* engine) {
  *fd = (int32_t)len; *engine = 0xFEDCBA9876543210ull + json[0]; return 0;
}
int32_t chronik_submit(uint64_t engine, const uint8_t* commands, uint64_t len) {
  return engine == 0xFEDCBA9876543210ull + '{' ? (int32_t)(len + commands[0]) : -1;
}
int32_t chronik_reap(uint64_t engine, uint8_t* out, uint64_t cap, uint64_t* used) {
  memset(out, 7, cap); *used = cap; return (int32_t)(engine & 0xff);
}
int32_t chronik_read(uint64_t e, uint64_t t, uint64_t o, uint8_t* out, uint64_t c, uint64_t* used) {
  memcpy(out, &o, c < 8 ? c : 8); *used = t; return -3;
}
int32_t chronik_submit_lent(
    uint64_t e, const uint8_t* c, uint64_t n, const uint8_t* r, uint64_t m) {
  return (int32_t)(n + m + c[0] + r[0]);
}
static const uint8_t lent[] = "handed over";
int32_t chronik_take(uint64_t engine, uint64_t token, uint64_t* parts) {
  parts[0] = (uint64_t)lent; parts[1] = engine + token; return 0;
}
uint64_t chronik_releaser(void) { return (uint64_t)&chronik_take; }
int32_t chronik_check(const uint8_t* batch, uint64_t len, uint8_t* out, uint64_t cap) {
  uint64_t n = len < cap ? len : cap; memcpy(out, batch, n); return (int32_t)n;
}
int32_t chronik_last_error(uint64_t engine, uint8_t* out, uint64_t cap) {
  const char* text = "no disk"; uint64_t n = 7 < cap ? 7 : cap; memcpy(out, text, n);
  return (int32_t)n;
}
#ifndef WITHOUT_CLOSE
int32_t chronik_close(uint64_t engine) { return engine ? 0 : -1; }
#endif
`;

/** Compiles the stand-in into `folder` with the given preprocessor names; returns its path. */
export function compileStub(folder: string, name: string, ...defines: string[]): string {
  const code = join(folder, `${name}.c`);
  const library = join(folder, `${name}.so`);
  writeFileSync(code, source);
  const flags = defines.map((define) => `-D${define}`);
  const done = Bun.spawnSync(["cc", "-shared", "-fPIC", ...flags, "-o", library, code]);
  if (done.exitCode !== 0) throw new Error(`cc failed: ${done.stderr}`);
  return library;
}
