import { BrokerError, errorText } from "../lib/errors.ts";
import { isUuid } from "../protocol/uuid.ts";
import type { FileEntry, Files } from "./ports.ts";

export interface FolderEvents {
  quarantined(from: string, to: string, reason: string): void;
}

const idFile = "topic-id";
const topicNamePattern = /^[a-zA-Z0-9._-]{1,249}$/;

/**
 * The folders of topics (design D2b): `{data_dir}/wal/{topic}` belongs to one topic id, written in
 * its `topic-id` file. A folder of another id is moved to `{data_dir}/quarantine`, a deleted
 * topic's to `{data_dir}/trash/{topic id}` and removed from there; nothing is deleted because
 * something else is absent.
 */
export class TopicFolders {
  private readonly files: Files;
  private readonly walDir: string;
  private readonly trashDir: string;
  private readonly quarantineDir: string;
  private readonly events: FolderEvents;
  /** One claim at a time per topic name. */
  private readonly claims = new Map<string, { id: string; done: Promise<string> }>();

  private emptying: Promise<unknown> = Promise.resolve();

  constructor(files: Files, dataDir: string, events: FolderEvents) {
    this.files = files;
    this.events = events;
    this.walDir = `${dataDir}/wal`;
    this.trashDir = `${dataDir}/trash`;
    this.quarantineDir = `${dataDir}/quarantine`;
  }

  /** The topic's folder, made when missing and durably this id's. */
  claim(topic: string, id: string): Promise<string> {
    const known = this.claims.get(topic);
    if (known?.id === id) return known.done;
    const before = known?.done.then(
      () => undefined,
      () => undefined,
    );
    const done = (before ?? Promise.resolve()).then(() => this.claimNow(topic, id));
    this.claims.set(topic, { id, done });
    done.catch(() => {
      if (this.claims.get(topic)?.done === done) this.claims.delete(topic);
    });
    return done;
  }

  /** Moves the folder of a deleted topic away; true when there was one. */
  async discard(id: string): Promise<boolean> {
    const name = await this.folderOf(id);
    if (name === null) return false;
    this.claims.delete(name);
    await this.files.makeDir(this.trashDir);
    await this.files.rename(`${this.walDir}/${name}`, `${this.trashDir}/${id}`);
    return true;
  }

  /** Removes what `discard` moved, from this run or one before. */
  emptyTrash(): Promise<void> {
    // One after the other: two would remove the same folder under each other's feet.
    const done = this.emptying.then(() => this.emptyTrashNow());
    this.emptying = done.catch(() => undefined);
    return done;
  }

  private async emptyTrashNow(): Promise<void> {
    for (const { name } of await this.entries(this.trashDir)) {
      try {
        await this.files.removeDir(`${this.trashDir}/${name}`);
      } catch (error) {
        // Deletions run side by side: another one may have removed it, or part of it, meanwhile.
        if (!(error instanceof BrokerError) || error.code !== "CHRONIK_NOT_FOUND") throw error;
      }
    }
  }

  /** The name of the folder that holds `id`; claimed ones are known without a look at the disk. */
  private async folderOf(id: string): Promise<string | null> {
    for (const [topic, claim] of this.claims) {
      if (claim.id !== id) continue;
      await Promise.allSettled([claim.done]);
      if ((await this.idOf(topic)) === id) return topic;
    }
    for (const { name, dir } of await this.entries(this.walDir)) {
      if (dir && !this.claims.has(name) && (await this.idOf(name)) === id) return name;
    }
    return null;
  }

  private async claimNow(topic: string, id: string): Promise<string> {
    if (!topicNamePattern.test(topic) || topic === "." || topic === "..") {
      throw new BrokerError("CHRONIK_TOPIC_NAME", `"${topic}" cannot be the name of a folder`);
    }
    const dir = `${this.walDir}/${topic}`;
    const found = await this.idOf(topic);
    if (found === id) return dir;
    const content = await this.entries(dir);
    const empty = content.every((entry) => entry.name === idFile);
    if (found !== null || !empty) {
      await this.quarantine(topic, found);
    }
    await this.files.makeDir(dir);
    await this.files.writeFile(`${dir}/${idFile}`, Buffer.from(`${id}\n`));
    return dir;
  }

  private async quarantine(topic: string, id: string | null): Promise<void> {
    await this.files.makeDir(this.quarantineDir);
    const taken = new Set((await this.entries(this.quarantineDir)).map((entry) => entry.name));
    const stem = `${topic}-${id ?? "unknown"}`;
    let name = stem;
    for (let count = 2; taken.has(name); count++) name = `${stem}-${count}`;
    const from = `${this.walDir}/${topic}`;
    const to = `${this.quarantineDir}/${name}`;
    await this.files.rename(from, to);
    const reason = id === null ? "it has no topic-id file" : `it belongs to topic id ${id}`;
    this.events.quarantined(from, to, reason);
  }

  /** The id in the folder's file; null without one, or when it holds no id. */
  private async idOf(topic: string): Promise<string | null> {
    try {
      const bytes = await this.files.readFile(`${this.walDir}/${topic}/${idFile}`);
      const text = Buffer.from(bytes).toString("utf8").trim();
      return isUuid(text) ? text : null;
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  private async entries(path: string): Promise<readonly FileEntry[]> {
    try {
      return await this.files.listDir(path);
    } catch (error) {
      if (isNotFound(error)) return [];
      throw new BrokerError("CHRONIK_IO", `${path} cannot be listed: ${errorText(error)}`, {
        cause: error,
      });
    }
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof BrokerError && error.code === "CHRONIK_NOT_FOUND";
}
