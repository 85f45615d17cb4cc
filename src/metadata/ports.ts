/** Where metadata keeps its commands: the log of this broker, or of the cluster. */
export interface MetadataJournal {
  /** Durable when resolved; rejects with BrokerError when it could not be made so. */
  append(entry: Uint8Array): Promise<void>;
  /** Hands over every entry in order, from the newest snapshot on. */
  replay(onEntry: (entry: Uint8Array) => void): Promise<void>;
  /** Replaces everything before by one entry, in one step that a crash cannot split. */
  compact(snapshot: Uint8Array): Promise<void>;
}
