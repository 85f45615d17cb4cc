//! A disk over the real one that fails at the Nth call, and that forgets what was not synced.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chronik::disk::{Disk, DiskFile, Entry, OpenMode, RealDisk, Space};

use super::Random;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This call and no other answers the error number.
    Once(i32),
    /// This call and as many of the kind as make the count up.
    Times(u32, i32),
    /// This call and all later changes answer EIO: the process died here.
    Crash,
    /// A write takes only part of the bytes.
    Short,
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Everything that changes the disk.
    Changes,
    Writes,
    Allocations,
    Syncs,
}

enum Undo {
    Bytes { position: u64, old: Vec<u8> },
    Length(u64),
}

#[derive(Default)]
struct State {
    plan: Option<(Calls, u64, Fault)>,
    seen: HashMap<u8, u64>,
    dead: bool,
    undo: HashMap<PathBuf, Vec<Undo>>,
    /// Files created since their directory was synced.
    created: Vec<PathBuf>,
    /// Files unlinked since then, with a link that keeps their bytes.
    unlinked: Vec<(PathBuf, PathBuf)>,
    links: u64,
}

#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
    trash: PathBuf,
}

struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    inner: Arc<dyn DiskFile>,
}

fn class(calls: Calls) -> u8 {
    calls as u8
}

impl FaultyDisk {
    pub fn new(trash: &Path) -> Self {
        std::fs::create_dir_all(trash).unwrap();
        FaultyDisk {
            state: Arc::default(),
            trash: trash.to_owned(),
        }
    }

    /// At the `nth` call of the kind from now on (first = 1) the fault happens.
    pub fn plan(&self, calls: Calls, nth: u64, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        let now = state.seen.get(&class(calls)).copied().unwrap_or(0);
        state.plan = Some((calls, now + nth, fault));
    }

    /// Calls of a kind so far.
    pub fn seen(&self, calls: Calls) -> u64 {
        let state = self.state.lock().unwrap();
        state.seen.get(&class(calls)).copied().unwrap_or(0)
    }

    /// Counts a call; the fault that is due, if any.
    fn pass(&self, calls: Calls) -> io::Result<Option<Fault>> {
        let mut state = self.state.lock().unwrap();
        if state.dead {
            return Err(io::Error::from_raw_os_error(5));
        }
        for kind in [Calls::Changes, calls] {
            if kind == Calls::Changes && calls == Calls::Changes {
                continue;
            }
            *state.seen.entry(class(kind)).or_default() += 1;
        }
        if calls == Calls::Changes {
            *state.seen.entry(class(calls)).or_default() += 1;
        }
        let Some((planned, nth, fault)) = state.plan else {
            return Ok(None);
        };
        let counted = planned == Calls::Changes || planned == calls;
        if !counted || state.seen.get(&class(planned)) != Some(&nth) {
            return Ok(None);
        }
        match fault {
            Fault::Once(number) => {
                state.plan = None;
                Err(io::Error::from_raw_os_error(number))
            }
            Fault::Times(count, number) => {
                let again = (planned, nth + 1, Fault::Times(count - 1, number));
                state.plan = (count > 1).then_some(again);
                Err(io::Error::from_raw_os_error(number))
            }
            Fault::Short => {
                state.plan = None;
                Ok(Some(fault))
            }
            Fault::Crash => {
                state.dead = true;
                Ok(Some(fault))
            }
        }
    }

    fn changed(&self, calls: Calls) -> io::Result<()> {
        match self.pass(calls)? {
            Some(Fault::Crash) => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }

    fn remember(&self, path: &Path, undo: Undo) {
        let mut state = self.state.lock().unwrap();
        state.undo.entry(path.to_owned()).or_default().push(undo);
    }

    fn synced(&self, path: &Path) {
        self.state.lock().unwrap().undo.remove(path);
    }

    /// The power fails: of what was not synced, any part may be lost, in pieces of 512 bytes.
    pub fn lose_power(&self, random: &mut Random) {
        let mut state = self.state.lock().unwrap();
        for (path, undos) in std::mem::take(&mut state.undo) {
            let Ok(file) = RealDisk.open(&path, OpenMode::ReadWrite) else {
                continue;
            };
            for undo in undos.into_iter().rev() {
                match undo {
                    Undo::Bytes { position, old } => {
                        for (index, piece) in old.chunks(512).enumerate() {
                            if random.below(2) == 0 {
                                let at = position + index as u64 * 512;
                                chronik::disk::write_all(file.as_ref(), &[piece], at).unwrap();
                            }
                        }
                    }
                    Undo::Length(bytes) if random.below(2) == 0 => file.set_len(bytes).unwrap(),
                    Undo::Length(_) => {}
                }
            }
        }
        for path in std::mem::take(&mut state.created) {
            if random.below(2) == 0 {
                let _ = std::fs::remove_file(path);
            }
        }
        for (path, link) in std::mem::take(&mut state.unlinked) {
            if random.below(2) == 0 && !path.exists() {
                std::fs::rename(link, path).unwrap();
            }
        }
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, out: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(out, position)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let fault = self.disk.pass(Calls::Writes)?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        if fault.is_some() {
            bytes.truncate(bytes.len().div_ceil(2));
        }
        let before = self.inner.bytes()?;
        let mut old = vec![0; bytes.len()];
        chronik::disk::read_full(self.inner.as_ref(), &mut old, position)?;
        self.disk.remember(&self.path, Undo::Length(before));
        self.disk
            .remember(&self.path, Undo::Bytes { position, old });
        chronik::disk::write_all(self.inner.as_ref(), &[&bytes], position)?;
        match fault {
            Some(Fault::Crash) => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(bytes.len()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.changed(Calls::Syncs)?;
        self.disk.synced(&self.path);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.changed(Calls::Changes)?;
        let before = self.inner.bytes()?;
        if bytes < before {
            let mut old = vec![0; (before - bytes) as usize];
            chronik::disk::read_full(self.inner.as_ref(), &mut old, bytes)?;
            let position = bytes;
            self.disk
                .remember(&self.path, Undo::Bytes { position, old });
        }
        self.disk.remember(&self.path, Undo::Length(before));
        self.inner.set_len(bytes)
    }

    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        self.disk.changed(Calls::Allocations)?;
        let before = self.inner.bytes()?;
        self.disk.remember(&self.path, Undo::Length(before));
        self.inner.allocate(position, bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::CreateNew {
            self.changed(Calls::Changes)?;
            self.state.lock().unwrap().created.push(path.to_owned());
        }
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            path: path.to_owned(),
            inner: RealDisk.open(path, mode)?,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changed(Calls::Changes)?;
        let mut state = self.state.lock().unwrap();
        state.created.retain(|path| path != from);
        drop(state);
        RealDisk.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changed(Calls::Changes)?;
        RealDisk.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.changed(Calls::Changes)?;
        let mut state = self.state.lock().unwrap();
        state.links += 1;
        let link = self.trash.join(state.links.to_string());
        if !state.created.contains(&path.to_owned()) && std::fs::hard_link(path, &link).is_ok() {
            state.unlinked.push((path.to_owned(), link));
        }
        state.created.retain(|created| created != path);
        state.undo.remove(path);
        drop(state);
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.changed(Calls::Syncs)?;
        let mut state = self.state.lock().unwrap();
        state
            .created
            .retain(|created| created.parent() != Some(path));
        state
            .unlinked
            .retain(|(unlinked, _)| unlinked.parent() != Some(path));
        Ok(())
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}
