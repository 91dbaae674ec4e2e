//! Panics that become errors. What panics is other people's code over a hostile file; the caller gets an error and
//! prints it, and a program whose panic hook asks [`panics_are_contained`] prints nothing else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many calls of [`contained`] this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether a panic on this thread becomes an error of this library. For panic hooks, which can stay silent then: the
/// library itself leaves the process's hook alone.
pub fn panics_are_contained() -> bool {
    DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

/// Runs `call`; a panic in it is an `Err`.
///
/// # Errors
/// What [`catch_unwind`] caught.
pub(crate) fn contained<T>(call: impl FnOnce() -> T) -> std::thread::Result<T> {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            DEPTH.with(|depth| depth.set(depth.get() - 1));
        }
    }
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let _inside = Inside;
    catch_unwind(AssertUnwindSafe(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_that_it_is_inside() {
        assert!(!panics_are_contained());
        let inside = contained(|| {
            let deeper = contained(panics_are_contained);
            (deeper.ok(), panics_are_contained(), std::thread::spawn(panics_are_contained).join().ok())
        });
        assert_eq!(inside.ok(), Some((Some(true), true, Some(false))));
        assert!(!panics_are_contained());
    }

    #[test]
    fn a_panic_is_an_error_and_leaves_nothing_behind() {
        assert!(contained(|| -> usize { panic!("on purpose") }).is_err());
        assert!(!panics_are_contained());
    }
}
