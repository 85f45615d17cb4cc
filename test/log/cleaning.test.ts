import { expect, test } from "bun:test";
import { Cleaning } from "../../src/log/cleaning.ts";
import type { Partition } from "../../src/log/partition.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { turn } from "../support/log-lab.ts";

const report = { segments: 1, bytesBefore: 10, bytesAfter: 1 };

function partition(name: string, clean: () => Promise<typeof report | null>, internal = true) {
  const config = { compact: true };
  return {
    topic: name,
    internal,
    config,
    isOpen: true,
    cleanIfDirty: clean,
  } as unknown as Partition;
}

test("internal topics are cleaned in turn; a failure stops none of the others", async () => {
  const clock = new FakeClock();
  const heard: string[] = [];
  let finishFirst = () => undefined as undefined;
  const partitions = [
    partition("first", () => {
      heard.push("first begins");
      return new Promise((resolve) => {
        finishFirst = () => void resolve(report) as undefined;
      });
    }),
    partition("fails", () => Promise.reject(new Error("no"))),
    partition("clean already", () => Promise.resolve(null)),
    partition("user's", () => Promise.resolve(report), false),
    partition("last", () => Promise.resolve(report)),
  ];
  const cleaning = new Cleaning(clock, () => partitions, {
    cleaned: ({ topic }) => heard.push(`cleaned ${topic}`),
    cleaningFailed: ({ topic }) => heard.push(`failed ${topic}`),
  });
  cleaning.start();
  clock.advance(15_000);
  await turn();
  expect(heard).toEqual(["first begins"]);
  // The next look waits for this one.
  clock.advance(60_000);
  finishFirst();
  await turn();
  expect(heard).toEqual(["first begins", "cleaned first", "failed fails", "cleaned last"]);
  clock.advance(15_000);
  await turn();
  let stopped = false;
  const stopping = cleaning.stop().then(() => {
    stopped = true;
  });
  await turn();
  expect(stopped).toBe(false);
  finishFirst();
  await stopping;
  expect(heard.slice(4)).toEqual(["first begins", "cleaned first"]);
  clock.advance(60_000);
  await turn();
  expect(heard.length).toBe(6);
});
