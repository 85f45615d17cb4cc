import {
  checkKey,
  type ObjectPage,
  type ObjectStore,
  type StoredObject,
  StoreError,
} from "./object-store.ts";

/** The durable file jobs this store needs; native/files.ts satisfies it (design D16). */
export interface DurableFiles {
  putFile(from: string, to: string, ifAbsent: boolean): Promise<"stored" | "exists">;
  readFile(path: string, position: number, length: number): Promise<Uint8Array | null>;
  /** Position 0 makes the file new, any other must be its end. */
  appendScratch(path: string, position: number, bytes: Uint8Array): Promise<void>;
  /** Bytes of a regular file, or null where there is none. */
  fileSize(path: string): Promise<number | null>;
  /** null where there is no such folder. */
  listDir(path: string): Promise<readonly FolderEntry[] | null>;
  removeFile(path: string): Promise<void>;
}

export interface FolderEntry {
  readonly name: string;
  readonly dir: boolean;
  readonly bytes: number;
  readonly modifiedMs?: number | null;
}

export interface LocalStoreOptions {
  /** Folder that holds the objects. */
  readonly root: string;
  /** What keys begin with (ends in `/`); objects lie under `root` without it. */
  readonly prefix: string;
  /** A second prefix, whose objects lie in the folder `=meta` of `root`: no topic is named so. */
  readonly metaPrefix?: string;
  /** For files that are not put yet. */
  readonly scratchDir: string;
  readonly files: DurableFiles;
}

/** Objects as plain files under one directory; a put is fsync + link + directory fsync. */
export class LocalStore implements ObjectStore {
  readonly description: string;
  private readonly root: string;
  private readonly prefix: string;
  private readonly metaPrefix: string | null;
  private readonly scratchDir: string;
  private readonly files: DurableFiles;
  private scratchCount = 0;

  constructor({ root, prefix, metaPrefix, scratchDir, files }: LocalStoreOptions) {
    this.root = root;
    this.prefix = prefix;
    this.metaPrefix = metaPrefix ?? null;
    this.scratchDir = scratchDir;
    this.files = files;
    this.description = `local directory ${root}`;
  }

  putFile(key: string, path: string, _sha256: string): Promise<"stored" | "exists"> {
    return this.files.putFile(path, this.pathOf(key), true);
  }

  async putBytes(key: string, bytes: Uint8Array): Promise<"stored" | "exists"> {
    const target = this.pathOf(key);
    const scratch = `${this.scratchDir}/object-${this.scratchCount++}.tmp`;
    await this.files.appendScratch(scratch, 0, bytes);
    const put = await this.files.putFile(scratch, target, true);
    if (put === "exists") await this.files.removeFile(scratch);
    return put;
  }

  async head(key: string): Promise<{ bytes: number } | null> {
    const bytes = await this.files.fileSize(this.pathOf(key));
    return bytes === null ? null : { bytes };
  }

  async getRange(key: string, position: number, length: number): Promise<Uint8Array> {
    const bytes = await this.files.readFile(this.pathOf(key), position, length);
    if (bytes === null) throw new StoreError("not-found", key, "is missing from the object store");
    if (bytes.length !== length) {
      const got = `has ${bytes.length} of ${length} bytes at ${position}`;
      throw new StoreError("damaged", key, `${got}: the file was cut short`);
    }
    return bytes;
  }

  openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }> {
    return Promise.resolve({ path: this.pathOf(key), release: () => Promise.resolve() });
  }

  async list(prefix: string, after: string | null, limit: number): Promise<ObjectPage> {
    const objects: StoredObject[] = [];
    // One more than asked for tells whether there is a next page.
    const { root } = this;
    const folders = [{ folder: root, key: this.prefix }];
    if (this.metaPrefix !== null) folders.push({ folder: metaRoot(root), key: this.metaPrefix });
    folders.sort((left, right) => (left.key < right.key ? -1 : 1));
    for (const { folder, key } of folders) {
      if (!key.startsWith(prefix) && !prefix.startsWith(key)) continue;
      await this.walk(folder, key, prefix, after ?? "", limit + 1, objects);
    }
    const page = objects.slice(0, limit);
    return { objects: page, next: objects.length > limit ? (page.at(-1)?.key ?? null) : null };
  }

  delete(key: string): Promise<void> {
    return this.files.removeFile(this.pathOf(key));
  }

  /** Depth first, a folder sorted as its name with `/`: that is the byte order of whole keys. */
  private async walk(
    folder: string,
    keyOfFolder: string,
    prefix: string,
    after: string,
    countMax: number,
    found: StoredObject[],
  ): Promise<void> {
    const entries = (await this.files.listDir(folder)) ?? [];
    const named = entries.map((entry) => ({
      ...entry,
      key: `${keyOfFolder}${entry.name}${entry.dir ? "/" : ""}`,
    }));
    named.sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const { name, key, dir, bytes, modifiedMs = null } of named) {
      if (found.length >= countMax) return;
      if (dir) {
        if (folder === this.root && name === metaFolder) continue;
        const wanted = key.startsWith(prefix) || prefix.startsWith(key);
        const passed = key < after && !after.startsWith(key);
        if (!wanted || passed) continue;
        await this.walk(`${folder}/${name}`, key, prefix, after, countMax, found);
      } else if (key.startsWith(prefix) && key > after && !scratchName.test(name)) {
        found.push({ key, bytes, modifiedMs });
      }
    }
  }

  private pathOf(key: string): string {
    checkKey(key);
    if (this.metaPrefix !== null && key.startsWith(this.metaPrefix)) {
      return `${metaRoot(this.root)}/${key.slice(this.metaPrefix.length)}`;
    }
    if (!key.startsWith(this.prefix)) {
      throw new StoreError("invalid-key", key, `does not begin with ${this.prefix}`);
    }
    return `${this.root}/${key.slice(this.prefix.length)}`;
  }
}

/** Not a legal topic name. */
const metaFolder = "=meta";

function metaRoot(root: string): string {
  return `${root}/${metaFolder}`;
}

/** What the engine writes beside a file on its way into place across file systems. */
const scratchName = /^\.\d+-\d+\.tmp$/;
