//! Durable file operations (design D16): everything the broker writes outside its logs.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::{JobError, Output};
use crate::disk::{Disk, DiskFile, OpenMode, create_dirs, is_out_of_files, read_full, write_all};
use crate::engine::Core;
use crate::status::{Status, status_of_io};

/// `read_file` without a length answers at most this.
const READ_BYTES_MAX: u64 = 256 << 20;
const COPY_BYTES: usize = 1 << 20;

fn failed(verb: &str, path: &Path, error: &io::Error) -> JobError {
    JobError::new(
        status_of_io(error),
        format!("{verb} {}: {error}", path.display()),
    )
}

/// A relative path lies under the data directory; `..` is refused.
pub fn resolve(core: &Core, path: &str) -> Result<PathBuf, JobError> {
    let given = Path::new(path);
    let climbs = given.components().any(|part| part == Component::ParentDir);
    if path.is_empty() || path.contains('\0') || climbs {
        return Err(JobError::new(
            Status::InvalidArgument,
            format!("path {path:?}"),
        ));
    }
    Ok(core.config.data_dir.join(given))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A scratch name: in the data directory's `tmp` for paths below it, else beside the target.
fn scratch(core: &Core, path: &Path) -> PathBuf {
    let name = scratch_name(core);
    if path.starts_with(&core.config.data_dir) {
        core.config.data_dir.join("tmp").join(name)
    } else {
        parent(path).join(name)
    }
}

fn disk_of(core: &Core) -> &dyn Disk {
    core.wal.files.disk.as_ref()
}

/// A failed fsync may have dropped the bytes for good: never retried, never survived.
fn sync(core: &Core, path: &Path, synced: io::Result<()>) -> Result<(), JobError> {
    synced.map_err(|error| {
        core.wal
            .poison
            .poison(&format!("fsync {}: {error}", path.display()))
            .into()
    })
}

fn sync_dir(core: &Core, dir: &Path) -> Result<(), JobError> {
    match core.wal.files.with_room(|| disk_of(core).sync_dir(dir)) {
        // No descriptor to sync with: no fsync failed, and nothing is claimed to be durable.
        Err(error) if is_out_of_files(&error) => Err(failed("open", dir, &error)),
        synced => sync(core, dir, synced),
    }
}

/// A new scratch file; one that a crashed process of the same id left behind gives way.
fn create_scratch(core: &Core, path: &Path) -> Result<Arc<dyn DiskFile>, JobError> {
    let disk = disk_of(core);
    let mut created = disk.open(path, OpenMode::CreateNew);
    if created
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    {
        disk.remove_file(path)
            .map_err(|error| failed("unlink", path, &error))?;
        created = disk.open(path, OpenMode::CreateNew);
    }
    created.map_err(|error| failed("create", path, &error))
}

fn write_synced(core: &Core, path: &Path, raw: &[u8]) -> Result<(), JobError> {
    let file = create_scratch(core, path)?;
    write_all(file.as_ref(), &[raw], 0).map_err(|error| failed("write", path, &error))?;
    fp!("write_file_after_write");
    sync(core, path, file.sync_all())
}

/// Replaces a file: it holds the old bytes or the new, whatever happens.
pub fn write_file(core: &Core, path: &str, raw: &[u8]) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let disk = disk_of(core);
    let dirs = create_dirs(disk, parent(&path));
    dirs.map_err(|error| failed("create", parent(&path), &error))?;
    let temp = scratch(core, &path);
    let written = write_synced(core, &temp, raw).and_then(|()| {
        fp!("write_file_before_rename");
        disk.rename(&temp, &path)
            .map_err(|error| failed("rename to", &path, &error))
    });
    if let Err(error) = written {
        // Best effort: the scratch folder is emptied at the next start anyway.
        let _ = disk.remove_file(&temp);
        return Err(error);
    }
    fp!("write_file_after_rename");
    sync_dir(core, parent(&path))?;
    Ok(Output::default())
}

/// Appends to a scratch file, which position 0 makes new; any other position must be its end. Not
/// durable: what it holds can be fetched again.
pub fn append_scratch(
    core: &Core,
    path: &str,
    position: u64,
    raw: &[u8],
) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let file = if position == 0 {
        create_scratch(core, &path)?
    } else {
        let opened = disk_of(core).open(&path, OpenMode::ReadWrite);
        opened.map_err(|error| failed("open", &path, &error))?
    };
    let end = file
        .bytes()
        .map_err(|error| failed("stat", &path, &error))?;
    if end != position {
        let text = format!("{} ends at {end}, not at {position}", path.display());
        return Err(JobError::new(Status::InvalidArgument, text));
    }
    write_all(file.as_ref(), &[raw], position).map_err(|error| failed("write", &path, &error))?;
    Ok(Output::default())
}

/// Reads a file or a part of it.
pub fn read_file(
    core: &Core,
    path: &str,
    position: u64,
    length: Option<u64>,
) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let opened = disk_of(core).open(&path, OpenMode::Read);
    let file = opened.map_err(|error| failed("open", &path, &error))?;
    let bytes = file
        .bytes()
        .map_err(|error| failed("stat", &path, &error))?;
    let count = length
        .unwrap_or(u64::MAX)
        .min(bytes.saturating_sub(position));
    if count > READ_BYTES_MAX {
        let text = format!("{}: {count} bytes at once", path.display());
        return Err(JobError::new(Status::TooLarge, text));
    }
    let mut raw = vec![0; usize::try_from(count).unwrap_or(0)];
    let got = read_full(file.as_ref(), &mut raw, position)
        .map_err(|error| failed("read", &path, &error))?;
    raw.truncate(got);
    Ok(Output {
        json: json!({ "bytes": bytes }),
        raw,
    })
}

/// Unlinks a file, durably.
pub fn remove_file(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    disk_of(core)
        .remove_file(&path)
        .map_err(|error| failed("unlink", &path, &error))?;
    sync_dir(core, parent(&path))?;
    Ok(Output::default())
}

/// Creates a directory and its missing parents, durably.
pub fn make_dir(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let made = create_dirs(disk_of(core), &path);
    made.map_err(|error| failed("create", &path, &error))?;
    Ok(Output::default())
}

/// Renames a file or directory, durable in both parents.
pub fn rename(core: &Core, from: &str, to: &str) -> Result<Output, JobError> {
    let (from, to) = (resolve(core, from)?, resolve(core, to)?);
    let disk = disk_of(core);
    let dirs = create_dirs(disk, parent(&to));
    dirs.map_err(|error| failed("create", parent(&to), &error))?;
    disk.rename(&from, &to)
        .map_err(|error| failed("rename", &from, &error))?;
    sync_dir(core, parent(&to))?;
    if parent(&from) != parent(&to) {
        sync_dir(core, parent(&from))?;
    }
    Ok(Output::default())
}

/// Removes a directory with all it holds, durably.
pub fn remove_dir(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    if path == core.config.data_dir || parent(&path) == path {
        let text = format!("{} is not removed", path.display());
        return Err(JobError::new(Status::InvalidArgument, text));
    }
    disk_of(core)
        .remove_dir_all(&path)
        .map_err(|error| failed("remove", &path, &error))?;
    sync_dir(core, parent(&path))?;
    Ok(Output::default())
}

/// Names, kinds and sizes in a directory.
pub fn list_dir(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let entries = disk_of(core).read_dir(&path);
    let entries = entries.map_err(|error| failed("list", &path, &error))?;
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "dir": entry.is_dir,
                "bytes": entry.bytes,
                "modified_ms": entry.modified_ms,
            })
        })
        .collect();
    Ok(Output::of(json!({ "entries": entries })))
}

/// Moves a finished file into place; with `if_absent` an existing target is EXISTS and stays.
pub fn put_file(core: &Core, from: &str, to: &str, if_absent: bool) -> Result<Output, JobError> {
    let (from, to) = (resolve(core, from)?, resolve(core, to)?);
    let disk = disk_of(core);
    let dirs = create_dirs(disk, parent(&to));
    dirs.map_err(|error| failed("create", parent(&to), &error))?;
    let source = disk
        .open(&from, OpenMode::ReadWrite)
        .map_err(|error| failed("open", &from, &error))?;
    sync(core, &from, source.sync_all())?;
    fp!("put_file_before_rename");
    let place = |from: &Path| {
        if if_absent {
            disk.rename_new(from, &to)
        } else {
            disk.rename(from, &to)
        }
    };
    match place(&from) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let temp = parent(&to).join(scratch_name(core));
            let moved = copy(core, source.as_ref(), &temp)
                .and_then(|()| place(&temp).map_err(|error| failed("rename to", &to, &error)));
            if let Err(error) = moved {
                // Best effort; the name says that it is scratch.
                let _ = disk.remove_file(&temp);
                return Err(error);
            }
            sync_dir(core, parent(&to))?;
            disk.remove_file(&from)
                .map_err(|error| failed("unlink", &from, &error))?;
        }
        Err(error) => return Err(failed("rename to", &to, &error)),
        Ok(()) => sync_dir(core, parent(&to))?,
    }
    fp!("put_file_after_rename");
    if parent(&from) != parent(&to) {
        sync_dir(core, parent(&from))?;
    }
    Ok(Output::default())
}

fn scratch_name(core: &Core) -> String {
    let number = core.next_temp.fetch_add(1, Ordering::Relaxed);
    format!(".{}-{number}.tmp", std::process::id())
}

fn copy(core: &Core, source: &dyn DiskFile, to: &Path) -> Result<(), JobError> {
    let target = create_scratch(core, to)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = 0;
    loop {
        let got = read_full(source, &mut buffer, position)
            .map_err(|error| failed("read for", to, &error))?;
        let Some(part) = buffer.get(..got).filter(|part| !part.is_empty()) else {
            break;
        };
        write_all(target.as_ref(), &[part], position)
            .map_err(|error| failed("write", to, &error))?;
        position += got as u64;
    }
    sync(core, to, target.sync_all())
}

/// Free and total bytes of the file system that holds a path.
pub fn disk(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = resolve(core, path)?;
    let space = disk_of(core)
        .space(&path)
        .map_err(|error| failed("statvfs", &path, &error))?;
    Ok(Output::of(json!({
        "free_bytes": space.free_bytes,
        "total_bytes": space.total_bytes,
    })))
}
