/** What administrators set and the metadata keeps: features, SCRAM credentials, subscriptions. */
import { describe, expect, test } from "bun:test";
import { createHash, createHmac } from "node:crypto";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { describeUserScramCredentialsApi } from "../../src/protocol/messages/50-describe-user-scram-credentials.ts";
import { alterUserScramCredentialsApi } from "../../src/protocol/messages/51-alter-user-scram-credentials.ts";
import { updateFeaturesApi } from "../../src/protocol/messages/57-update-features.ts";
import { type ApiServer, apiServer } from "../support/api-server.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { openMetadata } from "../support/metadata.ts";

const upgrade = 1;
const safeDowngrade = 2;
const unsafeDowngrade = 3;

async function update(
  api: ApiServer,
  feature: string,
  maxVersionLevel: number,
  upgradeType: number,
  validateOnly = false,
) {
  const featureUpdates = [{ feature, maxVersionLevel, upgradeType }];
  return await api.client.request(updateFeaturesApi, 2, { featureUpdates, validateOnly });
}

async function levelOf(api: ApiServer, feature: string): Promise<number> {
  const software = { clientSoftwareName: "test", clientSoftwareVersion: "1" };
  const { finalizedFeatures } = await api.client.request(apiVersionsApi, 4, software);
  return finalizedFeatures.find(({ name }) => name === feature)?.maxVersionLevel ?? 0;
}

describe("UpdateFeatures", () => {
  test("a level goes down and up, and ApiVersions tells it", async () => {
    await using api = await apiServer();
    expect(await levelOf(api, "transaction.version")).toBe(2);
    const tried = await update(api, "transaction.version", 1, safeDowngrade, true);
    expect([tried.errorCode, await levelOf(api, "transaction.version")]).toEqual([0, 2]);
    expect((await update(api, "transaction.version", 1, safeDowngrade)).errorCode).toBe(0);
    expect(await levelOf(api, "transaction.version")).toBe(1);
    expect((await update(api, "transaction.version", 0, safeDowngrade)).errorCode).toBe(0);
    expect(await levelOf(api, "transaction.version")).toBe(0);
    expect((await update(api, "transaction.version", 2, upgrade)).errorCode).toBe(0);
    expect(await levelOf(api, "transaction.version")).toBe(2);
  });

  test("what is not served, or would lose metadata, is refused with Kafka's words", async () => {
    await using api = await apiServer();
    const cases: [string, number, number, string][] = [
      ["kraft.version", 1, upgrade, "does not support this feature."],
      ["no.such", 1, upgrade, "does not support this feature."],
      ["metadata.version", 31, upgrade, "only supports versions 7-30"],
      ["metadata.version", 29, upgrade, "without setting the upgrade type"],
      ["metadata.version", 29, safeDowngrade, "might delete metadata information."],
      ["metadata.version", 29, unsafeDowngrade, "Unsafe metadata downgrade is not supported"],
      ["transaction.version", -1, safeDowngrade, "cannot be less than 0."],
      ["transaction.version", 2, 9, "does not support the given upgrade type."],
    ];
    for (const [feature, level, type, text] of cases) {
      const { errorCode, errorMessage } = await update(api, feature, level, type);
      expect([feature, level, errorCode]).toEqual([feature, level, 95]);
      expect(errorMessage).toContain(text);
    }
  });

  test("all updates of a request or none; v0 and v1 answer for each", async () => {
    await using api = await apiServer();
    const good = { feature: "group.version", maxVersionLevel: 0, upgradeType: safeDowngrade };
    const bad = { feature: "no.such", maxVersionLevel: 1 };
    const both = { featureUpdates: [good, bad] };
    expect((await api.client.request(updateFeaturesApi, 1, both)).errorCode).toBe(95);
    expect(await levelOf(api, "group.version")).toBe(1);
    const answer = await api.client.request(updateFeaturesApi, 1, { featureUpdates: [good] });
    expect(answer.results).toMatchObject([{ feature: "group.version", errorCode: 0 }]);
    expect(await levelOf(api, "group.version")).toBe(0);
  });

  test("a restart keeps levels; one this chronik cannot serve stops it", async () => {
    const journal = new MemoryJournal();
    const first = await openMetadata({ journal });
    const set = (name: string, level: number) =>
      first.change(() => ({ commands: [{ type: "feature", name, level }], result: null }));
    await set("transaction.version", 1);
    const second = await openMetadata({ journal });
    expect(second.image.featureLevels.get("transaction.version")).toBe(1);
    await set("transaction.version", 9);
    await expect(openMetadata({ journal })).rejects.toThrow("transaction.version at 9");
  });
});

describe("SCRAM credentials", () => {
  const upsertion = (name: string, parts: object = {}) => ({
    name,
    mechanism: 1,
    iterations: 4096,
    salt: new Uint8Array([1, 2, 3]),
    saltedPassword: new Uint8Array([4, 5, 6]),
    ...parts,
  });

  test("keys are kept, described without them, and deleted", async () => {
    await using api = await apiServer();
    const alter = async (request: object) => {
      const whole = { deletions: [], upsertions: [], ...request };
      const { results } = await api.client.request(alterUserScramCredentialsApi, 0, whole);
      return results.map(({ user, errorCode }) => [user, errorCode]);
    };
    const describeAll = async () => {
      const answer = await api.client.request(describeUserScramCredentialsApi, 0, { users: null });
      return answer.results.map(({ user, credentialInfos }) => [user, credentialInfos]);
    };
    expect(await alter({ upsertions: [upsertion("a"), upsertion("b", { mechanism: 2 })] })).toEqual(
      [
        ["a", 0],
        ["b", 0],
      ],
    );
    const kept = api.metadata.image.scramCredentials.get("1 a");
    const sign = (text: string) =>
      createHmac("sha256", new Uint8Array([4, 5, 6]))
        .update(text)
        .digest();
    expect(kept?.storedKey).toBe(createHash("sha256").update(sign("Client Key")).digest("base64"));
    expect(kept?.serverKey).toBe(sign("Server Key").toString("base64"));
    expect(JSON.stringify(kept)).not.toContain(Buffer.from([4, 5, 6]).toString("base64"));
    expect(await describeAll()).toEqual([
      ["a", [{ mechanism: 1, iterations: 4096 }]],
      ["b", [{ mechanism: 2, iterations: 4096 }]],
    ]);
    const gone = { name: "a", mechanism: 1 };
    expect(await alter({ deletions: [gone] })).toEqual([["a", 0]]);
    expect(await alter({ deletions: [gone] })).toEqual([["a", ErrorCode.RESOURCE_NOT_FOUND]]);
    expect(await describeAll()).toEqual([["b", [{ mechanism: 2, iterations: 4096 }]]]);
  });

  test("what cannot be kept is refused, the rest of the request holds", async () => {
    await using api = await apiServer();
    const upsertions = [
      upsertion("", {}),
      upsertion("few", { iterations: 4095 }),
      upsertion("many", { iterations: 16_385 }),
      upsertion("what", { mechanism: 3 }),
      upsertion("twice"),
      upsertion("twice", { mechanism: 2 }),
      upsertion("long", { salt: new Uint8Array(2000) }),
      upsertion("good"),
    ];
    const request = { deletions: [], upsertions };
    const { results } = await api.client.request(alterUserScramCredentialsApi, 0, request);
    expect(Object.fromEntries(results.map(({ user, errorCode }) => [user, errorCode]))).toEqual({
      "": ErrorCode.UNACCEPTABLE_CREDENTIAL,
      few: ErrorCode.UNACCEPTABLE_CREDENTIAL,
      many: ErrorCode.UNACCEPTABLE_CREDENTIAL,
      what: ErrorCode.UNSUPPORTED_SASL_MECHANISM,
      twice: ErrorCode.DUPLICATE_RESOURCE,
      long: ErrorCode.UNACCEPTABLE_CREDENTIAL,
      good: 0,
    });
    expect([...api.metadata.image.scramCredentials.keys()]).toEqual(["1 good"]);
    const users = [{ name: "good" }, { name: "good" }, { name: "none" }];
    const described = await api.client.request(describeUserScramCredentialsApi, 0, { users });
    expect(described.results.map(({ errorCode }) => errorCode)).toEqual([
      ErrorCode.DUPLICATE_RESOURCE,
      ErrorCode.RESOURCE_NOT_FOUND,
    ]);
  });
});

test("client metrics subscriptions: Kafka's checks, one answer for each", async () => {
  await using api = await apiServer();
  const alter = async (name: string, value: string | null, configOperation = 0) => {
    const configs = [{ name, configOperation, value }];
    const resources = [{ resourceType: 16, resourceName: "s", configs }];
    const request = { resources, validateOnly: false };
    const { responses } = await api.client.request(incrementalAlterConfigsApi, 1, request);
    return responses[0]?.errorCode;
  };
  const { INVALID_CONFIG, INVALID_REQUEST } = ErrorCode;
  expect(await alter("interval.ms", "99")).toBe(INVALID_REQUEST);
  expect(await alter("interval.ms", "3600001")).toBe(INVALID_REQUEST);
  expect(await alter("interval.ms", "x")).toBe(INVALID_CONFIG);
  expect(await alter("no.such", "1")).toBe(INVALID_REQUEST);
  for (const match of ["client_id", "who=a", "client_id=a=b", "client_id=[a-"]) {
    expect([match, await alter("match", match)]).toEqual([match, INVALID_CONFIG]);
  }
  expect(await alter("metrics", "a,,b")).toBe(INVALID_CONFIG);
  expect(await alter("metrics", "a", 2)).toBe(INVALID_CONFIG);
  expect(await alter("metrics", "m".repeat(32_768))).toBe(INVALID_CONFIG);
  expect(await alter("match", "client_id=a.*,client_source_port=1")).toBe(0);
  expect(await alter("interval.ms", "100")).toBe(0);
  const ask = { resources: [{ resourceType: 16, resourceName: "s", configurationKeys: null }] };
  const { results } = await api.client.request(describeConfigsApi, 4, ask);
  expect(
    results[0]?.configs.map(({ name, value, configSource }) => [name, value, configSource]),
  ).toEqual([
    ["interval.ms", "100", 7],
    ["match", "client_id=a.*,client_source_port=1", 7],
    ["metrics", "", 5],
  ]);
  expect(await alter("match", null, 1)).toBe(0);
  expect(await alter("interval.ms", null, 1)).toBe(0);
  expect(api.metadata.image.clientMetricsConfigs.size).toBe(0);
});
