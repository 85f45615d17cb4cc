//! Every extern "C" function and the crate's only unsafe code. See `ffi/chronik.h`.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::bytes::{lock, read, write};
use crate::config::Config;
use crate::disk::RealDisk;
use crate::engine::Engine;
use crate::status::Status;

const ABI_VERSION: u32 = 2;

type Registry = RwLock<HashMap<u64, Arc<Engine>>>;

static ENGINES: OnceLock<Registry> = OnceLock::new();
static OPEN_ERROR: Mutex<String> = Mutex::new(String::new());
static NEXT_ENGINE: AtomicU64 = AtomicU64::new(1);

fn engines() -> &'static Registry {
    ENGINES.get_or_init(Registry::default)
}

/// The engine of a handle; a bogus one is just not found.
fn engine(handle: u64) -> Option<Arc<Engine>> {
    read(engines()).get(&handle).cloned()
}

/// Raw bytes of a job that the caller keeps as they are until the job's completion is reaped.
pub struct Lent {
    bytes: *const [u8],
}

// SAFETY: nobody writes the bytes while they are lent.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    fn of(bytes: &[u8]) -> Self {
        Lent { bytes }
    }

    /// Only before the job's completion is queued.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: valid by the promise of who called chronik_submit_lent.
        unsafe { &*self.bytes }
    }
}

fn guarded(run: impl FnOnce() -> Status) -> i32 {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or(Status::Internal)
        .code()
}

/// # Safety
/// `pointer` is null with `length` 0, or valid for reads of `length` bytes during the call.
unsafe fn input<'a>(pointer: *const u8, length: u64) -> Option<&'a [u8]> {
    let length = usize::try_from(length).ok()?;
    if length == 0 {
        return Some(&[]);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: non-null, in range of isize, and valid for the call by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// # Safety
/// `pointer` is null with `length` 0, or valid for writes of `length` bytes during the call.
unsafe fn output<'a>(pointer: *mut u8, length: u64) -> Option<&'a mut [u8]> {
    let length = usize::try_from(length).ok()?;
    if length == 0 {
        return Some(&mut []);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: non-null, in range of isize, and valid for the call by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// # Safety
/// `pointer` is null or valid for a write of T during the call; it need not be aligned.
unsafe fn store<T>(pointer: *mut T, value: T) -> bool {
    if pointer.is_null() {
        return false;
    }
    // SAFETY: non-null and valid by the caller's promise; write_unaligned asks no alignment.
    unsafe { pointer.write_unaligned(value) };
    true
}

/// Arenas of glibc's allocator: many, as it would make them, keep what each once held.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 2;
/// From here on memory is the system's again as soon as it is free. Left alone the border moves up
/// to 32 MiB, and what a build of an archive needed for a moment stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 1 << 20;

/// Before the threads start. Where it is refused, more memory stays resident.
fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt has no preconditions.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// What the arenas keep of memory that was freed goes back to the system: behind jobs that need
/// much of it in small pieces (an index). Takes their locks for milliseconds, so never on the
/// loop's thread.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// One line on stderr, then the end: no destructors, no exit handlers, nothing that could hang.
fn end_process(code: i32, text: &str) {
    eprintln!("chronik: {text}");
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

#[unsafe(no_mangle)]
pub extern "C" fn chronik_abi() -> u32 {
    ABI_VERSION | (24 << 8) | (40 << 16) | (24 << 24)
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_open(
    config: *const u8,
    config_len: u64,
    doorbell_fd_out: *mut i32,
    engine_out: *mut u64,
) -> i32 {
    guarded(|| {
        tune_allocator();
        // SAFETY: the caller's promise.
        let Some(json) = (unsafe { input(config, config_len) }) else {
            return Status::InvalidArgument;
        };
        if doorbell_fd_out.is_null() || engine_out.is_null() {
            return Status::InvalidArgument;
        }
        let config = match Config::parse(json) {
            Ok(config) => config,
            Err(text) => {
                text.clone_into(&mut lock(&OPEN_ERROR));
                return Status::InvalidArgument;
            }
        };
        match Engine::open(config, Arc::new(RealDisk), Box::new(end_process)) {
            Ok((engine, doorbell)) => {
                let handle = NEXT_ENGINE.fetch_add(1, Ordering::Relaxed);
                write(engines()).insert(handle, Arc::new(engine));
                // SAFETY: both were checked for null; valid by the caller's promise.
                let stored =
                    unsafe { store(doorbell_fd_out, doorbell) && store(engine_out, handle) };
                if stored {
                    Status::Ok
                } else {
                    Status::InvalidArgument
                }
            }
            Err(error) => {
                error.text.clone_into(&mut lock(&OPEN_ERROR));
                error.status
            }
        }
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_submit(
    handle: u64,
    commands: *const u8,
    commands_len: u64,
) -> i32 {
    guarded(|| {
        let Some(engine) = engine(handle) else {
            return Status::Closed;
        };
        // SAFETY: the caller's promise.
        match unsafe { input(commands, commands_len) } {
            Some(block) => engine.core.submit(block, None),
            None => Status::InvalidArgument,
        }
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says, `raw` until the job's completion is reaped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_submit_lent(
    handle: u64,
    command: *const u8,
    command_len: u64,
    raw: *const u8,
    raw_len: u64,
) -> i32 {
    guarded(|| {
        let Some(engine) = engine(handle) else {
            return Status::Closed;
        };
        // SAFETY: the caller's promise.
        let pair = unsafe { (input(command, command_len), input(raw, raw_len)) };
        match pair {
            (Some(block), Some(raw)) => engine.core.submit(block, Some(Lent::of(raw))),
            _ => Status::InvalidArgument,
        }
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_reap(
    handle: u64,
    out: *mut u8,
    cap: u64,
    used_out: *mut u64,
) -> i32 {
    guarded(|| {
        let Some(engine) = engine(handle) else {
            return Status::Closed;
        };
        // SAFETY: the caller's promise.
        let Some(out) = (unsafe { output(out, cap) }) else {
            return Status::InvalidArgument;
        };
        engine.core.signs_of_life.fetch_add(1, Ordering::Relaxed);
        let used = engine.core.completions.reap(out) as u64;
        // SAFETY: the caller's promise.
        if unsafe { store(used_out, used) } {
            Status::Ok
        } else {
            Status::InvalidArgument
        }
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_read(
    handle: u64,
    token: u64,
    offset: u64,
    out: *mut u8,
    cap: u64,
    used_out: *mut u64,
) -> i32 {
    guarded(|| {
        let Some(engine) = engine(handle) else {
            return Status::Closed;
        };
        // SAFETY: the caller's promise.
        let Some(out) = (unsafe { output(out, cap) }) else {
            return Status::InvalidArgument;
        };
        match engine.core.completions.read(token, offset, out) {
            // SAFETY: the caller's promise.
            Ok(used) if unsafe { store(used_out, used as u64) } => Status::Ok,
            Ok(_) => Status::InvalidArgument,
            Err(status) => status,
        }
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_take(handle: u64, token: u64, parts_out: *mut [u64; 2]) -> i32 {
    guarded(|| {
        let Some(engine) = engine(handle) else {
            return Status::Closed;
        };
        let Some(result) = engine.core.completions.take(token) else {
            return Status::NotFound;
        };
        let owner = Box::new(result);
        let bytes = owner.as_ptr() as u64;
        let owner = Box::into_raw(owner);
        // SAFETY: the caller's promise.
        if unsafe { store(parts_out, [bytes, owner as u64]) } {
            return Status::Ok;
        }
        // SAFETY: nobody else has the pointer that was made a few lines above.
        drop(unsafe { Box::from_raw(owner) });
        Status::InvalidArgument
    })
}

/// Gives back what chronik_take gave. JavaScriptCore calls it when nothing refers to the bytes any
/// more, from whatever thread.
unsafe extern "C" fn release(_bytes: *mut libc::c_void, owner: *mut libc::c_void) {
    if !owner.is_null() {
        // SAFETY: made by chronik_take, and given back once.
        drop(unsafe { Box::from_raw(owner.cast::<Vec<u8>>()) });
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn chronik_releaser() -> u64 {
    release as *const () as u64
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_check(
    batch: *const u8,
    len: u64,
    info_out: *mut u8,
    info_cap: u64,
) -> i32 {
    guarded(|| {
        // SAFETY: the caller's promise.
        let pair = unsafe { (input(batch, len), output(info_out, info_cap)) };
        let (Some(batch), Some(info_out)) = pair else {
            return Status::InvalidArgument;
        };
        crate::jobs::batch::check(batch, info_out)
    })
}

/// # Safety
/// Pointers are valid for the call as `chronik.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronik_last_error(handle: u64, out: *mut u8, cap: u64) -> i32 {
    let copied = catch_unwind(AssertUnwindSafe(|| {
        let text = match engine(handle) {
            Some(engine) => lock(&engine.core.last_error).clone(),
            None => lock(&OPEN_ERROR).clone(),
        };
        // SAFETY: the caller's promise.
        let Some(out) = (unsafe { output(out, cap) }) else {
            return Status::InvalidArgument.code();
        };
        let count = text.len().min(out.len());
        if let (Some(target), Some(source)) = (out.get_mut(..count), text.as_bytes().get(..count)) {
            target.copy_from_slice(source);
        }
        i32::try_from(count).unwrap_or(i32::MAX)
    }));
    copied.unwrap_or(Status::Internal.code())
}

#[unsafe(no_mangle)]
pub extern "C" fn chronik_close(handle: u64) -> i32 {
    guarded(|| {
        let Some(engine) = write(engines()).remove(&handle) else {
            return Status::Closed;
        };
        engine.close()
    })
}
