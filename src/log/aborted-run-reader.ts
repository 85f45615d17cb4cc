import { BrokerError } from "../lib/errors.ts";
import type { AbortedTransaction } from "./aborted-index.ts";
import {
  type AbortedBlock,
  type AbortedRun,
  decodeBlocks,
  decodeDirectory,
  directoryBytes,
  type EncodedBlock,
  entryBytes,
  type RunOwner,
  runFile,
  splitBlocks,
} from "./aborted-run.ts";
import type { Files } from "./ports.ts";

/** Entries checked and decoded in one turn of the event loop: 256 KiB. */
const entriesAtATime = 8_192;

/** Blocks that lie one behind the other. */
interface Part {
  readonly position: number;
  readonly blocks: AbortedBlock[];
}

/** Reads of one partition's files of aborted transactions: what is asked for, and no more. */
export class AbortedRunReader {
  private readonly files: Files;
  private readonly dir: string;
  private readonly owner: RunOwner;

  constructor(files: Files, dir: string, owner: RunOwner) {
    this.files = files;
    this.dir = dir;
    this.owner = owner;
  }

  path(run: AbortedRun): string {
    return `${this.dir}/${runFile(run.id)}`;
  }

  /** Entries with offsets in [from, to), in the order of their markers. Costs the directory, and
   * the blocks that may hold one. */
  async overlapping(run: AbortedRun, from: number, to: number): Promise<AbortedTransaction[]> {
    const found: AbortedTransaction[] = [];
    const isWanted = (block: AbortedBlock) => block.lastMarker >= from && block.minFirstOffset < to;
    const isLast = (block: AbortedBlock) => block.lastStableOffset >= to;
    for (const part of partsOf(await this.directory(run), isWanted, isLast)) {
      const bytes = await this.read(run, part);
      for (const entry of decodeBlocks(bytes, part.blocks, this.path(run))) {
        if (entry.lastOffset >= from && entry.firstOffset < to) found.push(entry);
      }
    }
    return found;
  }

  /** All of it, as it is, checked. */
  async blocks(run: AbortedRun): Promise<EncodedBlock[]> {
    const blocks: EncodedBlock[] = [];
    for (const part of partsOf(
      await this.directory(run),
      () => true,
      () => false,
    )) {
      blocks.push(...splitBlocks(await this.read(run, part), part.blocks, this.path(run)));
    }
    return blocks;
  }

  private read(run: AbortedRun, { position, blocks }: Part): Promise<Uint8Array> {
    const length = blocks.reduce((sum, { entries }) => sum + entries * entryBytes, 0);
    return this.files.readFile(this.path(run), position, length);
  }

  private async directory(run: AbortedRun): Promise<AbortedBlock[]> {
    const path = this.path(run);
    const bytes = await this.files.readFile(path, 0, directoryBytes(run.blocks));
    return decodeDirectory(bytes, this.owner, run, path);
  }
}

/** The file is not there, or is not what was written. */
export function isLost(error: unknown): error is BrokerError {
  if (!(error instanceof BrokerError)) return false;
  return error.code === "CHRONIK_NOT_FOUND" || error.code === "CHRONIK_CORRUPT";
}

/** The wanted blocks up to the last one, as far as they are neighbours and not too many. */
function partsOf(
  directory: readonly AbortedBlock[],
  isWanted: (block: AbortedBlock) => boolean,
  isLast: (block: AbortedBlock) => boolean,
): Part[] {
  const parts: Part[] = [];
  let part: Part | null = null;
  let entries = 0;
  let position = directoryBytes(directory.length);
  for (const block of directory) {
    if (!isWanted(block) || entries + block.entries > entriesAtATime) part = null;
    if (isWanted(block)) {
      if (part === null) {
        part = { position, blocks: [] };
        parts.push(part);
        entries = 0;
      }
      part.blocks.push(block);
      entries += block.entries;
      if (isLast(block)) break;
    }
    position += block.entries * entryBytes;
  }
  return parts;
}
