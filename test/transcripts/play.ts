import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a transcript is played against: one command line, and the lines that came of it. */
export interface Player {
  run(line: string): string[];
}

/** A command line's words, those of the form `name=value` apart. */
export interface Command {
  readonly command: string;
  readonly words: string[];
  readonly args: Map<string, string>;
}

/** The transcript as the player answers it now: its comments and commands, new results. */
export function playTranscript(player: Player, text: string): string {
  const output: string[] = [];
  let inResult = false;
  for (const line of text.split("\n")) {
    if (line === "----") {
      inResult = true;
      continue;
    }
    if (line === "") inResult = false;
    if (inResult) continue;
    if (line === "" || line.startsWith("#")) {
      if (!(line === "" && output.at(-1) === "")) output.push(line);
      continue;
    }
    output.push(line, "----", ...player.run(line), "");
  }
  while (output.at(-1) === "") output.pop();
  return `${output.join("\n")}\n`;
}

export function parseCommand(line: string): Command {
  const [command = "", ...all] = line.split(/\s+/);
  const words: string[] = [];
  const args = new Map<string, string>();
  for (const word of all) {
    const at = word.indexOf("=");
    if (at === -1) words.push(word);
    else args.set(word.slice(0, at), word.slice(at + 1));
  }
  return { command, words, args };
}

/**
 * A test for every transcript of a folder beside this file, of which there are `countMin` at
 * least. REWRITE_TRANSCRIPTS=1 writes what comes of them now; review the diff before committing it.
 */
export function testTranscripts(room: string, countMin: number, player: () => Player): void {
  const folder = join(import.meta.dir, room);
  const rewrite = process.env["REWRITE_TRANSCRIPTS"] === "1";
  const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));

  test("there are transcripts", () => {
    expect(files.length).toBeGreaterThanOrEqual(countMin);
  });

  for (const file of files) {
    test(`transcript ${file}`, () => {
      const path = join(folder, file);
      const before = readFileSync(path, "utf8");
      const after = playTranscript(player(), before);
      if (rewrite) writeFileSync(path, after);
      else expect(after).toBe(before);
    });
  }
}
