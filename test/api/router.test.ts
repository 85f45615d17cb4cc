import { describe, expect, test } from "bun:test";
import type { ApiHandler, Session } from "../../src/api/context.ts";
import type { Reply } from "../../src/api/router.ts";
import { apiInfos } from "../../src/protocol/api-key.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { describeClusterApi } from "../../src/protocol/messages/60-describe-cluster.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { type ApiServer, apiServer } from "../support/api-server.ts";
import { RawPeer } from "../support/network.ts";

/** A frame from text in hex; the size is put in front. */
function frame(hex: string): Uint8Array {
  const body = Buffer.from(hex.replaceAll(" ", ""), "hex");
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

async function answer(api: ApiServer, ...hex: string[]): Promise<string> {
  const peer = await RawPeer.connect(api.server.port);
  peer.send(...hex.map(frame));
  await peer.until(() => peer.closed || peer.received >= 4);
  await peer.until(() => peer.closed || peer.bytes.length >= 4 + peer.bytes.readInt32BE(0));
  peer.socket.terminate();
  return peer.bytes.toString("hex");
}

const produceHandler: ApiHandler<unknown, unknown> = {
  codec: produceApi,
  minVersion: 3,
  maxVersion: 13,
  handle: () => null,
};

describe("router", () => {
  test("an answer says whether it gives way", async () => {
    const handler: ApiHandler<unknown, unknown> = {
      codec: metadataApi,
      minVersion: 1,
      maxVersion: 1,
      handle(context) {
        if (context.header.correlationId === 1) context.giveWay();
        return {};
      },
    };
    await using api = await apiServer({ handlers: [handler] });
    const peer = { session: { clientId: "" } as Session, signal: new AbortController().signal };
    const answers = [1, 2].map((id) => {
      const bytes = Buffer.from(`00030001 0000000${id} ffff 00000000`.replaceAll(" ", ""), "hex");
      return api.router.dispatch(bytes, peer) as Reply;
    });
    expect(answers.map(({ givesWay }) => givesWay)).toEqual([true, false]);
  });

  test("ApiVersions v0, byte for byte", async () => {
    await using api = await apiServer({ handlers: [] });
    // key 18, version 0, correlation id 7, client id "a"
    expect(await answer(api, "0012 0000 00000007 0001 61")).toBe(
      "00000010" + "00000007" + "0000" + "00000001" + "0012" + "0000" + "0005",
    );
  });

  test("ApiVersions v3 has a header without tags and answers the body's own tags", async () => {
    await using api = await apiServer({ handlers: [] });
    const request = "0012 0003 00000007 0001 61 00" + "05 74657374" + "04 312e30" + "00";
    // error, 1 key (18: 0–5, no tags), throttle, three tags: the features, their epoch, the levels
    const body = "0000" + "02" + "0012 0000 0005 00" + "00000000" + "03";
    const reply = Buffer.from(await answer(api, request), "hex").subarray(4);
    expect(reply.toString("hex")).toStartWith(`00000007${body}`.replaceAll(" ", ""));
    const reader = new Reader(reply.subarray(4));
    const answered = apiVersionsApi.decodeResponse(reader, 3);
    expect(reader.remaining).toBe(0);
    // Before v4 features that start at 0 are left out.
    const metadataVersion = { name: "metadata.version", minVersion: 7, maxVersion: 30 };
    expect(answered.supportedFeatures).toEqual([metadataVersion]);
    expect(answered.finalizedFeaturesEpoch).toBe(api.metadata.image.version);
    const level = { name: "metadata.version", minVersionLevel: 30, maxVersionLevel: 30 };
    expect(answered.finalizedFeatures).toContainEqual(level);
  });

  test("an unknown ApiVersions version is answered in version 0, whatever its body", async () => {
    await using api = await apiServer();
    for (const version of ["0006", "007f", "ffff"]) {
      const request = `0012 ${version} 00000009 0001 61 00 deadbeef`;
      expect(await answer(api, request)).toBe(
        "00000010" + "00000009" + "0023" + "00000001" + "0012" + "0000" + "0005",
      );
    }
    expect(api.complaints).toEqual([]);
  });

  test("after such an answer the same connection goes on", async () => {
    await using api = await apiServer({ handlers: [] });
    const peer = await RawPeer.connect(api.server.port);
    peer.send(frame("0012 0009 00000001 ffff 00"), frame("0012 0000 00000002 ffff"));
    await peer.until(() => peer.correlationIds.length === 2);
    expect(peer.correlationIds).toEqual([1, 2]);
    peer.socket.terminate();
  });

  test("advertises exactly the table, and Produce from 0", async () => {
    await using api = await apiServer({ handlers: [produceHandler] });
    const response = await api.client.request(apiVersionsApi, 2, {});
    expect(response.apiKeys).toEqual([
      { apiKey: 0, minVersion: 0, maxVersion: 13 },
      { apiKey: 18, minVersion: 0, maxVersion: 5 },
    ]);
  });

  test("the admin handlers serve every version Kafka serves", async () => {
    await using api = await apiServer();
    for (const { apiKey, minVersion, maxVersion } of api.router.ranges()) {
      const info = apiInfos.get(apiKey);
      expect([apiKey, minVersion, maxVersion]).toEqual([apiKey, info?.min ?? -1, info?.max ?? -1]);
    }
  });

  test("client software must be named properly", async () => {
    await using api = await apiServer();
    const ask = async (clientSoftwareName: string, clientSoftwareVersion: string) => {
      const request = { clientSoftwareName, clientSoftwareVersion };
      return (await api.client.request(apiVersionsApi, 4, request)).errorCode;
    };
    expect(await ask("librdkafka", "2.15.0-a.b")).toBe(ErrorCode.NONE);
    expect(await ask("", "1")).toBe(ErrorCode.INVALID_REQUEST);
    expect(await ask("-x", "1")).toBe(ErrorCode.INVALID_REQUEST);
    expect(await ask("a b", "1")).toBe(ErrorCode.INVALID_REQUEST);
    expect(await ask("a", "1.")).toBe(ErrorCode.INVALID_REQUEST);
  });

  test("a client that expects another cluster or node is sent back to bootstrap", async () => {
    await using api = await apiServer();
    const software = { clientSoftwareName: "a", clientSoftwareVersion: "1" };
    const ask = async (expected: { clusterId?: string | null; nodeId?: number }) => {
      return (await api.client.request(apiVersionsApi, 5, { ...software, ...expected })).errorCode;
    };
    const { clusterId } = api.metadata.image;
    expect(await ask({ clusterId, nodeId: 1 })).toBe(ErrorCode.NONE);
    expect(await ask({})).toBe(ErrorCode.NONE);
    expect(await ask({ clusterId: "other" })).toBe(ErrorCode.REBOOTSTRAP_REQUIRED);
    expect(await ask({ clusterId, nodeId: 2 })).toBe(ErrorCode.REBOOTSTRAP_REQUIRED);
  });

  const refused: [string, string, RegExp][] = [
    ["an unknown API", "03e7 0000 00000001 ffff", /unknown API 999/],
    ["an unsupported version", "0003 007f 00000001 ffff 00", /Metadata \(API 3\) version 127/],
    ["Produce 0", "0000 0000 00000001 ffff", /Produce \(API 0\) version 0/],
  ];
  for (const [name, hex, message] of refused) {
    test(`${name} closes the connection with one line`, async () => {
      const handlers = name === "Produce 0" ? [produceHandler] : undefined;
      await using api = await apiServer(handlers ? { handlers } : {});
      expect(await answer(api, hex)).toBe("");
      expect(api.complaints.length).toBe(1);
      expect(api.complaints[0]).toMatch(message);
      expect(api.server.lines.filter((line) => line.includes("connection closed"))).toEqual([]);
    });
  }

  test("lines about refused requests are limited in rate", async () => {
    await using api = await apiServer();
    for (let count = 0; count < 25; count++) await answer(api, "03e7 0000 00000001 ffff");
    expect(api.complaints.length).toBe(10);
  });

  const malformed: [string, string, RegExp][] = [
    ["a truncated body", "0003 0001 00000001 ffff 0000", /malformed Metadata v1: length 4/],
    ["an absurd count", "0003 0001 00000001 ffff 7fffffff", /count 2147483647 does not fit/],
    ["a negative length", "0003 0001 00000001 ffff 00000001 fffe", /length -2/],
    ["a header that is cut", "0003 0001 00000001 00ff 61", /length 255 does not fit/],
  ];
  for (const [name, hex, message] of malformed) {
    test(`${name} closes the connection with one line`, async () => {
      await using api = await apiServer();
      expect(await answer(api, hex)).toBe("");
      const lines = api.server.lines.filter((line) => line.includes("connection closed"));
      expect(lines.length).toBe(1);
      expect(lines[0]).toMatch(message);
    });
  }

  test("bytes behind the body are ignored, as librdkafka needs", async () => {
    await using api = await apiServer();
    // All topics, as librdkafka asks: null in one byte, and three bytes it reserved and left.
    const asked = "0003 000d 00000007 0001 61 00 00 01 00 00";
    const plain = await answer(api, asked);
    expect(plain.slice(8)).toStartWith("00000007");
    expect(await answer(api, `${asked} 000000`)).toBe(plain);
  });

  test("every cut of a good request closes or waits, and never answers", async () => {
    await using api = await apiServer();
    const whole =
      "0003 000d 00000001 0001 61 00 02 00000000000000000000000000000000 0474657300 00 01 00";
    const body = Buffer.from(whole.replaceAll(" ", ""), "hex");
    for (let length = 8; length < body.length; length++) {
      expect(await answer(api, body.subarray(0, length).toString("hex"))).toBe("");
    }
  });

  test("a handler that breaks answers UNKNOWN_SERVER_ERROR where the API can say so", async () => {
    const handlers: ApiHandler<unknown, unknown>[] = [
      {
        codec: describeClusterApi,
        minVersion: 0,
        maxVersion: 2,
        handle: () => Promise.reject(new TypeError("planted")),
        failure: (_request, _version, errorCode, errorMessage) => {
          return { throttleTimeMs: 0, errorCode, errorMessage, clusterId: "", brokers: [] };
        },
      },
      {
        codec: metadataApi,
        minVersion: 0,
        maxVersion: 13,
        handle() {
          throw new TypeError("planted too");
        },
      },
    ];
    await using api = await apiServer({ handlers });
    const ask = { includeClusterAuthorizedOperations: false };
    const response = await api.client.request(describeClusterApi, 0, ask);
    expect(response.errorCode).toBe(ErrorCode.UNKNOWN_SERVER_ERROR);
    expect(api.client.request(metadataApi, 1, { topics: [] })).rejects.toThrow(/closed/);
    await api.client.request(metadataApi, 1, { topics: [] }).catch(() => {});
    expect(api.complaints.map((line) => line.replace(/\n.*/s, ""))).toEqual([
      "DescribeCluster: TypeError: planted",
      "Metadata: TypeError: planted too",
    ]);
    expect(api.reports.filter(({ failed }) => failed).length).toBe(2);
  });

  test("a key with two handlers is a bug", async () => {
    expect(apiServer({ handlers: [produceHandler, produceHandler] })).rejects.toThrow(
      /two handlers/,
    );
  });

  test("the client id of a flexible header is an old-style string", async () => {
    await using api = await apiServer();
    // Metadata v9: header v2 with a two-byte length, then tags; a tag nobody knows is passed over.
    const request = "0003 0009 00000005 0003 616263 01 05 02 ffff" + "01 00 00 00 00";
    const text = await answer(api, request);
    expect(text.slice(8, 18)).toBe("0000000500");
  });
});
