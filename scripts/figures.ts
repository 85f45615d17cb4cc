import { readFileSync } from "node:fs";

/** What the benches print, one JSON line a figure, and what they ask of a running process. */

const clockTicksPerSec = 100;

export function print(figure: string, values: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify({ figure, ...values })}\n`);
}

export function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

export function cpuSecs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSec;
}
