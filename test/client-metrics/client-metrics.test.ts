import { describe, expect, test } from "bun:test";
import {
  type Caller,
  ClientMetrics,
  type ClientMetricsOptions,
  type Push,
} from "../../src/client-metrics/client-metrics.ts";
import { ClientSeries } from "../../src/client-metrics/client-series.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { newUuid } from "../../src/protocol/uuid.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { gauge, payload, point } from "./otlp-writer.ts";

const bytesMax = 10_000;
const good = payload([gauge("m", [point(1)])]);

class Lab {
  readonly clock = new FakeClock();
  readonly series: ClientSeries | null;
  readonly lines: string[] = [];
  readonly room: ClientMetrics;
  readonly abort = new AbortController();

  constructor(
    decompress: ClientMetricsOptions["decompress"] = () => Promise.reject(new Error("not asked")),
    exports = true,
  ) {
    const limits = { seriesMax: 10, seriesPerClientMax: 10 };
    this.series = exports ? new ClientSeries(this.clock, limits) : null;
    this.room = new ClientMetrics({
      clock: this.clock,
      instancesMax: 100,
      bytesMax,
      series: this.series,
      decompress,
      onUnreadable: (message) => this.lines.push(message),
    });
  }

  caller(connectionId = 1): Caller {
    const attributes = {
      client_id: "app",
      client_software_name: "java",
      client_software_version: "4.3.1",
      client_source_address: "127.0.0.1",
      client_source_port: "50000",
    };
    return { connectionId, attributes, signal: this.abort.signal };
  }

  async push(more: Partial<Push> = {}, caller = this.caller()): Promise<string> {
    const metrics = more.metrics ?? good;
    const clientInstanceId = more.clientInstanceId ?? newUuid();
    const { instance } = this.room.ask(clientInstanceId, caller);
    this.clock.advance(1);
    const head = {
      clientInstanceId,
      subscriptionId: instance.subscriptionId,
      terminating: false,
      compressionType: 0,
      metricsBytes: metrics.length,
    };
    return errorName(await this.room.push({ ...head, ...more, metrics }, caller));
  }
}

describe("a push", () => {
  test("is decoded as it is, or unpacked within the bound", async () => {
    const asked: [number, number][] = [];
    const lab = new Lab(async (codec, _bytes, most) => {
      asked.push([codec, most]);
      return good;
    });
    expect(await lab.push()).toBe("NONE");
    expect(asked).toEqual([]);
    expect(await lab.push({ compressionType: 4, metrics: new Uint8Array(3) })).toBe("NONE");
    expect(asked).toEqual([[4, bytesMax]]);
    expect(lab.series?.clientCount).toBe(2);
    expect([...lab.room.pushes]).toEqual([[0, 2]]);
  });

  test("that cannot be unpacked or read is INVALID_RECORD, told a few times", async () => {
    const lab = new Lab(() => Promise.reject(new BrokerError("CHRONIK_BATCH_CORRUPT", "corrupt")));
    for (let count = 0; count < 10; count++) {
      expect(await lab.push({ compressionType: 1 })).toBe("INVALID_RECORD");
    }
    expect(lab.lines).toEqual(new Array<string>(5).fill("corrupt"));
    lab.clock.advance(60_000);
    expect(await lab.push({ metrics: new Uint8Array([1, 2, 3]) })).toBe("INVALID_RECORD");
    expect(lab.lines.at(-1)).toEndWith("(and 5 more)");
    expect(lab.series?.size).toBe(0);
  });

  test("of half a payload keeps none of it", async () => {
    const lab = new Lab();
    expect(await lab.push({ metrics: Uint8Array.from([...good, 7]) })).toBe("INVALID_RECORD");
    expect(lab.series?.size).toBe(0);
  });

  test("that is empty or refused reaches no codec", async () => {
    const lab = new Lab();
    expect(await lab.push({ compressionType: 1, metrics: new Uint8Array(0) })).toBe("NONE");
    expect(await lab.push({ compressionType: 1, subscriptionId: 1 })).toBe(
      "UNKNOWN_SUBSCRIPTION_ID",
    );
    const large = new Uint8Array(bytesMax + 1);
    expect(await lab.push({ compressionType: 1, metrics: large })).toBe("TELEMETRY_TOO_LARGE");
  });

  test("of a bug is a bug", async () => {
    await expect(new Lab().push({ compressionType: 1 })).rejects.toThrow("not asked");
  });

  test("goes nowhere without an exporter, and is not decoded", async () => {
    const lab = new Lab(undefined, false);
    expect(await lab.push({ metrics: new Uint8Array([1, 2, 3]) })).toBe("NONE");
  });
});

test("four are unpacked at a time, the others in turn, whatever becomes of them", async () => {
  const open: PromiseWithResolvers<Uint8Array>[] = [];
  const lab = new Lab(() => {
    const one = Promise.withResolvers<Uint8Array>();
    open.push(one);
    return one.promise;
  });
  const answers = Array.from({ length: 7 }, () => lab.push({ compressionType: 4 }));
  await Bun.sleep(0);
  expect(open.length).toBe(4);
  open[0]?.resolve(good);
  open[1]?.reject(new BrokerError("CHRONIK_BATCH_TOO_LARGE", "too large"));
  await Promise.all(answers.slice(0, 2));
  await Bun.sleep(0);
  expect(open.length).toBe(6);
  for (const one of open) one.resolve(good);
  await answers[2];
  await Bun.sleep(0);
  for (const one of open) one.resolve(good);
  const codes = await Promise.all(answers);
  expect(codes.filter((code) => code === "NONE").length).toBe(6);
  expect(codes[1]).toBe("INVALID_RECORD");
});

test("a connection's end forgets its client, also one that ended before", async () => {
  const lab = new Lab();
  await lab.push();
  await lab.push();
  expect(lab.room.instances.count()).toBe(2);
  lab.abort.abort();
  // The client of a connection is the one it made known last.
  expect(lab.room.instances.count()).toBe(1);
  lab.room.ask(newUuid(), lab.caller(2));
  expect(lab.room.instances.count()).toBe(1);
  // What it pushed stays for its time, to be read.
  expect(lab.series?.clientCount).toBe(2);
});
