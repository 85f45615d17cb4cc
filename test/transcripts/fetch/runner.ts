import type { FetchAnswer } from "../../../src/fetch/fetch-session.ts";
import { type FetchContext, FetchSessions } from "../../../src/fetch/fetch-sessions.ts";
import { errorName } from "../../../src/protocol/error-code.ts";
import { type Player, parseCommand } from "../play.ts";

/**
 * Plays a transcript against the fetch sessions: `#` comments, a command line, `----`, and what
 * came of it; the last line of a block is the state of the cache. Partitions are `topic/index`.
 * Sessions get the ids 1, 2, 3…
 *
 *   cache [sessions=1000] [bytes=1000000]
 *   log t/0 [hw=0] [start=0] [error=0] [diverging=] [data]    what the next reads find there
 *   fetch NAME [session=0] epoch=0 [ids] [follower] [forget=t/0,t/1] t/0 t/1@5 …
 *   answer NAME          throttle NAME          advance 1000
 */
export class FetchPlayer implements Player {
  private ids = 0;
  private sessions = this.cache(new Map());
  private nowMs = 0;
  private readonly logs = new Map<string, FetchAnswer>();
  private readonly open = new Map<string, FetchContext>();

  run(line: string): string[] {
    const { command, words, args } = parseCommand(line);
    const said = this.play(command, words, args);
    const { size, partitions, evictions } = this.sessions;
    const evicted = evictions > 0 ? `, ${evictions} evicted` : "";
    return [...said, `= ${size} sessions, ${partitions} partitions${evicted}`];
  }

  private play(command: string, words: string[], args: Map<string, string>): string[] {
    switch (command) {
      case "cache":
        this.sessions = this.cache(args);
        return [];
      case "advance":
        this.nowMs += Number(words[0]);
        return [];
      case "log":
        this.log(words, args);
        return [];
      case "fetch":
        return this.fetch(words, args);
      case "answer":
        return this.answer(words[0] ?? "");
      case "throttle": {
        const { errorCode, sessionId, answers } = this.context(words[0] ?? "").throttled();
        return [`${errorName(errorCode)} session ${sessionId}, ${answers.length} partitions`];
      }
      default:
        throw new Error(`no command ${command}`);
    }
  }

  private cache(args: Map<string, string>): FetchSessions {
    const limits = {
      sessionsMax: Number(args.get("sessions") ?? 1_000),
      bytesMax: Number(args.get("bytes") ?? 1_000_000),
    };
    return new FetchSessions(limits, () => ++this.ids);
  }

  private log(words: string[], args: Map<string, string>): void {
    const [name = "", ...flags] = words;
    const diverging = args.get("diverging");
    this.logs.set(name, {
      partitionIndex: Number(name.split("/")[1]),
      errorCode: Number(args.get("error") ?? 0),
      highWatermark: Number(args.get("hw") ?? 0),
      logStartOffset: Number(args.get("start") ?? 0),
      abortedTransactions: null,
      ...(diverging !== undefined && {
        divergingEpoch: { epoch: Number(diverging), endOffset: 0 },
      }),
      records: new Uint8Array(flags.includes("data") ? 1 : 0),
    });
  }

  private fetch(words: string[], args: Map<string, string>): string[] {
    const [name = "", ...rest] = words;
    const flags = new Set(rest.filter((word) => !word.includes("/")));
    const usesTopicIds = flags.has("ids");
    const context = this.sessions.begin(
      {
        sessionId: Number(args.get("session") ?? 0),
        epoch: Number(args.get("epoch") ?? 0),
        usesTopicIds,
        isFollower: flags.has("follower"),
        asks: rest
          .filter((word) => word.includes("/"))
          .map((word) => {
            const [partition = "", offset = "0"] = word.split("@");
            return {
              ...partitionName(partition, usesTopicIds),
              fetchOffset: Number(offset),
              partitionMaxBytes: 1,
              currentLeaderEpoch: -1,
              lastFetchedEpoch: -1,
            };
          }),
        forget: (args.get("forget") ?? "")
          .split(",")
          .filter((word) => word !== "")
          .map((word) => partitionName(word, usesTopicIds)),
      },
      this.nowMs,
    );
    this.open.set(name, context);
    if (context.errorCode !== 0) return [errorName(context.errorCode)];
    const asks = context.asks.map(
      (ask) => `${ask.topic}${ask.topicId}/${ask.partition}@${ask.fetchOffset}`,
    );
    return [`reads ${asks.join(" ")}`];
  }

  private answer(name: string): string[] {
    const context = this.context(name);
    const all = context.asks.map((ask) => {
      const found = this.logs.get(`${ask.topic}${ask.topicId}/${ask.partition}`);
      if (found === undefined) throw new Error(`no log of ${ask.topic}/${ask.partition}`);
      return { ask, answer: found };
    });
    const before = context.news(all).length;
    const { errorCode, sessionId, answers } = context.finish(all, this.nowMs);
    if (before !== answers.length) throw new Error("news and finish do not agree");
    const told = answers.map(({ ask }) => `${ask.topic}${ask.topicId}/${ask.partition}`);
    return [`${errorName(errorCode)} session ${sessionId}: ${told.join(" ") || "nothing"}`];
  }

  private context(name: string): FetchContext {
    const context = this.open.get(name);
    if (context === undefined) throw new Error(`no fetch ${name}`);
    return context;
  }
}

function partitionName(text: string, byId: boolean) {
  const [topic = "", index = "0"] = text.split("/");
  return {
    topic: byId ? "" : topic,
    topicId: byId ? topic : "",
    partition: Number(index),
  };
}
