/* chronik's native boundary: the whole contract between TypeScript (bun:ffi) and the Rust engine.
 *
 * Commands go in, completions come out, a socketpair is the doorbell; nothing calls back into JS.
 * Ownership: the caller owns every buffer; the engine copies during the call and keeps no pointer
 * after it returns, but for what chronik_submit_lent says. Handed out are the opaque engine handle
 * and the results that chronik_take gives.
 * Threads: all functions are called from one thread (the event loop). Only open and close block.
 * Panics never cross: each extern body catches them and answers CHRONIK_INTERNAL.
 * All integers little-endian, structs packed; ffi/tests/header.rs and test/native/abi.test.ts
 * compare both sides with this file. */
#ifndef CHRONIK_H
#define CHRONIK_H
#include <stdint.h>

#define CHRONIK_ABI_VERSION 2u

/* Status codes: 0 = ok, negative = error; 1:1 with ffi/src/status.rs and src/native/abi.ts. */
enum chronik_status {
  CHRONIK_OK = 0,
  CHRONIK_INTERNAL = -1,         /* a bug or a caught panic; text in chronik_last_error */
  CHRONIK_INVALID_ARGUMENT = -2,
  CHRONIK_BUSY = -3,             /* submission queue full: nothing of this call was taken */
  CHRONIK_POISONED = -4,         /* engine is ending the process; no more commands */
  CHRONIK_NO_SPACE = -5,         /* ENOSPC/EDQUOT; the log was cut back to its durable end */
  CHRONIK_IO = -6,
  CHRONIK_CORRUPT = -7,          /* checksum or structure wrong: never served */
  CHRONIK_LOCKED = -8,           /* data directory is used by another process */
  CHRONIK_NOT_FOUND = -9,
  CHRONIK_EXISTS = -10,
  CHRONIK_UNKNOWN_VERSION = -11, /* on-disk format newer than this build */
  CHRONIK_TOO_LARGE = -12,
  CHRONIK_OUT_OF_RANGE = -13,
  CHRONIK_DAMAGED = -14,         /* acknowledged bytes are damaged: log opened read-only as far as valid */
  CHRONIK_CLOSED = -15,
  /* chronik_check and the validate job */
  CHRONIK_BATCH_CRC = -32,
  CHRONIK_BATCH_MAGIC = -33,
  CHRONIK_BATCH_LENGTH = -34,
  CHRONIK_BATCH_COUNT = -35,
  CHRONIK_BATCH_ATTRIBUTES = -36,
  CHRONIK_BATCH_RECORDS = -37,
  CHRONIK_BATCH_TOO_LARGE = -38  /* decompresses beyond the bound */
};

/* One command: header, payload, zero padding to a multiple of 8. Many per submit call. */
struct chronik_command {
  uint32_t length;      /* header + payload + padding, multiple of 8 */
  uint16_t op;          /* enum chronik_op */
  uint16_t flags;       /* 0 */
  uint64_t token;       /* chosen by the caller, unique among commands in flight; echoed */
  uint32_t log;         /* log handle from the open_log job; 0 for jobs without one */
  uint32_t payload_len; /* without padding */
}; /* 24 bytes */

enum chronik_op {
  CHRONIK_OP_APPEND = 1, /* payload: chronik_append + bytes */
  CHRONIK_OP_READ = 2,   /* payload: chronik_read_range */
  CHRONIK_OP_JOB = 3     /* payload: u32 json_len, json (utf-8), raw bytes */
};

/* Appends one record batch (or one opaque journal entry) to a log. Completes after fdatasync, in
 * submit order per log. value0 = segment id, value1 = file position of the frame.
 * base_offset must be the log's end (any for an empty log): else OUT_OF_RANGE. In a "batches" log the
 * batch's own length, base offset, last offset delta and record count must agree with these fields
 * (INVALID_ARGUMENT). After NO_SPACE every append that was submitted behind it is NO_SPACE too;
 * roll back to the last acknowledged offset and go on from there. */
struct chronik_append {
  int64_t base_offset;
  int64_t last_offset;
  uint32_t record_count;
  int32_t leader_epoch;
}; /* 24 bytes, then the batch bytes */

/* Reads whole batches from the batch that holds from_offset on, while their last offset <
 * offset_limit and the sum of bytes <= bytes_max; the first batch is returned even if larger.
 * Result: batches back to back (frame headers removed, checksums verified).
 * value0 = last offset returned + 1 (from_offset when empty), value1 = number of batches.
 * OUT_OF_RANGE when from_offset is below the first segment of the log. */
struct chronik_read_range {
  int64_t from_offset;
  int64_t offset_limit;
  uint32_t bytes_max;
  uint32_t flags; /* 0 */
}; /* 24 bytes */

struct chronik_completion {
  uint64_t token;
  int32_t status;
  uint32_t flags;      /* bit 0: a result waits for chronik_read */
  uint64_t value0;
  uint64_t value1;
  uint64_t result_len; /* bytes to fetch with chronik_read(token) */
}; /* 40 bytes */

/* Written by chronik_check. */
struct chronik_batch_info {
  uint32_t batch_bytes;  /* 12 + batchLength */
  uint32_t flags;        /* bit 0: records are compressed, needs the validate job; bit 1: a record has no key */
  int64_t max_timestamp; /* largest record timestamp found (header's where compressed) */
  uint32_t record_count;
  uint32_t reserved;
}; /* 24 bytes */

/* ABI version and struct sizes folded into one number:
 * version | 24 << 8 (command) | 40 << 16 (completion) | 24 << 24 (batch info). */
uint32_t chronik_abi(void);

/* config: UTF-8 JSON {data_dir, committer_threads?, worker_threads?, cold_threads?, heavy_threads?,
 * queue_bytes_max?, queue_appends_max?, queue_jobs_max?, completions_max?, results_bytes_max?,
 * segment_bytes_max?, batch_bytes_max?, files_open_max?, index_cache_bytes_max?, commit_wait_us?, watchdog_seconds?}
 * (defaults in ffi/src/config.rs; an unknown key is INVALID_ARGUMENT; watchdog_seconds 0 = none).
 * Locks the data directory exclusively (LOCKED), empties {data_dir}/tmp, starts the threads. Errors
 * leave text for chronik_last_error(0, …). The caller owns and closes the doorbell's descriptor.
 * The engine itself ends the process, after one line on stderr: 9 = a failed fsync or an unexpected
 * write error (design D3), 11 = no submit or reap for watchdog_seconds (D15). */
int32_t chronik_open(const uint8_t *config, uint64_t config_len, int32_t *doorbell_fd_out,
                     uint64_t *engine_out);

/* Takes all commands or none (BUSY, INVALID_ARGUMENT). */
int32_t chronik_submit(uint64_t engine, const uint8_t *commands, uint64_t commands_len);

/* The same with exactly one job, whose raw bytes are not in the command: `raw` is not copied and
 * must stay as it is until the job's completion was reaped. */
int32_t chronik_submit_lent(uint64_t engine, const uint8_t *command, uint64_t command_len,
                            const uint8_t *raw, uint64_t raw_len);

/* Writes as many completions as fit; *used_out = bytes written (multiple of 40); call until 0.
 * Also counts as the loop's sign of life for the watchdog. */
int32_t chronik_reap(uint64_t engine, uint8_t *out, uint64_t cap, uint64_t *used_out);

/* Copies result bytes of `token` from `offset`; the result is dropped once its last byte was
 * copied, or when cap == 0 (discard). */
int32_t chronik_read(uint64_t engine, uint64_t token, uint64_t offset, uint8_t *out, uint64_t cap,
                     uint64_t *used_out);

/* Hands the whole result of `token` over without a copy: parts_out[0] = its first byte (result_len
 * of them), parts_out[1] = its owner, to be given to the releaser once. The bytes may be written. */
int32_t chronik_take(uint64_t engine, uint64_t token, uint64_t parts_out[2]);

/* Address of void releaser(void *bytes, void *owner): frees what chronik_take gave; any thread, any
 * time, the engine closed or not. */
uint64_t chronik_releaser(void);

/* Pure and synchronous: structure, CRC-32C and (uncompressed) records of one batch. */
int32_t chronik_check(const uint8_t *batch, uint64_t len, uint8_t *info_out, uint64_t info_cap);

/* Text of the last error of this engine (0: of the last failed open); returns its length. */
int32_t chronik_last_error(uint64_t engine, uint8_t *out, uint64_t cap);

/* Drains, syncs, writes clean-stop marks, joins threads, releases the lock. */
int32_t chronik_close(uint64_t engine);

/* Jobs (CHRONIK_OP_JOB): JSON {"op": NAME, …} plus raw bytes in; result = u32 json_len, json, raw.
 * A failed job's or read's result is the same envelope with JSON {"error": text} (fetch or discard it).
 * A job that names a log takes its handle from the command's header, or from "log" when that is 0.
 * seal, truncate and close_log run in submit order with the log's appends; all others run beside.
 * Offsets are JSON numbers. A relative path lies under data_dir; ".." is INVALID_ARGUMENT.
 * An unknown op or field of the wrong type is INVALID_ARGUMENT.
 *
 * open_log    {dir, prefix, log_id (32 hex), partition, from_offset?, kind: "batches"|"journal",
 *             segment_bytes_max?, next_segment_id?}
 *             Creates dir when missing. Recovers: footers of sealed segments, scan of the active one.
 *             from_offset is the end of the durable checkpoint: a log that ends below it is damaged.
 *             next_segment_id counts only where no segment file exists. EXISTS: open already.
 *             → {log, log_start, log_end, segments: [segment…], epochs: [[epoch, start_offset]…] (all
 *             frames at or past from_offset), cut_bytes, damaged: null | {file, position, reason},
 *             clean: bool, producers: N, next_segment_id} raw: N × 48-byte entries of batches with
 *             a producer id at or past from_offset in offset order {i64 producer_id, i16 epoch, u16
 *             attributes, i32 base_seq, i32 last_seq, i32 coordinator_epoch, i64 base_offset, i64
 *             last_offset, i64 max_timestamp} (packed: 8+2+2+4+4+4+8+8+8). Of control batches
 *             last_seq says the kind (0 abort, 1 commit, -1 another or cleaned away);
 *             coordinator_epoch is -1 elsewhere.
 *             segment = {id, base, last, bytes, records, max_timestamp, sealed, cleaned,
 *             first_append_ms}; bytes = frames, without the footer; max_timestamp -1 = none
 *             No segments: log_start = log_end = from_offset, and the first append may have any base.
 *             A damaged log serves what is valid; appends, seal and truncate answer DAMAGED, reads of
 *             missing offsets DAMAGED (holes) or CORRUPT (bytes).
 * close_log   {log}            seals nothing, writes the clean-stop mark, forgets the handle (CLOSED)
 * seal        {log}            rotates a non-empty active segment → {sealed: segment | null}
 * segments    {log}            → {segments, log_start, log_end}
 * set_segment_bytes {log, bytes_max} another size at which segments are closed, from the next append
 *             on → {}
 * release     {log, ids: []}   unlinks sealed segments, which must be the oldest ones (else
 *             INVALID_ARGUMENT; ids already gone are skipped), fsyncs the directory after each
 *             → {bytes, log_start}
 * truncate    {log, to_offset} drops every batch whose last offset is at or past to_offset (cluster;
 *             tests) → {log_end}
 * read_time   {log, from_offset, offset_limit, target} → {offset, timestamp, epoch} | {offset: -1}
 *             first record with timestamp >= target; target -1: the record with the largest timestamp
 * read_headers{log, from_offset, offset_limit, batches_max} → {batches, next_offset} raw: 61-byte
 *             batch headers
 * verify_log  {dir, prefix, log_id, partition, kind} reads a log's files, open or not; changes nothing
 *             → {report: {segments, bytes, records, findings: [{file, position, reason,
 *             first_offset|null, last_offset|null}] (100 at most), more}}
 * clean       {log, keep_from?, stable_end?, aborted?: [{producer_id, first_offset, last_offset}],
 *             tombstone_age_ms?, now_ms?} compaction of sealed segments that end below keep_from and
 *             stable_end (D8): last record per key stays, offsets stay; tombstones with timestamp
 *             < now_ms - tombstone_age_ms go. Aborted records go; what is at or past stable_end stays
 *             and supersedes nothing; every other transaction committed. A marker that old goes when
 *             no record of its transaction is left and aborted does not name it. → {segments
 *             (rewritten), bytes_before, bytes_after, records_before, records_after}
 * write_file  {path} + raw     durable replace: temp file, fsync, rename, directory fsync; missing
 *             parents are created durably (also by rename and put_file)
 * append_scratch {path, position} + raw  position 0 makes the file new, any other must be its end
 *             (INVALID_ARGUMENT); not durable
 * read_file   {path, position?, length?} → {bytes (of the file)} raw; TOO_LARGE above 256 MiB at once
 * remove_file {path} · make_dir {path} (with parents) · rename {from, to} (fsyncs both parents)
 * remove_dir  {path} with all it holds
 * list_dir    {path} → {entries: [{name, dir, bytes, modified_ms (null: unknown)}]}, sorted by name
 * put_file    {from, to, if_absent?} fsyncs a finished file and moves it into place (EXISTS); across
 *             file systems by a copy
 * disk        {path} → {free_bytes, total_bytes}
 * build_archive {log, from_offset, to_offset (inclusive), path, scratch_dir? (data_dir/tmp), spec {topic,
 *             topic_id, partition, generation? (1), created_at? (ms), leader_epochs?: [{epoch,
 *             start_offset}], aborted?: [{producer_id, first_offset, last_offset}],
 *             producer_snapshot?: text, index?: "full"|"text"|"keys"|"none"|"pending"}}
 *             → {path, size, sha256, toc_position, toc_length, base_offset, last_offset, records,
 *             batches, raw_bytes, min_timestamp, max_timestamp, timestamps_exact, chunks, index_bytes,
 *             documents, unindexed_records, truncated_values, aborted (ranges named), batches_sha256,
 *             build_cpu_ms | null}
 *             from_offset and to_offset must be batch borders (INVALID_ARGUMENT).
 * rewrite_archive {sources: [path…] in offset order (at most 1024), path, scratch_dir? (data_dir/tmp),
 *             index: "merge" (the sources' indexes joined; they are of one mode) | a mode (built anew),
 *             spec {topic, topic_id, partition, generation (above the sources'), created_at? (ms),
 *             base_offset, last_offset (exactly what the sources cover), leader_epochs?, aborted?,
 *             producer_snapshot? (as above; absent: the sources' union, the last one's snapshot)}}
 *             → as build_archive; batches are copied as they are. A damaged source is CORRUPT, with
 *             its number, the chunk and its offsets in the text.
 * map_keys    {source (an archive), map (scratch file), from_offset? (a new map that begins there; else
 *             the file's goes on), keys_max?} → {end, keys, full}: the last offset of every key below
 *             end, in the file; full: the source has more keys than fit, and end lies within it
 * compact_archive {as rewrite_archive, clean {map (map_keys'), now_ms?, delete_retention_ms,
 *             writing? [producer ids with records since their last marker, before the sources],
 *             always?}} → {archive (as build_archive) | null, bytes_before, records_before, writing
 *             (the same behind the sources)}. Of each key below the map's end the last record stays;
 *             offsets stay; the last batch stays, if empty. null: everything stays, and always was
 *             not asked for. The aborts of the sources' manifests decide; the new manifest names
 *             those of which the sources still had records.
 * verify_archive {path, expected?: {size?, sha256?, topic_id?, partition?, generation?, base_offset?,
 *             last_offset?, records?, batches_sha256?}} → {report: {manifest, toc, toc_position,
 *             toc_length, toc_crc32c, size, sha256}} | CORRUPT
 * read_manifest {path} or {} + raw (an archive's first bytes) → {manifest}
 * inflate_chunk {raw_len, crc32c} + raw (the chunk's member) → {bytes} raw batches
 * read_toc    {archive_bytes} + raw (the archive's last bytes, from the TOC's position or before it)
 *             → {toc, toc_position, toc_length}; OUT_OF_RANGE with the position when raw is too short
 * find_time   {target, from_offset?} + raw batches → {offset, timestamp, epoch} | {offset: -1} (as read_time)
 * validate    {} + raw batch → {max_timestamp, keyless: bool, record_count, records_bytes} | status
 *             CHRONIK_BATCH_*
 * recompress  {codec: 0..4 or name, level?, batch_bytes_max} + raw batch → {max_timestamp, keyless,
 *             record_count, records_bytes, batch_bytes} raw batch of the same records in that codec,
 *             none when batch_bytes is more than batch_bytes_max | status CHRONIK_BATCH_*
 * decompress  {codec: 0..4 or name, bytes_max} + raw → {bytes} raw
 * stats       {} → {fsyncs, groups, queued_appends, queued_bytes, queued_jobs, completions, results,
 *             files_open, logs}
 * stop_builds {} → {}         archive builds and rewrites under way and to come give up with CLOSED (a
 *             stop)
 * fault_point {name} passes a kill point (feature fp; else NOT_FOUND) */
#endif
