//! Ends the process when the event loop is silent for too long (design D15).

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::Core;

/// The documented exit code of a hung event loop.
pub const EXIT_HUNG: i32 = 11;

const TICK: Duration = Duration::from_millis(250);

/// Runs until the engine closes. Silence is counted in own ticks, not in wall time: a process
/// that was stopped as a whole did not hang.
pub fn run(core: &Core) {
    let limit_ticks = core.config.watchdog_seconds.saturating_mul(4);
    let mut seen = core.signs_of_life.load(Ordering::Relaxed);
    let mut silent_ticks = 0;
    while !core.closing.pause(TICK) {
        let now = core.signs_of_life.load(Ordering::Relaxed);
        if now == seen {
            silent_ticks += 1;
        } else {
            (seen, silent_ticks) = (now, 0);
        }
        if silent_ticks >= limit_ticks {
            let text = format!(
                "the event loop was silent for {} s; {}",
                core.config.watchdog_seconds,
                report(core)
            );
            core.wal.poison.exit(EXIT_HUNG, &text);
            return;
        }
    }
}

/// Queue depths, and what each thread of the process is doing.
fn report(core: &Core) -> String {
    let (completions, results) = core.completions.depth();
    let mut text = format!(
        "queued: {} appends, {} bytes, {} jobs, {completions} completions, {results} results, \
         {} logs ready, {} light, {} cold, {} heavy; {} files open",
        core.queued_appends.load(Ordering::Relaxed),
        core.queued_bytes.load(Ordering::Relaxed),
        core.queued_jobs.load(Ordering::Relaxed),
        core.ready.depth(),
        core.light.depth(),
        core.cold.depth(),
        core.heavy.depth(),
        core.wal.files.open_count(),
    );
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return text;
    };
    for task in tasks.flatten() {
        let look = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let state = look("stat");
        let state = state
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.get(..1))
            .unwrap_or("?");
        text.push_str(&format!(
            "\n  thread {} {} state {state} in {} syscall {}",
            task.file_name().to_string_lossy(),
            look("comm").trim(),
            look("wchan").trim(),
            look("syscall").trim(),
        ));
        for frame in look("stack").lines() {
            text.push_str(&format!("\n    {frame}"));
        }
    }
    text
}
