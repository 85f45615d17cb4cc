import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDir, installOnce, missingPrograms, run } from "../clients/setup.ts";
import { freePorts, until } from "./broker-process.ts";

const versitygw = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
const binDir = join(cacheDir, "s3");

export const accessKey = "test-access";
export const secretKey = "test-secret-a1b2c3d4e5";

/** Why there is no S3 server here; null where there can be one. */
export const s3SkipReason: string | null = missingPrograms(["go"]);

const children = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

export interface S3Server extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  /** Objects lie here as files, under their keys. */
  readonly folder: string;
  /** Sub-folder of `folder`; made by the server's start. */
  readonly bucket: string;
  /** Of the process that runs now. */
  readonly pid: number;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A real S3-compatible server (versitygw over a folder) with one bucket; installed on first use.
 * Beginning needs Go and, once, minutes: it is compiled. */
export async function startS3(options: { tls?: { cert: string; key: string } } = {}) {
  await installOnce("s3", versitygw, async () => {
    mkdirSync(binDir, { recursive: true });
    await run(["env", `GOBIN=${binDir}`, "go", "install", versitygw]);
  });
  const [port = 0] = await freePorts(1);
  const server = new Versitygw(port, options.tls ?? null);
  await server.start();
  return server as S3Server;
}

class Versitygw implements S3Server {
  readonly endpoint: string;
  readonly folder: string;
  readonly bucket = "archives";
  readonly #root = mkdtempSync(join(tmpdir(), "chronik-s3-"));
  readonly #command: readonly string[];
  #child: Bun.Subprocess | undefined;

  constructor(port: number, tls: { cert: string; key: string } | null) {
    this.folder = join(this.#root, "objects");
    mkdirSync(join(this.folder, this.bucket), { recursive: true });
    this.endpoint = `${tls === null ? "http" : "https"}://127.0.0.1:${port}`;
    this.#command = [
      [join(binDir, "versitygw"), "--port", `127.0.0.1:${port}`, "--quiet"],
      ["--access", accessKey, "--secret", secretKey, "--region", "us-east-1"],
      tls === null ? [] : ["--cert", tls.cert, "--key", tls.key],
      ["posix", this.folder],
    ].flat();
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error("the S3 server does not run");
    return this.#child.pid;
  }

  async start(): Promise<void> {
    const logPath = join(this.#root, "log");
    const log = openSync(logPath, "a");
    const stdio = { stdin: "ignore", stdout: log, stderr: log } as const;
    const child = Bun.spawn([...this.#command], stdio);
    closeSync(log);
    children.add(child);
    void child.exited.then(() => children.delete(child));
    this.#child = child;
    await until("the S3 server answers", 60_000, async () => {
      if (child.exitCode !== null) throw new Error(`it ended:\n${readFileSync(logPath, "utf8")}`);
      // Any answer will do: 403, as the question is not signed.
      return fetch(this.endpoint, { tls: { rejectUnauthorized: false } }).then(
        () => true,
        () => false,
      );
    });
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#child = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
