//! Reads the batches of a local archive in offset order, chunk by chunk.
//!
//! Nothing is handed on before its chunk's CRC-32C, its batch's CRC and its place were checked;
//! the end is only reached when the whole also has the SHA-256 that the manifest names.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::format::{
    BATCHES_NAME, CHUNK_RAW_BYTES_MAX, ChunkEntry, INDEX_PREFIX, IndexFileEntry, LOCATOR_BYTES,
    MANIFEST_BYTES_MAX, Manifest, Member, TOC_BYTES_MAX, Toc,
};
use super::gzip::MemberReader;
use super::reader::{inflate_chunk, locate_toc, read_toc};
use crate::record::{Batch, Origin, batches, validate_header};

/// An archive whose manifest and TOC agree, read at most one chunk at a time.
pub struct SourceArchive {
    path: PathBuf,
    file: File,
    manifest: Manifest,
    toc: Toc,
}

impl SourceArchive {
    /// Reads locator, TOC and manifest, and checks each against the one before it.
    pub fn open(path: &Path) -> Result<SourceArchive, ArchiveError> {
        let file = File::open(path).map_err(ArchiveError::io("open", path))?;
        let size = file
            .metadata()
            .map_err(ArchiveError::io("look at", path))?
            .len();
        let locator_at = size
            .checked_sub(LOCATOR_BYTES as u64)
            .ok_or_else(|| ArchiveError::damaged("shorter than a locator"))?;
        let tail = read_range(&file, path, locator_at, LOCATOR_BYTES as u64)?;
        let location = locate_toc(&tail, size)?;
        check_member_length(location.length, TOC_BYTES_MAX as u64)?;
        let member = read_range(&file, path, location.position, location.length)?;
        let toc = read_toc(&member, &location)?;
        let manifest = read_manifest_of(&file, path, &toc)?;
        let source = SourceArchive {
            path: path.to_path_buf(),
            file,
            manifest,
            toc,
        };
        source.check_agreement()?;
        Ok(source)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// SHA-256 of the batches, hex, as the manifest names it.
    pub fn batches_sha256(&self) -> &str {
        self.manifest.members.first().map_or("", |m| &m.sha256)
    }

    /// Gives every batch in order. Errors of the archive name its chunk and offsets; those of
    /// `visit` pass through. Batches were given when a wrong SHA-256 of the whole shows at the end:
    /// what is made of them counts only once this returns.
    pub fn for_each_batch<E: From<ArchiveError>>(
        &self,
        mut visit: impl FnMut(&Batch<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hash = Sha256::new();
        let mut place = Place::default();
        for (number, chunk) in self.toc.batches.chunks.iter().enumerate() {
            let in_chunk = |source| in_chunk(number, chunk, source);
            let bytes = self.chunk(chunk).map_err(in_chunk)?;
            hash.update(&bytes);
            for batch in batches(&bytes) {
                let batch = place
                    .check(batch, chunk, &self.manifest)
                    .map_err(in_chunk)?;
                visit(&batch)?;
            }
            if place.last_offset != chunk.last_offset {
                return Err(in_chunk(ArchiveError::damaged("its last offset is another")).into());
            }
        }
        if place.batches != self.manifest.batches || place.records != self.manifest.records {
            return Err(ArchiveError::damaged("the batches do not add up").into());
        }
        if format!("{:x}", hash.finalize()) != self.batches_sha256() {
            return Err(ArchiveError::damaged("sha256 of the batches").into());
        }
        Ok(())
    }

    /// Lays the files of `index/` into `folder`, which exists and is empty; checks their hashes.
    pub fn extract_index(&self, folder: &Path) -> Result<(), ArchiveError> {
        let members = self.manifest.members.iter().skip(1);
        for (entry, member) in self.toc.index.files.iter().zip(members) {
            let path = folder.join(&entry.name);
            self.extract(entry, member, &path)?;
        }
        Ok(())
    }

    fn chunk(&self, entry: &ChunkEntry) -> Result<Vec<u8>, ArchiveError> {
        check_member_length(entry.length, CHUNK_RAW_BYTES_MAX as u64)?;
        let member = read_range(&self.file, &self.path, entry.position, entry.length)?;
        inflate_chunk(&member, entry.bytes, entry.crc32c)
    }

    fn extract(
        &self,
        entry: &IndexFileEntry,
        member: &Member,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let file = File::create(path).map_err(ArchiveError::io("create", path))?;
        let mut sink = HashedFile {
            file,
            hash: Sha256::new(),
        };
        let range = RangeReader {
            file: &self.file,
            position: entry.position,
            left: entry.length,
        };
        let copied = MemberReader::without_hash(range).copy_member(entry.bytes, &mut sink)?;
        if copied != entry.bytes || format!("{:x}", sink.hash.finalize()) != member.sha256 {
            return Err(ArchiveError::damaged(format!(
                "{} is not what the manifest names",
                member.name
            )));
        }
        Ok(())
    }

    fn check_agreement(&self) -> Result<(), ArchiveError> {
        let Manifest { members, .. } = &self.manifest;
        let batches_agree = members
            .first()
            .is_some_and(|m| m.name == BATCHES_NAME && m.bytes == self.toc.batches.bytes);
        let index_agrees = members
            .iter()
            .skip(1)
            .map(|m| (m.name.strip_prefix(INDEX_PREFIX), m.bytes))
            .eq(self
                .toc
                .index
                .files
                .iter()
                .map(|f| (Some(f.name.as_str()), f.bytes)));
        let has_index = self.manifest.index.has_index() == (members.len() > 1);
        if batches_agree
            && index_agrees
            && has_index
            && self.manifest.bytes == self.toc.batches.bytes
        {
            return Ok(());
        }
        Err(ArchiveError::damaged("toc.json and manifest.json disagree"))
    }
}

/// Where the last batch stood.
struct Place {
    last_offset: i64,
    batches: u64,
    records: u64,
}

impl Default for Place {
    fn default() -> Self {
        Place {
            last_offset: -1,
            batches: 0,
            records: 0,
        }
    }
}

impl Place {
    fn check<'a>(
        &mut self,
        batch: Result<Batch<'a>, crate::record::BatchError>,
        chunk: &ChunkEntry,
        manifest: &Manifest,
    ) -> Result<Batch<'a>, ArchiveError> {
        let first_allowed = match self.batches {
            0 => manifest.base_offset,
            _ => self.last_offset + 1,
        };
        let at = |source| ArchiveError::Batch {
            offset: first_allowed,
            source,
        };
        let batch = batch.map_err(at)?;
        validate_header(batch.bytes, Origin::Log).map_err(at)?;
        let header = &batch.header;
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        let fits = match manifest.generation {
            1 => base_offset == first_allowed,
            _ => base_offset >= first_allowed,
        };
        if !fits || base_offset < chunk.base_offset || last_offset > chunk.last_offset {
            return Err(ArchiveError::NotContiguous {
                base_offset,
                expected: first_allowed.max(chunk.base_offset),
            });
        }
        if last_offset > manifest.last_offset {
            return Err(ArchiveError::damaged("a batch passes the archive's range"));
        }
        self.last_offset = last_offset;
        self.batches += 1;
        self.records += u64::try_from(header.record_count).unwrap_or(0);
        Ok(batch)
    }
}

fn in_chunk(chunk: usize, entry: &ChunkEntry, source: ArchiveError) -> ArchiveError {
    ArchiveError::Chunk {
        chunk,
        base_offset: entry.base_offset,
        last_offset: entry.last_offset,
        source: Box::new(source),
    }
}

fn read_manifest_of(file: &File, path: &Path, toc: &Toc) -> Result<Manifest, ArchiveError> {
    let entry = &toc.manifest;
    check_member_length(entry.length, MANIFEST_BYTES_MAX as u64)?;
    let member = read_range(file, path, entry.position, entry.length)?;
    let json = MemberReader::without_hash(member.as_slice()).read_member(entry.bytes)?;
    if format!("{:x}", Sha256::digest(&json)) != entry.sha256 {
        return Err(ArchiveError::damaged("sha256 of manifest.json"));
    }
    Manifest::parse(&json)
}

/// A stated length is not allocated before it can be true: deflate never grows data this much.
fn check_member_length(length: u64, raw_bytes_max: u64) -> Result<(), ArchiveError> {
    if length > raw_bytes_max + raw_bytes_max / 8 + 1024 {
        return Err(ArchiveError::damaged(format!("a member of {length} bytes")));
    }
    Ok(())
}

fn read_range(
    file: &File,
    path: &Path,
    position: u64,
    length: u64,
) -> Result<Vec<u8>, ArchiveError> {
    let bytes = usize::try_from(length).map_err(|_| ArchiveError::damaged("a member's length"))?;
    let mut range = vec![0u8; bytes];
    file.read_exact_at(&mut range, position)
        .map_err(ArchiveError::io("read", path))?;
    Ok(range)
}

struct RangeReader<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl std::io::Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(window) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = self.file.read_at(window, self.position)?;
        self.position += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

struct HashedFile {
    file: File,
    hash: Sha256,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
