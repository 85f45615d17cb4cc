//! Reading integers out of untrusted bytes without a way to panic, and lock helpers.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The `N` bytes at `at`, or None past the end.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

macro_rules! reader {
    ($name:ident, $type:ty, $from:ident) => {
        #[doc = concat!("`", stringify!($type), "` at `at`, or None past the end.")]
        pub fn $name(bytes: &[u8], at: usize) -> Option<$type> {
            array(bytes, at).map(<$type>::$from)
        }
    };
}

reader!(u16_le, u16, from_le_bytes);
reader!(u32_le, u32, from_le_bytes);
reader!(i32_le, i32, from_le_bytes);
reader!(u64_le, u64, from_le_bytes);
reader!(i64_le, i64, from_le_bytes);
reader!(i16_be, i16, from_be_bytes);
reader!(u16_be, u16, from_be_bytes);
reader!(i32_be, i32, from_be_bytes);
reader!(u32_be, u32, from_be_bytes);
reader!(i64_be, i64, from_be_bytes);

/// Locks; a panic in another holder is handled where it happened (poisoning the engine), not here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared access, see [`lock`].
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Exclusive access, see [`lock`].
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970 of the wall clock.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
