import { checkKey, type ObjectStore, StoreError } from "./object-store.ts";

/** The durable file jobs this store needs; native/files.ts satisfies it (design D16). */
export interface DurableFiles {
  putFile(from: string, to: string, ifAbsent: boolean): Promise<"stored" | "exists">;
  readFile(path: string, position: number, length: number): Promise<Uint8Array | null>;
  /** Bytes of a regular file, or null where there is none. */
  fileSize(path: string): Promise<number | null>;
  removeFile(path: string): Promise<void>;
}

/** Objects as plain files under one directory; a put is fsync + link + directory fsync. */
export class LocalStore implements ObjectStore {
  readonly description: string;
  private readonly root: string;
  private readonly files: DurableFiles;

  private readonly prefix: string;

  /** Objects whose key begins with `prefix` (ends in `/`) lie under `root`, without it. */
  constructor(root: string, prefix: string, files: DurableFiles) {
    this.root = root;
    this.prefix = prefix;
    this.files = files;
    this.description = `local directory ${root}`;
  }

  putFile(key: string, path: string): Promise<"stored" | "exists"> {
    return this.files.putFile(path, this.pathOf(key), true);
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

  delete(key: string): Promise<void> {
    return this.files.removeFile(this.pathOf(key));
  }

  private pathOf(key: string): string {
    checkKey(key);
    if (!key.startsWith(this.prefix)) {
      throw new StoreError("invalid-key", key, `does not begin with ${this.prefix}`);
    }
    return `${this.root}/${key.slice(this.prefix.length)}`;
  }
}
