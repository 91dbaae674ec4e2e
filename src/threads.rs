//! Work spread over threads; results and errors do not depend on which thread was faster.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::Result;

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
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, items.len().max(1))).map(|_| scope.spawn(run)).collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("work reports errors and does not panic"));
        done.flatten().collect::<Vec<_>>()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Error;

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
    fn the_first_error_in_order_is_reported() {
        let items: Vec<usize> = (0..200).collect();
        let work = |_: &mut (), item: &usize| {
            // The later it fails, the sooner.
            thread::sleep(std::time::Duration::from_micros(200 - *item as u64));
            if *item >= 50 { Err(Error::model(item.to_string())) } else { Ok(()) }
        };
        for _ in 0..5 {
            assert_eq!(map_in_order(&items, 8, || (), work).unwrap_err().to_string(), "50");
        }
    }
}
