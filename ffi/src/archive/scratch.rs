//! A folder of scratch that goes away with its owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ArchiveError;

static NEXT: AtomicU64 = AtomicU64::new(0);

pub struct ScratchFolder {
    path: PathBuf,
}

impl ScratchFolder {
    /// Makes a new folder in `parent`; its name is unique on the machine.
    pub fn create(parent: &Path) -> Result<ScratchFolder, ArchiveError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("archive-{}-{number}", std::process::id()));
        fs::create_dir_all(parent).map_err(ArchiveError::io("create", parent))?;
        // A process of the same id may have died here.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(ArchiveError::io("clear", &path))?;
        }
        fs::create_dir(&path).map_err(ArchiveError::io("create", &path))?;
        Ok(ScratchFolder { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What stays behind is removed at the next start, with all scratch.
        let _ = fs::remove_dir_all(&self.path);
    }
}
