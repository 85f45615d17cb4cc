//! Named kill points (design D19). Without the feature `fp` they compile to nothing.
//!
//! `CHRONIK_FP="name=abort;other=kill:3"`: at the Nth hit (default first) of the point the process
//! aborts, or kills itself with SIGKILL.

/// Passes a named point.
#[macro_export]
macro_rules! fp {
    ($name:expr) => {{
        #[cfg(feature = "fp")]
        $crate::fault::hit($name);
    }};
}

/// Every point of the engine; the broker's own points go through the `fault_point` job.
pub const POINTS: [&str; 32] = [
    "wal_before_create",
    "wal_after_create",
    "wal_before_allocate",
    "wal_before_write",
    "wal_after_write",
    "wal_after_fsync",
    "wal_after_dir_fsync",
    "wal_before_complete",
    "wal_rollback",
    "seal_before_footer",
    "seal_after_footer",
    "seal_after_fsync",
    "seal_after_truncate",
    "stop_before_mark",
    "stop_after_mark",
    "recovery_before_cut",
    "recovery_after_cut",
    "release_before_unlink",
    "release_after_unlink",
    "release_after_dir_fsync",
    "truncate_after_unlink",
    "truncate_after_cut",
    "clean_before_fsync",
    "clean_before_rename",
    "clean_after_rename",
    "write_file_after_write",
    "write_file_before_rename",
    "write_file_after_rename",
    "put_file_before_rename",
    "put_file_after_rename",
    "verify_before_read",
    "verify_after_read",
];

#[cfg(feature = "fp")]
mod active {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        kill: bool,
        remaining: AtomicU64,
    }

    static PLANS: OnceLock<HashMap<String, Plan>> = OnceLock::new();

    fn parse(text: &str) -> HashMap<String, Plan> {
        let mut plans = HashMap::new();
        for part in text.split([';', ',']).filter(|part| !part.is_empty()) {
            let Some((name, action)) = part.split_once('=') else {
                continue;
            };
            let (verb, count) = action.split_once(':').unwrap_or((action, "1"));
            let remaining = AtomicU64::new(count.parse().unwrap_or(1));
            plans.insert(
                name.trim().to_owned(),
                Plan {
                    kill: verb == "kill",
                    remaining,
                },
            );
        }
        plans
    }

    /// Counts a pass and ends the process when its plan says so.
    pub fn hit(name: &str) {
        let plans = PLANS.get_or_init(|| parse(&std::env::var("CHRONIK_FP").unwrap_or_default()));
        let Some(plan) = plans.get(name) else { return };
        if plan.remaining.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        eprintln!("chronik: fault point {name}");
        if plan.kill {
            let own = rustix::process::getpid();
            if rustix::process::kill_process(own, rustix::process::Signal::KILL).is_ok() {
                loop {
                    std::thread::park();
                }
            }
        }
        std::process::abort();
    }
}

#[cfg(feature = "fp")]
pub use active::hit;
