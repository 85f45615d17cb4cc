import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { alterConfigsApi } from "../../src/protocol/messages/33-alter-configs.ts";
import { describeLogDirsApi } from "../../src/protocol/messages/35-describe-log-dirs.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { describeClusterApi } from "../../src/protocol/messages/60-describe-cluster.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";

const topicType = 2;
const brokerType = 4;

async function describeConfigs(peer: Peer): Promise<void> {
  await create(peer, "dc", { configs: [{ name: "retention.ms", value: "5" }] });
  const ask = (resourceType: number, resourceName: string, keys: string[] | null = null) => ({
    resources: [{ resourceType, resourceName, configurationKeys: keys }],
    includeSynonyms: false,
    includeDocumentation: false,
  });
  const keys = ["retention.ms", "cleanup.policy", "no.such"];
  const every = [1, 4] as const;
  await peer.every("two", describeConfigsApi, every, () => ask(topicType, "dc", keys));
  await peer.every("synonyms", describeConfigsApi, every, () => ({
    ...ask(topicType, "dc", ["retention.ms", "max.message.bytes"]),
    includeSynonyms: true,
  }));
  await peer.note("no keys", describeConfigsApi, 4, ask(topicType, "dc", []));
  await peer.note("unknown topic", describeConfigsApi, 4, ask(topicType, "dc-none"));
  await peer.note("bad topic", describeConfigsApi, 4, ask(topicType, "a b"));
  await peer.note("empty topic", describeConfigsApi, 4, ask(topicType, ""));
  for (const name of ["1", "9", "x", ""]) {
    await peer.note(`broker ${name}`, describeConfigsApi, 4, ask(brokerType, name, ["node.id"]));
  }
  for (const type of [0, 1, 3, 8, 16, 32, 99]) {
    await peer.note(`type ${type}`, describeConfigsApi, 4, ask(type, "1", ["x"]));
  }
  const twice = ask(topicType, "dc", ["retention.ms"]);
  await peer.note("twice", describeConfigsApi, 4, {
    ...twice,
    resources: [...twice.resources, ...twice.resources],
  });
}

async function alterConfigs(peer: Peer): Promise<void> {
  await create(peer, "ac", { configs: [{ name: "retention.ms", value: "5" }] });
  const ask = (resourceType: number, resourceName: string, name: string, value: string | null) => ({
    resources: [{ resourceType, resourceName, configs: [{ name, value }] }],
    validateOnly: false,
  });
  const wrong = {
    good: ask(topicType, "ac", "segment.ms", "70000"),
    "unknown topic": ask(topicType, "ac-none", "segment.ms", "70000"),
    "bad topic": ask(topicType, "a b", "segment.ms", "70000"),
    "unknown name": ask(topicType, "ac", "no.such", "1"),
    "bad value": ask(topicType, "ac", "segment.ms", "x"),
    null: ask(topicType, "ac", "segment.ms", null),
    "unknown broker": ask(brokerType, "9", "log.retention.ms", "1"),
    "bad broker": ask(brokerType, "x", "log.retention.ms", "1"),
    "read only": ask(brokerType, "1", "node.id", "2"),
    "type 0": ask(0, "1", "x", "2"),
    "type 99": ask(99, "1", "x", "2"),
  };
  for (const [label, request] of Object.entries(wrong)) {
    await peer.every(label, alterConfigsApi, [0, 2], () => request);
    const [resource] = request.resources;
    for (const operation of [0, 1, 2, 3, 7]) {
      const configs = resource!.configs.map((entry) => ({ ...entry, configOperation: operation }));
      await peer.note(`${label}, operation ${operation}`, incrementalAlterConfigsApi, 1, {
        resources: [{ ...resource!, configs }],
        validateOnly: true,
      });
    }
  }
  await incremental(peer);
}

async function incremental(peer: Peer): Promise<void> {
  const alter = (label: string, configs: [string, number, string | null][], times = 1) => {
    const resource = {
      resourceType: topicType,
      resourceName: "ac",
      configs: configs.map(([name, configOperation, value]) => ({ name, configOperation, value })),
    };
    return peer.note(label, incrementalAlterConfigsApi, 1, {
      resources: Array.from({ length: times }, () => resource),
      validateOnly: false,
    });
  };
  const policy = "cleanup.policy";
  await alter("append", [[policy, 2, "compact"]]);
  await alter("append again", [[policy, 2, "compact"]]);
  await alter("subtract", [[policy, 3, "delete"]]);
  await alter("subtract what is not there", [[policy, 3, "delete"]]);
  await alter("append to a number", [["retention.ms", 2, "5"]]);
  await alter("one name twice", [
    ["retention.ms", 0, "5"],
    ["retention.ms", 1, null],
  ]);
  await alter("one resource twice", [["retention.ms", 0, "7"]], 2);
  await alter("delete", [["retention.ms", 1, null]]);
  await alter("delete what is not there", [["retention.ms", 1, null]]);
  await alter("nothing", []);
  await peer.note("what is left", describeConfigsApi, 4, {
    resources: [
      { resourceType: topicType, resourceName: "ac", configurationKeys: [policy, "retention.ms"] },
    ],
    includeSynonyms: false,
    includeDocumentation: false,
  });
}

async function cluster(peer: Peer): Promise<void> {
  await peer.every("plain", describeClusterApi, [0, 2], () => ({
    includeClusterAuthorizedOperations: false,
  }));
  await peer.every("operations", describeClusterApi, [0, 2], () => ({
    includeClusterAuthorizedOperations: true,
  }));
  for (const endpointType of [2, 0, 9]) {
    await peer.note(`endpoint ${endpointType}`, describeClusterApi, 1, {
      includeClusterAuthorizedOperations: false,
      endpointType,
    });
  }
  await peer.note("fenced", describeClusterApi, 2, {
    includeClusterAuthorizedOperations: false,
    includeFencedBrokers: true,
  });
  await create(peer, "ld", { numPartitions: 2 });
  const asked = [
    { topic: "ld", partitions: [1, 7] },
    { topic: "ld-none", partitions: [0] },
  ];
  for (const version of [1, 2, 3, 4]) {
    await peer.note("two", describeLogDirsApi, version, { topics: asked });
    await peer.note("no topics", describeLogDirsApi, version, { topics: [] });
  }
  const software = { clientSoftwareName: "differ", clientSoftwareVersion: "1" };
  await peer.every("plain", apiVersionsApi, [0, 4], () => software);
  for (const name of ["", "-x", "a b", "ok.-1"]) {
    const request = { ...software, clientSoftwareName: name };
    await peer.note(`name '${name}'`, apiVersionsApi, 3, request);
  }
}

export const adminCases: Readonly<Record<string, Case>> = {
  "describe-configs": describeConfigs,
  "alter-configs": alterConfigs,
  cluster: cluster,
};
