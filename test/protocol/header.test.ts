import { describe, expect, test } from "bun:test";
import { ProtocolError } from "../../src/lib/errors.ts";
import { ApiKey } from "../../src/protocol/api-key.ts";
import { ErrorCode, errorInfos, errorName } from "../../src/protocol/error-code.ts";
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
} from "../../src/protocol/header.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { hex } from "./support/codecs.ts";

function request(apiKey: number, apiVersion: number, clientId: string | null): string {
  const w = new Writer();
  encodeRequestHeader(w, { apiKey, apiVersion, correlationId: 7, clientId });
  return hex(w.bytesWritten());
}

function response(apiKey: number, apiVersion: number): string {
  const w = new Writer();
  encodeResponseHeader(w, apiKey, apiVersion, 7);
  return hex(w.bytesWritten());
}

describe("request header", () => {
  test("has tags from the first flexible version on, and an old-style client id always", () => {
    expect(request(ApiKey.PRODUCE, 8, "me")).toBe("000000080000000700026d65");
    expect(request(ApiKey.PRODUCE, 9, "me")).toBe("000000090000000700026d6500");
    expect(request(ApiKey.API_VERSIONS, 3, null)).toBe("0012000300000007ffff00");
    expect(request(ApiKey.SASL_HANDSHAKE, 1, null)).toBe("0011000100000007ffff");
  });

  test("leaves the reader at the body, tags passed over", () => {
    const r = new Reader(Buffer.from("000000090000000700026d65010502aabb77", "hex"));
    expect(decodeRequestHeader(r)).toEqual({
      apiKey: 0,
      apiVersion: 9,
      correlationId: 7,
      clientId: "me",
    });
    expect(r.remaining).toBe(1);
  });

  test("of an API Kafka does not have can still be named", () => {
    const r = new Reader(Buffer.from("7000000300000007ffff", "hex"));
    expect(decodeRequestHeader(r)).toMatchObject({ apiKey: 0x7000, correlationId: 7 });
  });

  test("cut short is a ProtocolError", () => {
    const bytes = Buffer.from(request(ApiKey.PRODUCE, 9, "me"), "hex");
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeRequestHeader(new Reader(bytes.subarray(0, length)))).toThrow(
        ProtocolError,
      );
    }
  });
});

describe("response header", () => {
  test("has tags in flexible versions, but never for ApiVersions", () => {
    expect(response(ApiKey.FETCH, 11)).toBe("00000007");
    expect(response(ApiKey.FETCH, 12)).toBe("0000000700");
    expect(response(ApiKey.API_VERSIONS, 4)).toBe("00000007");
  });

  test("reads back, and leaves the reader at the body", () => {
    const r = new Reader(Buffer.from("0000000700ff", "hex"));
    expect(decodeResponseHeader(r, ApiKey.FETCH, 12)).toBe(7);
    expect(r.remaining).toBe(1);
  });
});

describe("error codes", () => {
  test("are Kafka's, with what clients do about them", () => {
    expect(ErrorCode.UNKNOWN_SERVER_ERROR).toBe(-1);
    expect(ErrorCode.CONTROLLER_ID_NOT_REGISTERED).toBe(136);
    expect(errorInfos.size).toBe(138);
    expect(errorInfos.get(ErrorCode.NOT_LEADER_OR_FOLLOWER)?.retriable).toBe(true);
    expect(errorInfos.get(ErrorCode.INVALID_TOPIC_EXCEPTION)?.retriable).toBe(false);
    expect(errorInfos.get(ErrorCode.NONE)).toMatchObject({ message: "", retriable: false });
  });

  test("have names, and an unknown one its number", () => {
    expect(errorName(3)).toBe("UNKNOWN_TOPIC_OR_PARTITION");
    expect(errorName(9999)).toBe("9999");
  });
});
