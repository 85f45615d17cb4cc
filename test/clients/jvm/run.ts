import { javaLogConfig } from "../setup.ts";

/** JVMs that are small enough to run beside the broker on two cores. */

export interface JvmOptions {
  readonly classPath: string;
  readonly mainClass: string;
  readonly args?: readonly string[];
  readonly heapMb?: number;
  /** System properties. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Least severe log lines, to standard error. */
  readonly logLevel?: "ERROR" | "WARN" | "INFO";
  /** Optimising compilation pays for what runs for minutes. */
  readonly isLong?: boolean;
}

export function jvmCommand(options: JvmOptions): string[] {
  const properties = {
    "log4j2.configurationFile": javaLogConfig,
    "kafka.loglevel": options.logLevel ?? "ERROR",
    ...options.properties,
  };
  return ["java", `-Xmx${options.heapMb ?? 512}m`, "-XX:+UseSerialGC"]
    .concat(options.isLong ? [] : ["-XX:TieredStopAtLevel=1"])
    .concat(Object.entries(properties).map(([name, value]) => `-D${name}=${value}`))
    .concat(["-cp", options.classPath, options.mainClass, ...(options.args ?? [])]);
}

export interface JvmResult {
  /** 137 when time ran out. */
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a main class to its end, or kills it when time is up. */
export async function runJvm(options: JvmOptions, timeoutMs: number): Promise<JvmResult> {
  const child = Bun.spawn(jvmCommand(options), {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const killer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const [stdout, stderr, exit] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(killer);
  return { exit, stdout, stderr };
}
