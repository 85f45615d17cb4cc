/** Kafka's error codes are not in its definitions: a few lines of Java print them from the jar. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface KafkaError {
  readonly name: string;
  readonly code: number;
  readonly retriable: boolean;
  readonly message: string;
}

const program = `
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

public class DumpErrors {
  public static void main(String[] args) {
    for (Errors error : Errors.values()) {
      boolean retriable = error.exception() instanceof RetriableException;
      String message = error.exception() == null ? "" : error.message();
      System.out.println(error.name() + "\\t" + error.code() + "\\t" + retriable + "\\t" + message);
    }
  }
}
`;

/** Runs the program against `classPath`; null when there is no JDK. */
export function dumpErrors(classPath: string[]): KafkaError[] | null {
  const java = Bun.which("java");
  if (java === null || Bun.which("javac") === null) return null;
  const folder = mkdtempSync(join(tmpdir(), "chronik-generate-"));
  try {
    const source = join(folder, "DumpErrors.java");
    writeFileSync(source, program);
    const run = Bun.spawnSync([java, "-cp", classPath.join(":"), source], { stderr: "pipe" });
    if (run.exitCode !== 0) throw new Error(`java failed: ${run.stderr.toString()}`);
    return run.stdout.toString().trim().split("\n").map(parseLine);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function parseLine(line: string): KafkaError {
  const [name, code, retriable, message] = line.split("\t");
  if (name === undefined || message === undefined) throw new Error(`unexpected line: ${line}`);
  return { name, code: Number(code), retriable: retriable === "true", message };
}
