//! Joins finished indexes into one, in the order given: documents keep their order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tantivy::columnar::ColumnarReader;
use tantivy::index::SegmentComponent;
use tantivy::indexer::merge_indices;
use tantivy::schema::Schema;
use tantivy::{Index, TantivyError};

use super::builder::{IndexFile, list_files};
use super::directory::{ScratchDirectory, StopCheck};
use super::schema::search_schema;
use super::{FACT_PATHS_ARCHIVE_MAX, IndexError};

/// How the columns of the field `facts` begin: its name, then Tantivy's separator of paths.
const FACTS_PREFIX: &str = "facts\u{1}";

/// A joined index: one segment, its files sorted by name.
#[derive(Debug)]
pub struct MergedIndex {
    pub files: Vec<IndexFile>,
    pub documents: u64,
}

/// Joins the indexes in `folders` (offset order, extracted from archives) into the new folder
/// `target`, and removes them. None: together they have more fact paths than one archive may, so
/// that the index must be built anew, which keeps the first come.
pub fn merge_indexes(
    folders: &[PathBuf],
    target: &Path,
    stop: &StopCheck,
) -> Result<Option<MergedIndex>, IndexError> {
    let (schema, _) = search_schema();
    let mut indexes = Vec::with_capacity(folders.len());
    let mut paths = BTreeSet::new();
    let mut documents = 0;
    for folder in folders {
        let index = open_index(folder, &schema)?;
        documents += look_into(&index, &mut paths)?;
        if paths.len() > FACT_PATHS_ARCHIVE_MAX {
            return Ok(None);
        }
        indexes.push(index);
    }
    let directory = ScratchDirectory::create_stoppable(target, stop.clone())?;
    let merged = merge_indices(&indexes, directory)?;
    let found = documents_of(&merged)?;
    if found != documents {
        return Err(IndexError::Documents {
            found,
            expected: documents,
        });
    }
    drop(indexes);
    for folder in folders {
        fs::remove_dir_all(folder)?;
    }
    let files = list_files(target)?;
    Ok(Some(MergedIndex { files, documents }))
}

fn open_index(folder: &Path, schema: &Schema) -> Result<Index, IndexError> {
    let index = Index::open(ScratchDirectory::open(folder)?)?;
    if index.schema() == *schema {
        Ok(index)
    } else {
        Err(IndexError::Schema)
    }
}

fn documents_of(index: &Index) -> Result<u64, IndexError> {
    let metas = index.searchable_segment_metas()?;
    Ok(metas.iter().map(|meta| u64::from(meta.num_docs())).sum())
}

/// Counts the documents, and collects the columns of `facts` until they are too many.
fn look_into(index: &Index, paths: &mut BTreeSet<String>) -> Result<u64, IndexError> {
    for segment in index.searchable_segments()? {
        let file = segment
            .open_read(SegmentComponent::FastFields)
            .map_err(TantivyError::from)?;
        for (name, _) in ColumnarReader::open(file)?.iter_columns()? {
            if name.starts_with(FACTS_PREFIX) && paths.len() <= FACT_PATHS_ARCHIVE_MAX {
                paths.insert(name);
            }
        }
    }
    documents_of(index)
}
