import { type BrokerProcess, brokerBin, until } from "./broker-process.ts";

export interface RestoreRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `chronik restore` as a process. */
export async function runRestore(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  bin: string = brokerBin,
): Promise<RestoreRun> {
  const command = (bin.endsWith(".ts") ? [process.execPath, bin] : [bin]).concat("restore");
  const child = Bun.spawn([...command, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

async function backupMetric(broker: BrokerProcess, line: string): Promise<number> {
  const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const found = text.split("\n").find((one) => one.startsWith(`${line} `));
  return Number(found?.split(" ").at(-1) ?? Number.NaN);
}

/** Waits until a backup that began after now is complete. */
export async function untilBackedUp(broker: BrokerProcess, timeoutMs = 60_000): Promise<void> {
  const runs = () => backupMetric(broker, 'chronik_backup_runs{outcome="succeeded"}');
  // One may be under way that began before.
  const wanted = ((await runs()) || 0) + 2;
  await until("a new backup is complete", timeoutMs, async () => (await runs()) >= wanted);
}
