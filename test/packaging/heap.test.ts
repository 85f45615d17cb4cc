import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { heapEnvironment, heapVariable } from "../../src/main-heap.ts";
import { brokerBin, startBroker } from "../support/broker-process.ts";
import { run } from "./run.ts";

const plan = { [heapVariable]: String(128 << 20) };

describe("the heap of a broker", () => {
  test("is planned by 128 MiB, however the broker is asked for", () => {
    for (const args of [[], ["standalone"], ["all", "--node-id", "2"], ["--data-dir", "bench"]]) {
      expect(heapEnvironment(args, { PATH: "/bin" })).toEqual(plan);
    }
  });
  test("is left alone in other commands", () => {
    for (const verb of ["bench", "config", "version", "store", "segment", "restore"]) {
      expect(heapEnvironment([verb], {})).toBeNull();
    }
  });
  test("is what the environment says where it says something; so nothing starts twice", () => {
    expect(heapEnvironment([], { [heapVariable]: "1073741824" })).toBeNull();
    expect(heapEnvironment([], plan)).toBeNull();
    expect(heapEnvironment([], { [heapVariable]: "" })).toBeNull();
  });
});

function partsOf(pid: number, file: "cmdline" | "environ"): string[] {
  return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0");
}

describe("a broker that replaced itself", () => {
  test("is the process that was started, with its arguments and environment", async () => {
    const env = { CHRONIK_NODE_ID: "7" };
    await using broker = await startBroker({ env });
    const environment = partsOf(broker.pid, "environ");
    expect(environment).toContain(`${heapVariable}=${128 << 20}`);
    expect(environment).toContain("CHRONIK_NODE_ID=7");
    const [name, ...given] = partsOf(broker.pid, "cmdline");
    expect(name).toBe(brokerBin);
    expect(given).toContain(broker.dataDir);
    expect(await broker.stop()).toBe(0);
  });
  test("keeps a plan that was given", async () => {
    await using broker = await startBroker({ env: { [heapVariable]: String(1 << 30) } });
    const of = partsOf(broker.pid, "environ").filter((part) => part.startsWith(heapVariable));
    expect(of).toEqual([`${heapVariable}=${1 << 30}`]);
  });
  test("hands on its arguments as they are", () => {
    for (const strange of ["--no such\nflag", '--none=\'"$HOME"']) {
      const { code, stderr } = run([brokerBin, "--node-id", "2", strange]);
      expect(code).toBe(2);
      expect(stderr).toContain(strange.split("\n")[0] ?? "");
    }
  });
});
