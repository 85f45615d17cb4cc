import { compile } from "./compile.ts";
import { buildLibrary, installPackages } from "./setup.ts";
import {
  executablePath,
  type Flavour,
  heading,
  libraryPath,
  main,
  ScriptError,
} from "./support.ts";

/** Sets up and builds one executable: `dist/chronik`, or `dist/chronik-test` with kill points. */
export async function build(flavour: Flavour): Promise<string> {
  heading(`build ${flavour}`);
  await installPackages();
  await buildLibrary(flavour);
  const outfile = executablePath(flavour);
  await compile({ library: libraryPath(flavour), outfile });
  return outfile;
}

if (import.meta.main) {
  await main(async () => {
    const unknown = process.argv.slice(2).filter((argument) => argument !== "--test");
    if (unknown.length > 0) throw new ScriptError(`build takes only --test, not ${unknown[0]}`);
    await build(process.argv.includes("--test") ? "test" : "release");
    return 0;
  });
}
