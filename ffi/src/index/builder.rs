//! Builds one Tantivy segment from records in offset order, in bounded memory.
//!
//! Slices of 48 MB of writer memory are laid down one by one and joined at the end, so that a
//! document's number follows its offset.

use std::fs;
use std::path::{Path, PathBuf};

use tantivy::indexer::{SingleSegmentIndexWriter, merge_indices};
use tantivy::schema::Schema;
use tantivy::{Index, IndexSettings};

use super::directory::ScratchDirectory;
use super::document::RecordDocument;
use super::json::{JsonTree, Paths, parse_object};
use super::schema::{SearchFields, date_of, key_term, search_schema};
use super::{IndexError, IndexMode};
use crate::record::Record;

/// Memory of the writer at which a slice is cut.
pub const INDEX_MEMORY_BYTES: usize = 48_000_000;
/// Of a longer value only the beginning is tokenized, and it is not read as JSON.
pub const VALUE_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The writer adds up its memory over all columns: not after each record.
const MEMORY_CHECK_BYTES: usize = 64 * 1024;
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A file of a finished index, to be put into `index/`.
#[derive(Debug, Clone)]
pub struct IndexFile {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
}

/// A finished index; `files` is sorted by name and holds all that stock Tantivy needs.
#[derive(Debug)]
pub struct IndexOutput {
    pub files: Vec<IndexFile>,
    pub documents: u64,
    /// Values whose text was cut at `VALUE_TEXT_BYTES_MAX`.
    pub truncated_values: u64,
    pub slices: usize,
}

/// Takes records in offset order; `finish` leaves the files under the scratch directory.
pub struct IndexBuilder {
    mode: IndexMode,
    scratch: PathBuf,
    schema: Schema,
    fields: SearchFields,
    memory_bytes: usize,
    slices: Vec<Index>,
    slices_started: usize,
    writer: Option<SingleSegmentIndexWriter<RecordDocument>>,
    bytes_since_check: usize,
    paths: Paths,
    documents: u64,
    truncated_values: u64,
    previous_offset: i64,
}

impl IndexBuilder {
    /// `scratch` is an existing folder of this builder's own; the caller removes it afterwards.
    pub fn new(mode: IndexMode, scratch: &Path, memory_bytes: usize) -> IndexBuilder {
        let (schema, fields) = search_schema();
        IndexBuilder {
            mode,
            scratch: scratch.to_path_buf(),
            schema,
            fields,
            memory_bytes,
            slices: Vec::new(),
            slices_started: 0,
            writer: None,
            bytes_since_check: 0,
            paths: Paths::default(),
            documents: 0,
            truncated_values: 0,
            previous_offset: -1,
        }
    }

    /// Adds one record. Nothing of it is decoded lossily: a value that is not UTF-8 has no text.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), IndexError> {
        let offset = match u64::try_from(record.offset) {
            Ok(offset) if record.offset > self.previous_offset => offset,
            _ => {
                return Err(IndexError::Order {
                    offset: record.offset,
                    previous: self.previous_offset,
                });
            }
        };
        self.previous_offset = record.offset;
        let document = self.document_of(record, offset);
        if self.writer.is_none() {
            self.writer = Some(self.start_slice()?);
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.add_document(document)?;
        self.documents += 1;
        self.bytes_since_check += RECORD_OVERHEAD_BYTES
            + record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len);
        if self.bytes_since_check >= MEMORY_CHECK_BYTES {
            self.bytes_since_check = 0;
            if writer.mem_usage() + self.paths.slice_bytes() > self.memory_bytes {
                self.end_slice()?;
            }
        }
        Ok(())
    }

    /// Joins the slices into one segment; no record at all still makes a valid, empty index.
    pub fn finish(mut self) -> Result<IndexOutput, IndexError> {
        if self.writer.is_none() && self.slices.is_empty() {
            self.writer = Some(self.start_slice()?);
        }
        self.end_slice()?;
        let slices = self.slices.len();
        let folder = if slices == 1 {
            self.slice_folder(1)
        } else {
            let folder = self.scratch.join("merged");
            merge_indices(&self.slices, ScratchDirectory::create(&folder)?)?;
            self.slices.clear();
            for number in 1..=self.slices_started {
                fs::remove_dir_all(self.slice_folder(number))?;
            }
            folder
        };
        Ok(IndexOutput {
            files: list_files(&folder)?,
            documents: self.documents,
            truncated_values: self.truncated_values,
            slices,
        })
    }

    fn start_slice(&mut self) -> Result<SingleSegmentIndexWriter<RecordDocument>, IndexError> {
        self.slices_started += 1;
        self.paths.start_slice();
        self.bytes_since_check = 0;
        let directory = ScratchDirectory::create(&self.slice_folder(self.slices_started))?;
        let settings = IndexSettings {
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let writer = Index::builder()
            .schema(self.schema.clone())
            .settings(settings)
            .single_segment_index_writer(directory, self.memory_bytes)?;
        Ok(writer)
    }

    fn end_slice(&mut self) -> Result<(), IndexError> {
        if let Some(writer) = self.writer.take() {
            self.slices.push(writer.finalize()?);
        }
        Ok(())
    }

    fn slice_folder(&self, number: usize) -> PathBuf {
        self.scratch.join(format!("slice-{number}"))
    }

    fn document_of(&mut self, record: &Record<'_>, offset: u64) -> RecordDocument {
        let mut document = RecordDocument {
            fields: self.fields,
            offset,
            timestamp: date_of(record.timestamp),
            key: record.key.map(|key| key_term(key).into_owned()),
            value: None,
            json: None,
            headers: None,
        };
        if self.mode == IndexMode::Keys {
            return document;
        }
        if let Some(Ok(text)) = record.value.map(std::str::from_utf8) {
            let cut = text.len() > VALUE_TEXT_BYTES_MAX;
            self.truncated_values += u64::from(cut);
            if self.mode == IndexMode::Full && !cut {
                document.json = parse_object(text, &mut self.paths);
            }
            document.value = Some(beginning_of(text, VALUE_TEXT_BYTES_MAX).to_owned());
        }
        if self.mode == IndexMode::Full {
            document.headers = headers_of(record);
        }
        document
    }
}

/// The longest beginning of at most `bytes_max` bytes that ends between two characters.
fn beginning_of(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn headers_of(record: &Record<'_>) -> Option<JsonTree> {
    let pairs = record.headers.filter_map(|header| {
        let key = std::str::from_utf8(header.key).ok()?;
        let value = std::str::from_utf8(header.value?).ok()?;
        Some((key, value))
    });
    JsonTree::of_pairs(pairs)
}

/// Tantivy's own bookkeeping (dot files) is left out: it is rebuilt where it is missing.
pub(super) fn list_files(folder: &Path) -> Result<Vec<IndexFile>, IndexError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            files.push(IndexFile {
                name,
                path: entry.path(),
                bytes: entry.metadata()?.len(),
            });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
