//! Work spread over threads; results and errors do not depend on which thread was faster.
//!
//! All threads of the library begin here. wasm has none: there the same work is done one after the other by who calls.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::Result;

/// Whether there are no threads.
const ALONE: bool = cfg!(target_family = "wasm");

/// Threads that this machine runs at once.
pub(crate) fn available() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` with each of `items` on up to `threads` threads, each of which has a state of its own. Items are started in
/// order, and results stand in the order of the items.
///
/// # Errors
/// Of the items that fail, that of the first in order. Items behind it may never be started.
pub(crate) fn map_in_order<T: Sync, S, R: Send>(
    items: &[T],
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let (mut state, mut done) = (state(), Vec::new());
        // Whoever takes an item finishes it: all items before one that failed have a result too.
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            let result = work(&mut state, item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((number, result));
        }
        done
    };
    let mut done = if ALONE {
        run()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.clamp(1, items.len().max(1))).map(|_| scope.spawn(run)).collect();
            let done = threads.into_iter().map(|thread| thread.join().expect("work reports errors and does not panic"));
            done.flatten().collect::<Vec<_>>()
        })
    };
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs `beside` on a thread of its own and `here` on this one, and waits for both.
pub(crate) fn both<A: Send, B>(beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    if ALONE {
        return (beside(), here());
    }
    thread::scope(|scope| {
        let beside = scope.spawn(beside);
        let here = here();
        (beside.join().expect("work reports errors and does not panic"), here)
    })
}

/// Why a thread of its own has no result for whoever waits for it.
pub(crate) enum NoResult {
    /// The system gave no thread.
    NoThread(io::Error),
    /// It has panicked.
    Panicked,
    /// It is still running; it was told to end.
    TooLong,
}

/// Runs `work` on a thread called `name` with so much stack, and waits for it no longer than `time`; then the flag that `work`
/// has is set, which tells it to end.
///
/// # Errors
/// Where there is no result; on wasm there always is one.
pub(crate) fn with_stack<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    time: Duration,
    work: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static,
) -> std::result::Result<T, NoResult> {
    let given_up = Arc::new(AtomicBool::new(false));
    if ALONE {
        return Ok(work(given_up));
    }
    let (sender, receiver) = mpsc::channel();
    let flag = Arc::clone(&given_up);
    thread::Builder::new()
        .name(name.into())
        .stack_size(stack_bytes)
        // The receiver may have given up; then nobody wants the result.
        .spawn(move || drop(sender.send(work(flag))))
        .map_err(NoResult::NoThread)?;
    receiver.recv_timeout(time).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            given_up.store(true, Ordering::Relaxed);
            NoResult::TooLong
        }
        RecvTimeoutError::Disconnected => NoResult::Panicked,
    })
}

/// Lets others get on for `time`. On wasm there are no others.
pub(crate) fn sleep(time: Duration) {
    if !ALONE {
        thread::sleep(time);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Error;
    use crate::contained::contained;

    #[test]
    fn results_stand_in_order() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [1, 2, 7, 5000] {
            let doubled = map_in_order(&items, threads, || (), |(), item| Ok(2 * item)).unwrap();
            assert!(doubled.iter().enumerate().all(|(i, &value)| value == 2 * i) && doubled.len() == 1000);
        }
        assert!(map_in_order(&[], 4, || (), |(), item: &u8| Ok(*item)).unwrap().is_empty());
    }

    #[test]
    fn two_run_at_once() {
        let (sender, receiver) = mpsc::channel();
        let beside = move || receiver.recv_timeout(Duration::from_secs(60)).is_ok();
        assert_eq!(both(beside, || sender.send(()).is_ok()), (true, true));
    }

    #[test]
    fn what_takes_too_long_is_told_to_end() {
        let (sender, receiver) = mpsc::channel();
        let work = move |given_up: Arc<AtomicBool>| {
            while !given_up.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1));
            }
            sender.send(()).ok();
        };
        let error = with_stack("slow", 1 << 20, Duration::from_millis(10), work).err().unwrap();
        assert!(matches!(error, NoResult::TooLong));
        receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        let panics = |_| -> () { contained(|| panic!("on purpose")).unwrap() };
        assert!(matches!(with_stack("broken", 1 << 20, Duration::from_secs(60), panics), Err(NoResult::Panicked)));
        assert!(matches!(with_stack("done", 1 << 20, Duration::from_secs(60), |_| 7), Ok(7)));
    }

    #[test]
    fn the_first_error_in_order_is_reported() {
        let items: Vec<usize> = (0..200).collect();
        let work = |_: &mut (), item: &usize| {
            // The later it fails, the sooner.
            thread::sleep(std::time::Duration::from_micros(200 - *item as u64));
            if *item >= 50 { Err(Error::run(item.to_string())) } else { Ok(()) }
        };
        for _ in 0..5 {
            assert_eq!(map_in_order(&items, 8, || (), work).unwrap_err().to_string(), "50");
        }
    }
}
