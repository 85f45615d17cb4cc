import { parseArgs } from "node:util";

/** kcat, Debian's, built on an old librdkafka: list, produce, consume, groups, offsets by time. */

const { values } = parseArgs({ options: { bootstrap: { type: "string" } } });
const bootstrap = values.bootstrap ?? "";
const kcatMsMax = 30_000;
const run = `${process.pid}-${Date.now().toString(36)}`;
let names = 0;

function unique(what: string): string {
  names++;
  return `${what}-${run}-${names}`;
}

async function kcat(args: readonly string[], input = ""): Promise<string> {
  const child = Bun.spawn(["kcat", "-b", bootstrap, ...args], {
    stdin: new Blob([input]),
    stdout: "pipe",
    stderr: "pipe",
    timeout: kcatMsMax,
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const code = await child.exited;
  if (code !== 0) throw new Error(`kcat ${args.join(" ")} ended with ${code}: ${errors}`);
  return output;
}

function same(found: unknown, wanted: unknown): void {
  const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${left.slice(0, 400)} instead of ${right.slice(0, 400)}`);
}

const lines = (count: number) => `${Array.from({ length: count }, (_, i) => `v${i}`).join("\n")}\n`;
const wholeTopic = (topic: string) => ["-C", "-q", "-t", topic, "-p", "0", "-o", "beginning", "-e"];

const cases: (readonly [string, () => Promise<void>])[] = [
  ...["none", "gzip", "snappy", "lz4", "zstd"].map(
    (codec) =>
      [
        `produce: ${codec}`,
        async () => {
          const topic = unique("topic");
          await kcat(["-P", "-t", topic, "-p", "0", "-z", codec], lines(1000));
          same(await kcat(wholeTopic(topic)), lines(1000));
        },
      ] as const,
  ),
  [
    "produce: idempotent",
    async () => {
      const topic = unique("topic");
      await kcat(["-P", "-t", topic, "-p", "0", "-X", "enable.idempotence=true"], lines(500));
      same(await kcat(wholeTopic(topic)), lines(500));
    },
  ],
  [
    "produce: keys, headers, tombstones",
    async () => {
      const topic = unique("topic");
      const args = ["-P", "-t", topic, "-p", "0", "-K", ":", "-Z", "-H", "h=1"];
      await kcat(args, "k1:v1\nk2:\n");
      const format = ["-f", "%k=%s/%S/%h/%o\\n"];
      same(await kcat([...wholeTopic(topic), ...format]), "k1=v1/2/h=1/0\nk2=/-1/h=1/1\n");
    },
  ],
  [
    "connection: brokers and all topics are listed",
    async () => {
      const topic = unique("topic");
      await kcat(["-P", "-t", topic, "-p", "0"], lines(1));
      const { brokers, topics } = JSON.parse(await kcat(["-L", "-J"])) as {
        readonly brokers: readonly { readonly name: string }[];
        readonly topics: readonly { readonly topic: string }[];
      };
      same(
        brokers.map(({ name }) => name),
        [bootstrap],
      );
      same(topics.filter((entry) => entry.topic === topic).length, 1);
    },
  ],
  [
    "consume: the last ones, and offsets by time",
    async () => {
      const topic = unique("topic");
      await kcat(["-P", "-t", topic, "-p", "0"], lines(10));
      const tail = ["-C", "-q", "-t", topic, "-p", "0", "-o", "-3", "-e"];
      same(await kcat(tail), "v7\nv8\nv9\n");
      const found = await kcat(["-Q", "-t", `${topic}:0:1000`]);
      same(found.trim(), `${topic} [0] offset 0`);
    },
  ],
  [
    "group: a balanced consumer reads on where it stopped",
    async () => {
      const topic = unique("topic");
      const group = unique("group");
      await kcat(["-P", "-t", topic, "-p", "0"], lines(4));
      const member = ["-q", "-X", "auto.offset.reset=earliest", "-G", group];
      same(await kcat([...member, "-c", "4", topic]), lines(4));
      await kcat(["-P", "-t", topic, "-p", "0"], "later\n");
      same(await kcat([...member, "-c", "1", topic]), "later\n");
    },
  ],
];

for (const [test, body] of cases) {
  try {
    await body();
    process.stdout.write(`${JSON.stringify({ test, outcome: "passed" })}\n`);
  } catch (error) {
    const line = { test, outcome: "failed", detail: String(error) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}
