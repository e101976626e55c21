//! Figures of this process from `/proc` (proc(5)): CPU time, memory, threads, descriptors.
//!
//! Off Linux, or without `/proc`, there are simply none.

use std::fs;

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, 100 on every Linux architecture that Rust
/// supports.
const TICKS_A_SECOND: f64 = 100.0;

/// Figures of this process at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessFigures {
    /// User and system CPU time in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Start, in seconds of Unix time.
    pub started_at: f64,
    /// Open file descriptors.
    pub open_files: u32,
}

/// Reads the figures; none where they are not to be had.
pub fn read() -> Option<ProcessFigures> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
    parse(&stat, &status, &boot, u32::try_from(open_files).ok()?)
}

fn parse(stat: &str, status: &str, boot: &str, open_files: u32) -> Option<ProcessFigures> {
    // The second field is the program's name in parentheses and may contain anything.
    let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| after_name.get(index)?.parse::<u32>().ok().map(f64::from);
    let booted = number_after(boot, "btime ")?;
    let started = after_name.get(19)?.parse::<u32>().ok().map(f64::from)?;
    Some(ProcessFigures {
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_A_SECOND,
        resident_bytes: u64::from(number_after(status, "VmRSS:")?).checked_mul(1024)?,
        threads: number_after(status, "Threads:")?,
        started_at: f64::from(booted) + started / TICKS_A_SECOND,
        open_files,
    })
}

fn number_after(text: &str, key: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_fields_of_proc() {
        let stat = "42 (odd) name) S 1 42 42 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 7 0 1000 9 9 9";
        let status = "Name:\todd\nVmRSS:\t   2048 kB\nThreads:\t7\n";
        let figures = parse(stat, status, "cpu 1 2 3\nbtime 1700000000\n", 12).unwrap();
        assert_eq!(
            figures,
            ProcessFigures {
                cpu_seconds: 2.0,
                resident_bytes: 2_097_152,
                threads: 7,
                started_at: 1_700_000_010.0,
                open_files: 12,
            }
        );
        assert_eq!(parse("", status, "", 0), None);
    }
}
