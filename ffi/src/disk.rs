//! The file operations the engine uses, as a trait, so that one shim sees every durable byte.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// How [`Disk::open`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, read only.
    Read,
    /// Existing file, read and write.
    ReadWrite,
    /// New file, read and write; fails when it exists.
    CreateNew,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    pub bytes: u64,
    /// Last change, ms since 1970; None where the file system does not say.
    pub modified_ms: Option<u64>,
}

/// Free and total bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// An open file. Reads and writes may be short, as the system's are.
pub trait DiskFile: Send + Sync {
    fn read_at(&self, out: &mut [u8], position: u64) -> io::Result<usize>;
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    fn sync_data(&self) -> io::Result<()>;
    fn sync_all(&self) -> io::Result<()>;
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Reserves space and extends the file; Unsupported where the file system cannot.
    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()>;
    fn bytes(&self) -> io::Result<u64>;
}

/// A file system.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// As rename, but fails with AlreadyExists when `to` is there.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn is_dir(&self, path: &Path) -> bool;
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// The real file system.
pub struct RealDisk;

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, out: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(out, position)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, parts, position)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        retry_interrupted(|| Ok(rustix::fs::fallocate(&self.0, flags, position, bytes)?))
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match entry.metadata() {
                Ok(meta) => {
                    let (is_dir, bytes) = (meta.is_dir(), meta.len());
                    entries.push(Entry {
                        name,
                        is_dir,
                        bytes,
                        modified_ms: modified_ms(&meta),
                    });
                }
                // Removed between the listing and the look: as if it was never listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Some network and stacked file systems lack the flag; a hard link refuses as well.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                std::fs::hard_link(from, to)?;
                std::fs::remove_file(from)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(File::open(path)?)?)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

fn modified_ms(meta: &std::fs::Metadata) -> Option<u64> {
    let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn retry_interrupted<T>(mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match run() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Fills `out` from `position`; returns fewer bytes only at the end of the file.
pub fn read_full(file: &dyn DiskFile, out: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match retry_interrupted(|| file.read_at(rest, position + done as u64))? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// Vectors a single write call takes (IOV_MAX on Linux).
const VECTORS_MAX: usize = 1024;
/// A regular file that keeps answering EAGAIN is broken, not busy.
const WOULD_BLOCK_MAX: u32 = 1000;

/// Writes all parts in order from `position`, going on after short and interrupted writes.
pub fn write_all(file: &dyn DiskFile, parts: &[&[u8]], position: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest: &mut [IoSlice<'_>] = &mut slices;
    let mut at = position;
    let mut blocked = 0;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let batch = rest.get(..VECTORS_MAX).unwrap_or(rest);
        match file.write_vectored_at(batch, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                at += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                blocked += 1;
                if blocked > WOULD_BLOCK_MAX {
                    return Err(error);
                }
                std::thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// True for a full disk and an exhausted quota: the two errors a log survives.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// True when the process or the system has no file descriptor left: nothing was touched.
pub fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let number = error.raw_os_error();
    number == Some(Errno::MFILE.raw_os_error()) || number == Some(Errno::NFILE.raw_os_error())
}

/// Creates `path` and its missing parents, each made durable in the directory above it.
pub fn create_dirs(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || disk.is_dir(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    create_dirs(disk, parent)?;
    match disk.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && disk.is_dir(path) => Ok(()),
        Err(error) => Err(error),
        Ok(()) if parent.as_os_str().is_empty() => disk.sync_dir(Path::new(".")),
        Ok(()) => disk.sync_dir(parent),
    }
}
