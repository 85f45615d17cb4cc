/**
 * Frames that real clients and Apache Kafka 4.3.1 exchanged (scripts/capture.ts): each must decode
 * to its last byte and encode to the same bytes again.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../src/protocol/crc32c.ts";
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
} from "../../src/protocol/header.ts";
import { decodeProduceRequest } from "../../src/protocol/messages/00-produce.ts";
import { decodeFetchResponse } from "../../src/protocol/messages/01-fetch.ts";
import { Reader } from "../../src/protocol/reader.ts";
import {
  batchesIn,
  compressionOf,
  crcHolds,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { buildBatch, parseRecords } from "../../src/protocol/records.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { apiCodecs, hex } from "./support/codecs.ts";

interface Exchange {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly request: string;
  readonly response: string | null;
}

const folder = join(import.meta.dir, "../golden/frames");
const frames = readdirSync(folder).flatMap((file) => {
  const exchanges = JSON.parse(readFileSync(join(folder, file), "utf8")) as Exchange[];
  return exchanges.map((exchange) => ({ file, ...exchange }));
});

function apiOf(key: number) {
  const api = apiCodecs.find((codec) => codec.key === key);
  if (api === undefined) throw new Error(`no codec for API ${key}`);
  return api;
}

function requestAgain({ apiKey, apiVersion, request }: Exchange): string {
  const r = new Reader(Buffer.from(request, "hex"));
  const w = new Writer();
  encodeRequestHeader(w, decodeRequestHeader(r));
  const api = apiOf(apiKey);
  api.encodeRequest(w, api.decodeRequest(r, apiVersion), apiVersion);
  expect(r.remaining).toBe(0);
  return hex(w.bytesWritten());
}

function responseAgain({ apiKey, apiVersion }: Exchange, response: string): string {
  const r = new Reader(Buffer.from(response, "hex"));
  const w = new Writer();
  encodeResponseHeader(w, apiKey, apiVersion, decodeResponseHeader(r, apiKey, apiVersion));
  const api = apiOf(apiKey);
  api.encodeResponse(w, api.decodeResponse(r, apiVersion), apiVersion);
  expect(r.remaining).toBe(0);
  return hex(w.bytesWritten());
}

describe("real frames survive", () => {
  const names = new Map<string, typeof frames>();
  for (const frame of frames) {
    const name = `${frame.file}: ${apiOf(frame.apiKey).name} v${frame.apiVersion}`;
    names.set(name, [...(names.get(name) ?? []), frame]);
  }

  test.each([...names])("%s", (_, exchanges) => {
    for (const exchange of exchanges) {
      expect(requestAgain(exchange)).toBe(exchange.request);
      const { response } = exchange;
      if (response !== null) expect(responseAgain(exchange, response)).toBe(response);
    }
  });

  test("and are not too few", () => {
    expect(new Set(frames.map(({ apiKey }) => apiKey)).size).toBeGreaterThanOrEqual(30);
  });
});

describe("real batches", () => {
  const batches = frames.flatMap(({ apiKey, apiVersion, request, response }) => {
    if (apiKey === 0) {
      const r = new Reader(Buffer.from(request, "hex"));
      decodeRequestHeader(r);
      const { topicData } = decodeProduceRequest(r, apiVersion);
      return topicData.flatMap((topic) => topic.partitionData.map(({ records }) => records));
    }
    if (apiKey !== 1 || response === null) return [];
    const r = new Reader(Buffer.from(response, "hex"));
    decodeResponseHeader(r, apiKey, apiVersion);
    const { responses } = decodeFetchResponse(r, apiVersion);
    return responses.flatMap((topic) => topic.partitions.map(({ records }) => records));
  });
  const found = batches.flatMap((bytes) =>
    bytes === null ? [] : [...batchesIn(bytes)].map((batch) => ({ bytes, ...batch })),
  );

  test("have a checksum that holds", () => {
    expect(found.length).toBeGreaterThan(10);
    for (const { bytes, position, header } of found) {
      expect(crcHolds(bytes, position, header, crc32c)).toBe(true);
    }
  });

  test("that are not compressed give their records, gzipped ones after unzipping", () => {
    const codecs = found.map(({ bytes, position, header }) => {
      const codec = compressionOf(header.attributes);
      const payload = recordsPayload(bytes, position, header);
      const plain = codec === "gzip" ? Bun.gunzipSync(new Uint8Array(payload)) : payload;
      const records = parseRecords(plain, header);
      expect(records.length).toBe(header.recordsCount);
      const rebuilt = buildBatch(records, {}, crc32c);
      expect(hex(rebuilt.subarray(61))).toBe(hex(plain));
      return codec;
    });
    expect(new Set(codecs)).toEqual(new Set(["none", "gzip"]));
  });
});
