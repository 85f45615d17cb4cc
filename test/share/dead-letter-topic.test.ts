import { expect, test } from "bun:test";
import type { Metadata } from "../../src/metadata/controller.ts";
import { deadLetterTopics } from "../../src/share/dead-letter-topic.ts";
import { LogLab } from "../support/log-lab.ts";
import { openMetadata, spec } from "../support/metadata.ts";

const enabled: [string, string] = ["errors.deadletterqueue.group.enable", "true"];

async function world() {
  const lab = new LogLab();
  const metadata = await openMetadata();
  await openCreated(metadata, lab);
  return { metadata, find: deadLetterTopics(metadata, lab.partitions) };
}

/** Opens what is created, as the broker does. */
async function openCreated(metadata: Metadata, lab: LogLab): Promise<void> {
  metadata.subscribe(async ({ commands }) => {
    for (const command of commands) {
      if (command.type !== "topic") continue;
      for (const { index } of command.partitions) {
        await lab.open({}, 0, { ...command, internal: false }, index);
      }
    }
  });
}

async function configure(metadata: Metadata, name: string, value: string): Promise<void> {
  const operations = [{ name, kind: "set", value }] as const;
  const alteration = { resource: "broker", name: "", operations, replacesAll: false } as const;
  const [outcome] = await metadata.alterConfigs([alteration], false);
  expect(outcome?.errorMessage ?? null).toBeNull();
}

test("a topic that allows it and has the prefix, by the partition the record is from", async () => {
  const { metadata, find } = await world();
  await metadata.createTopics([spec("dlq.a", 3, [enabled])], false);
  const found = await find("dlq.a", 7);
  expect(found).toMatchObject({ kind: "found", partition: { topic: "dlq.a", index: 1 } });
});

test.each([
  ["a group that names none", null, "no dead letter queue"],
  ["an internal name", "__dlq.a", 'begins with "__"'],
  ["a topic that does not allow it", "dlq.plain", "group.enable=true"],
  ["one that was told not to", "dlq.off", "group.enable=true"],
  ["a topic that does not exist", "dlq.nowhere", "does not exist"],
  ["a name without the prefix", "other", "does not begin with"],
])("%s is refused", async (_case, topic, reason) => {
  const { metadata, find } = await world();
  const off: [string, string] = [enabled[0], "false"];
  const topics = [spec("dlq.plain"), spec("dlq.off", 1, [off]), spec("other", 1, [enabled])];
  await metadata.createTopics(topics, false);
  const found = await find(topic, 0);
  expect(found).toEqual({ kind: "refused", reason: expect.stringContaining(reason) });
});

test("the prefix can be changed, and switched off, while the broker runs", async () => {
  const { metadata, find } = await world();
  await metadata.createTopics([spec("other", 1, [enabled])], false);
  await configure(metadata, "errors.deadletterqueue.topic.name.prefix", "oth");
  expect((await find("other", 0)).kind).toBe("found");
  await configure(metadata, "errors.deadletterqueue.topic.name.prefix", "");
  expect((await find("other", 0)).kind).toBe("found");
});

test("a missing topic is created where the broker is told to, once, for letters", async () => {
  const { metadata, find } = await world();
  await configure(metadata, "errors.deadletterqueue.auto.create.topics.enable", "true");
  const both = await Promise.all([find("dlq.new", 0), find("dlq.new", 0)]);
  expect(both.map(({ kind }) => kind)).toContain("found");
  expect((await find("dlq.new", 0)).kind).toBe("found");
  const configs = metadata.image.topicsByName.get("dlq.new")?.configs;
  expect(configs?.get("errors.deadletterqueue.group.enable")).toBe("true");
  expect(configs?.get("message.timestamp.type")).toBe("CreateTime");
  expect(await find("dlq.not a name", 0)).toMatchObject({ kind: "refused" });
  expect(metadata.image.topicsByName.size).toBe(1);
});
