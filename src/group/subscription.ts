/**
 * Topics named in a consumer's subscription. Only the part every version shares is read (version,
 * then an array of strings), so newer clients need nothing from the broker.
 *
 * Returns null when the bytes are not a subscription: then nothing is known about the topics.
 */
export function subscribedTopicsOf(metadata: Uint8Array): string[] | null {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength);
  const headBytes = 6;
  if (view.byteLength < headBytes || view.getInt16(0) < 0) return null;
  const count = view.getInt32(2);
  // Each string takes at least its two length bytes, which bounds the count before any allocation.
  if (count < 0 || count > (view.byteLength - headBytes) / 2) return null;

  const topics: string[] = [];
  let position = headBytes;
  for (let index = 0; index < count; index++) {
    if (position + 2 > view.byteLength) return null;
    const length = view.getInt16(position);
    position += 2;
    if (length < 0 || position + length > view.byteLength) return null;
    topics.push(decoder.decode(metadata.subarray(position, position + length)));
    position += length;
  }
  return topics;
}

const decoder = new TextDecoder();
