import { offsetsTopic, shareStateTopic, transactionStateTopic } from "./coordinator-topics.ts";

/** Longest topic name: the rest of a 255-byte file name is Kafka's for "-{partition}". */
const topicNameCharsMax = 249;
const topicNameChars = /^[a-zA-Z0-9._-]+$/;

/** Topics the broker keeps for itself, shown to clients as internal. */
const internalTopics: ReadonlySet<string> = new Set([
  offsetsTopic,
  shareStateTopic,
  transactionStateTopic,
]);

export function isInternalTopic(name: string): boolean {
  return internalTopics.has(name);
}

/** Null when a topic may have this name, else the reason why not. */
export function checkTopicName(name: string): string | null {
  if (name === "") return "Topic name is invalid: it is empty";
  if (name === "." || name === "..") return "Topic name is invalid: it cannot be '.' or '..'";
  if (name.length > topicNameCharsMax) {
    return `Topic name is invalid: it has more than ${topicNameCharsMax} characters`;
  }
  if (topicNameChars.test(name)) return null;
  const quoted = JSON.stringify(name);
  return `Topic name is invalid: ${quoted} has more than ASCII letters, digits, '.', '_' and '-'`;
}

/** Names that differ only in '.' and '_' share this key: metrics could not tell them apart. */
export function collisionKey(name: string): string {
  return name.replaceAll(".", "_");
}

/** Whether a name can collide with another one at all. */
export function canCollide(name: string): boolean {
  return name.includes(".") || name.includes("_");
}
