/** Somebody who reads a partition from front to back. */
export interface ReadStream {
  /** Offsets of the last read: [from, to). */
  from: number;
  to: number;
  /** Reads in a row that each went on where the one before ended, or within it. */
  streak: number;
  /** What was read ahead, exclusive. */
  aheadTo: number;
  /** Once the reader is here, the next piece is read ahead. */
  aheadFrom: number;
  windowBytes: number;
  /** A piece is being read ahead. */
  busy: boolean;
}

const windowBytesMin = 256 << 10;
export const windowBytesMax = 2 << 20;
/** One partition is read by so many at a time, for what is read ahead. */
const streamsPerPartitionMax = 4;
const partitionsMax = 1_024;
/** A reader is in a row from its second step on. */
const streakMin = 2;

/** Tells readers in a row from others, by partition and position; forgets who came longest ago. */
export class ReadStreams {
  /** By partition, the one read last at the end. */
  private readonly streams = new Map<string, ReadStream[]>();

  /** Notes a read of offsets [from, to); the stream it belongs to where that is read in a row. */
  note(partition: string, from: number, to: number): ReadStream | null {
    const streams = this.streams.get(partition) ?? [];
    this.streams.delete(partition);
    this.streams.set(partition, streams);
    if (this.streams.size > partitionsMax) {
      for (const oldest of this.streams.keys()) {
        this.streams.delete(oldest);
        break;
      }
    }
    const at = streams.findIndex((one) => one.from <= from && from <= one.to);
    const [found] = at < 0 ? [] : streams.splice(at, 1);
    const stream = found ?? {
      ...{ from, to, streak: 0, aheadTo: to, aheadFrom: to },
      ...{ windowBytes: windowBytesMin, busy: false },
    };
    streams.push(stream);
    if (streams.length > streamsPerPartitionMax) streams.shift();
    if (stream.streak === 0 || from > stream.from) stream.streak++;
    stream.from = from;
    stream.to = to;
    stream.aheadTo = Math.max(stream.aheadTo, to);
    return stream.streak >= streakMin ? stream : null;
  }
}

/** What is read ahead grows while its reader goes on. */
export function growWindow(stream: ReadStream): void {
  stream.windowBytes = Math.min(windowBytesMax, stream.windowBytes * 2);
}
