/** The hash of Kafka's (Java's) strings: over UTF-16 units, in 32 bits with wrap-around. */
export function javaHash(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) {
    hash = (Math.imul(31, hash) + text.charCodeAt(index)) | 0;
  }
  return hash;
}

/** The partition of `__consumer_offsets` that holds a group. */
export function partitionForGroup(groupId: string, partitionCount: number): number {
  return (javaHash(groupId) & 0x7fff_ffff) % partitionCount;
}
