import { busyTierArgs, untilAllArchived } from "../../support/archives.ts";
import { type BrokerProcess, withoutRebalanceDelay } from "../../support/broker-process.ts";
import { unannouncedMoment, within } from "../../support/moments.ts";
import { Random } from "../../support/random.ts";
import { prepareJvm } from "../jvm/prepare.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";
import { type Answer, type Matrix, startMatrix } from "./matrix.ts";

/**
 * Seven scenarios of transactions and idempotence by the Java client, over and over: undisturbed,
 * with the broker killed at random moments, and read once more out of the archives. Each play
 * keeps the history of what its producers were told, and a checker holds every record that
 * read_committed gives against it.
 *
 * CHRONIK_EXACTLY_ONCE_RUNS: plays of each scenario, half of them with kills (100; CI: 4).
 * CHRONIK_EXACTLY_ONCE_SEED: repeats the waits before the kills.
 */

const killsPerPlayMax = 2;
const archiveMsMax = 600_000;
const detailLinesMax = 12;

const titles = {
  calm: (scenario: string) => scenario,
  killed: (scenario: string) => `${scenario}, broker killed`,
  archived: (scenario: string) => `${scenario}, from archives`,
};

interface Play {
  readonly scenario: string;
  readonly prefix: string;
}

/** Kills and restarts the broker until the play is over or was disturbed enough. */
async function disturb(
  broker: BrokerProcess,
  random: Random,
  play: Promise<unknown>,
): Promise<number> {
  const finished = play.then(() => true);
  let kills = 0;
  while (kills < killsPerPlayMax) {
    await unannouncedMoment(random, 50, 1500);
    if ((await within(0, finished)) === true) break;
    await broker.kill9();
    await broker.restart();
    kills++;
  }
  return kills;
}

class Findings {
  readonly #byTest = new Map<string, string[]>();

  /** Makes the test known, and adds what its play found. */
  add(test: string, prefix: string, findings: readonly string[]): void {
    const known = this.#byTest.get(test) ?? [];
    this.#byTest.set(test, [...known, ...findings.map((finding) => `${prefix}: ${finding}`)]);
  }

  results(): RunTest[] {
    return [...this.#byTest].map(([name, findings]) =>
      findings.length === 0
        ? { name, outcome: "passed" }
        : { name, outcome: "failed", detail: findings.slice(0, detailLinesMax).join("\n") },
    );
  }
}

async function playAll(
  { broker, scope }: SuiteContext,
  matrix: Matrix,
  findings: Findings,
): Promise<Play[]> {
  const random = Random.from("CHRONIK_EXACTLY_ONCE_SEED");
  const asked = process.env["CHRONIK_EXACTLY_ONCE_RUNS"];
  const runs = Number(asked ?? (scope === "short" ? 4 : 100));
  const plays: Play[] = [];
  const totals = { committed: 0, aborted: 0, unknown: 0, kills: 0 };
  for (let run = 0; run < runs; run++) {
    for (const [at, scenario] of (await matrix.scenarios()).entries()) {
      const prefix = `eo-${run}-${at}`;
      const playing = matrix.play(scenario, prefix);
      if (run % 2 === 1) totals.kills += await disturb(broker, random, playing);
      const answer: Answer = await playing;
      totals.committed += answer.committed ?? 0;
      totals.aborted += answer.aborted ?? 0;
      totals.unknown += answer.unknown ?? 0;
      findings.add(titles[run % 2 === 1 ? "killed" : "calm"](scenario), prefix, answer.findings);
      plays.push({ scenario, prefix });
    }
  }
  console.log(`exactly-once: ${plays.length} plays, ${JSON.stringify(totals)}`);
  return plays;
}

export const exactlyOnce: Suite = {
  name: "exactly-once",
  client: "kafka-clients",
  version: "4.3.1",
  kind: "program",
  about: "seven scenarios of transactions, undisturbed, under kill -9, and read from archives",
  exclusions: [],
  brokerArgs: [...busyTierArgs, ...withoutRebalanceDelay],
  featureOf: () => "txn",
  prepare: () => prepareJvm({ name: "exactly-once" }),
  async run(context) {
    const { broker } = context;
    await using matrix = startMatrix(context.bootstrap);
    const findings = new Findings();
    const plays = await playAll(context, matrix, findings);
    await untilAllArchived(broker, archiveMsMax);
    await broker.restart();
    for (const { scenario, prefix } of plays) {
      const { findings: found } = await matrix.check(prefix);
      findings.add(titles.archived(scenario), prefix, found);
    }
    return findings.results();
  },
};
