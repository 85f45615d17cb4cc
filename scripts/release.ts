import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { compile, sha256 } from "./compile.ts";
import { buildLibrary, installPackages } from "./setup.ts";
import { bun, exists, heading, libraryPath, main, must, root } from "./support.ts";

const out = join(root, "dist", "release");

/**
 * Writes `dist/release/chronik-linux-x64` and `-baseline` (processors without AVX2), each with its
 * `.sha256`. The Bun inside each comes from the npm registry, in the version that runs this script.
 */
await main(async () => {
  await installPackages();
  await buildLibrary("release");
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  for (const platform of ["linux-x64", "linux-x64-baseline"]) {
    heading(`release ${platform}`);
    const outfile = join(out, `chronik-${platform}`);
    const bunExecutable = await fetchBun(platform);
    await compile({ library: libraryPath("release"), outfile, bunExecutable });
    await writeChecksum(outfile);
  }
  return 0;
});

/** The Bun executable of another platform, installed once into `.cache/`. */
async function fetchBun(platform: string): Promise<string> {
  const name = `@oven/bun-${platform}`;
  const folder = join(root, ".cache", "bun", `${Bun.version}-${platform}`);
  const executable = join(folder, "node_modules", name, "bin", "bun");
  if (!exists(executable)) {
    await mkdir(folder, { recursive: true });
    const manifest = { private: true, dependencies: { [name]: Bun.version } };
    await Bun.write(join(folder, "package.json"), JSON.stringify(manifest));
    await must([bun, "install", "--ignore-scripts"], { cwd: folder });
  }
  return executable;
}

/** `HASH  NAME` as `sha256sum -c` reads it. */
async function writeChecksum(path: string): Promise<void> {
  const bytes = new Uint8Array(await Bun.file(path).arrayBuffer());
  const line = `${sha256(bytes)}  ${basename(path)}\n`;
  await Bun.write(`${path}.sha256`, line);
  console.log(line.trimEnd());
}
