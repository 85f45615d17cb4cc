import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { bun, main, must, root, ScriptError } from "./support.ts";

export interface CompileOptions {
  /** The cdylib to carry inside. */
  readonly library: string;
  readonly outfile: string;
  /** Another Bun than the running one to put the program into. */
  readonly bunExecutable?: string;
  /** The program's first file; the tests compile small ones. */
  readonly entry?: string;
}

/**
 * Bundles the program and its cdylib into one executable. In a process of its own: Bun remembers
 * that a folder was not there, so one that began before the packages were installed finds none.
 */
export async function compile(options: CompileOptions): Promise<void> {
  await must([bun, import.meta.path, JSON.stringify(options)]);
}

async function bundle(options: CompileOptions): Promise<void> {
  // The bundler leaves its source maps beside the executable, which carries them too.
  const scratch = `${options.outfile}.${process.pid}.tmp`;
  const unfinished = join(scratch, "chronik");
  await mkdir(scratch, { recursive: true });
  try {
    const bytes = new Uint8Array(await Bun.file(options.library).arrayBuffer());
    const result = await Bun.build({
      entrypoints: [options.entry ?? join(root, "src", "main-compiled.ts"), options.library],
      loader: { ".so": "file" },
      naming: { asset: "[name].[ext]" },
      sourcemap: "inline",
      // What is imported when it is needed stays unread until then: the S3 client's modules would
      // cost every start 40 ms and 16 MB.
      splitting: true,
      // What src/native/embedded.ts reads: how the program knows the library it carries.
      define: {
        CHRONIK_LIBRARY_SHA256: JSON.stringify(sha256(bytes)),
        CHRONIK_LIBRARY_GLIBC: JSON.stringify(glibcNeeded(bytes)),
      },
      compile: {
        outfile: unfinished,
        // The folder a broker is started in must not be able to run code in it (design D17).
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
        ...(options.bunExecutable === undefined ? {} : { executablePath: options.bunExecutable }),
      },
    });
    if (!result.success) throw new ScriptError(`bundling failed: ${result.logs.join("\n")}`);
    // In one step: a broker that is running keeps the file it was started from.
    await rename(unfinished, options.outfile);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The newest glibc symbol version a shared library asks for, such as `2.34`; `0` when none. */
export function glibcNeeded(library: Uint8Array): string {
  const names = Buffer.from(library)
    .toString("latin1")
    .matchAll(/GLIBC_(\d+\.\d+)(?:\.\d+)?\0/g);
  let newest = "0";
  for (const [, version] of names) {
    if (version !== undefined && compareVersions(version, newest) > 0) newest = version;
  }
  return newest;
}

/** SHA-256 in hex. */
export function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

function compareVersions(left: string, right: string): number {
  const [leftMajor = 0, leftMinor = 0] = left.split(".").map(Number);
  const [rightMajor = 0, rightMinor = 0] = right.split(".").map(Number);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}

if (import.meta.main) {
  await main(async () => {
    // Only `compile` above writes this argument.
    await bundle(JSON.parse(process.argv[2] ?? "") as CompileOptions);
    return 0;
  });
}
