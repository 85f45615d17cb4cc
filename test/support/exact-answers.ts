import { expect } from "bun:test";
import type { ApiCodec } from "../../src/protocol/api-codec.ts";
import { apiServer } from "./api-server.ts";
import { spec } from "./metadata.ts";

/** Parts of requests and answers that tests of several kinds need. */
export const throttleTimeMs = 0;
export const filter = {
  resourceTypeFilter: 2,
  resourceNameFilter: null,
  principalFilter: null,
  hostFilter: null,
  operation: 1,
  permissionType: 1,
};
export const rule = {
  resourceType: 2,
  resourceName: "t",
  principal: "User:a",
  host: "*",
  operation: 3,
  permissionType: 3,
};
export const credential = {
  name: "u",
  mechanism: 1,
  iterations: 4096,
  salt: new Uint8Array([1]),
  saltedPassword: new Uint8Array([2]),
};
export const anonymous = { principalType: "User", principalName: "ANONYMOUS" };
export const noToken = {
  issueTimestampMs: -1,
  expiryTimestampMs: -1,
  maxTimestampMs: -1,
  tokenId: "",
  hmac: new Uint8Array(0),
  throttleTimeMs,
};

/** A request and its whole answer; the codec is any API's. */
export type Exchange = readonly [codec: unknown, version: number, request: object, answer: object];

/** Plays them in their order against the admin handlers with a topic "t" of one partition. */
export async function expectAnswers(exchanges: readonly Exchange[]): Promise<void> {
  await using api = await apiServer({ partitions: [{ topic: "t", index: 0, bytes: 0 }] });
  await api.metadata.createTopics([spec("t")], false);
  for (const [codec, version, request, answer] of exchanges) {
    const typed = codec as ApiCodec<object, unknown>;
    const got = await api.client.request(typed, version, request);
    expect([typed.name, version, got]).toEqual([typed.name, version, answer]);
  }
}
