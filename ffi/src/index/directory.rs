//! A Tantivy directory for scratch: plain writes without fsync, reads through a small window.
//!
//! An index under construction is worth nothing after a crash, and its fsyncs would queue before
//! those of the commit path: only the finished archive is synced. And joining slices goes through
//! all of them once, in order: mapped, they would all end up resident.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Directory, HasLen};

use super::IndexError;

/// Asked at every write: true lets the write fail, and with it what cannot be stopped otherwise.
#[derive(Clone)]
pub struct StopCheck(Arc<dyn Fn() -> bool + Send + Sync>);

impl StopCheck {
    pub fn new(is_stopped: impl Fn() -> bool + Send + Sync + 'static) -> StopCheck {
        StopCheck(Arc::new(is_stopped))
    }

    pub fn never() -> StopCheck {
        StopCheck::new(|| false)
    }

    pub fn is_stopped(&self) -> bool {
        (self.0)()
    }
}

impl std::fmt::Debug for StopCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StopCheck({})", self.is_stopped())
    }
}

#[derive(Debug, Clone)]
pub struct ScratchDirectory {
    root: PathBuf,
    stop: StopCheck,
    /// For all but reads: deletes, locks, existence.
    files: MmapDirectory,
}

impl ScratchDirectory {
    /// Creates `root`, which must not exist yet.
    pub fn create(root: &Path) -> Result<ScratchDirectory, IndexError> {
        ScratchDirectory::create_stoppable(root, StopCheck::never())
    }

    /// The same; writes fail once `stop` says so.
    pub fn create_stoppable(root: &Path, stop: StopCheck) -> Result<ScratchDirectory, IndexError> {
        fs::create_dir(root)?;
        ScratchDirectory::at(root, stop)
    }

    /// A folder that holds an index already.
    pub fn open(root: &Path) -> Result<ScratchDirectory, IndexError> {
        ScratchDirectory::at(root, StopCheck::never())
    }

    fn at(root: &Path, stop: StopCheck) -> Result<ScratchDirectory, IndexError> {
        Ok(ScratchDirectory {
            root: root.to_path_buf(),
            stop,
            files: MmapDirectory::open(root)?,
        })
    }
}

impl Directory for ScratchDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let file = File::open(self.root.join(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_path_buf()),
            _ => OpenReadError::wrap_io_error(error, path.to_path_buf()),
        })?;
        let bytes = file
            .metadata()
            .map_err(|error| OpenReadError::wrap_io_error(error, path.to_path_buf()))?
            .len();
        Ok(Arc::new(WindowedFile {
            file,
            bytes: bytes as usize,
            window: Mutex::new(Window {
                start: 0,
                bytes: OwnedBytes::empty(),
            }),
        }))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.files.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.files.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.root.join(path))
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    OpenWriteError::FileAlreadyExists(path.to_path_buf())
                }
                _ => OpenWriteError::wrap_io_error(error, path.to_path_buf()),
            })?;
        Ok(BufWriter::new(Box::new(UnsyncedFile {
            file,
            stop: self.stop.clone(),
        })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.files.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        fs::write(self.root.join(path), data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.files.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.files.watch(callback)
    }
}

const WINDOW_BYTES: usize = 256 * 1024;

/// A file read in order, now and then with a step back: the last window is kept and shared.
#[derive(Debug)]
struct WindowedFile {
    file: File,
    bytes: usize,
    window: Mutex<Window>,
}

#[derive(Debug, Clone)]
struct Window {
    start: usize,
    bytes: OwnedBytes,
}

impl Window {
    fn get(&self, range: &Range<usize>) -> Option<OwnedBytes> {
        let from = range.start.checked_sub(self.start)?;
        let to = range.end.checked_sub(self.start)?;
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

impl WindowedFile {
    fn read_at(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let mut bytes = vec![0u8; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

impl HasLen for WindowedFile {
    fn len(&self) -> usize {
        self.bytes
    }
}

impl FileHandle for WindowedFile {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.len() >= WINDOW_BYTES {
            return self.read_at(range);
        }
        // A reader that panicked left a whole window behind.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = window.get(&range) {
            return Ok(bytes);
        }
        let end = range.start.saturating_add(WINDOW_BYTES).min(self.bytes);
        window.bytes = self.read_at(range.start..end.max(range.end))?;
        window.start = range.start;
        window
            .get(&range)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

struct UnsyncedFile {
    file: File,
    stop: StopCheck,
}

impl Write for UnsyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_stopped() {
            return Err(io::Error::other("stopped"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TerminatingWrite for UnsyncedFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.file.flush()
    }
}
