//! Shims of libc: in a thread that simulates, randomness follows from a seed and the wall clock
//! stands still. Elsewhere both are the system's.
//!
//! The standard library takes the keys of its hash maps from `getrandom` and the wall clock from
//! `clock_gettime`; both find these functions, because the program's own symbols come first. Nothing
//! of the product may read the wall clock on its own, so that is counted.

#![expect(unsafe_code, reason = "functions of libc are replaced")]

use std::cell::Cell;

use libc::{c_int, c_long, c_uint, clockid_t, size_t, ssize_t, timespec};

/// 2026-01-01, in seconds since 1970: what the wall clock says while a thread simulates.
const STANDSTILL: i64 = 1_767_225_600;

thread_local! {
    /// State of the generator; 0: the thread does not simulate.
    static STATE: Cell<u64> = const { Cell::new(0) };
    static CLOCK_READS: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread simulates.
pub(crate) fn begin(seed: u64) {
    STATE.with(|state| state.set(seed | 1 << 63));
    CLOCK_READS.with(|reads| reads.set(0));
    fastrand::seed(seed);
}

/// How often the wall clock was read in this thread since [`begin`].
pub(crate) fn clock_reads() -> u64 {
    CLOCK_READS.with(Cell::get)
}

/// SplitMix64; none in a thread that does not simulate, or is about to end.
fn next() -> Option<u64> {
    STATE
        .try_with(|state| {
            let before = state.get();
            if before == 0 {
                return None;
            }
            let next = before.wrapping_add(0x9e37_79b9_7f4a_7c15);
            state.set(next | 1 << 63);
            let mut mixed = next;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(mixed ^ (mixed >> 31))
        })
        .ok()
        .flatten()
}

/// As `getrandom(2)`.
///
/// # Safety
/// `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    let mut done: size_t = 0;
    while done < length {
        let Some(bits) = next() else {
            // SAFETY: the caller vouches for the buffer; the kernel checks it again.
            let written = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
            return ssize_t::try_from(written).unwrap_or(-1);
        };
        let bytes = bits.to_ne_bytes();
        let count = bytes.len().min(length - done);
        // SAFETY: `done + count` is at most `length`, for which the caller vouches.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>().add(done), count);
        }
        done += count;
    }
    ssize_t::try_from(length).unwrap_or(ssize_t::MAX)
}

/// As `clock_gettime(2)`.
///
/// # Safety
/// `time` must be valid for one `timespec`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let is_simulating = STATE.try_with(|state| state.get() != 0).unwrap_or(false);
    if is_simulating && (clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE) {
        let _ = CLOCK_READS.try_with(|reads| reads.set(reads.get() + 1));
        // SAFETY: the caller vouches for `time`.
        unsafe { time.write(timespec { tv_sec: STANDSTILL, tv_nsec: 0 }) };
        return 0;
    }
    // SAFETY: as above; the kernel checks the pointer again.
    let result: c_long = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    c_int::try_from(result).unwrap_or(-1)
}
