//! Ctrl-C and SIGTERM. While an answer is made they only set flags, so that it ends within a step; at any other time
//! they end the program as they would without us, with the terminal as it was and without a trace of checks that were
//! under way. So do SIGHUP and SIGQUIT at any time. On Windows the console's events take their places.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The exit code of a run that Ctrl-C or SIGTERM ended.
pub(super) const INTERRUPTED: u8 = 130;

/// Whether somebody looks at the flags.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Signals since then.
static CAUGHT: AtomicUsize = AtomicUsize::new(0);
/// Whether a line is being edited, with the terminal in a mode of its own.
static AT_PROMPT: AtomicBool = AtomicBool::new(false);
/// Whether one of them asks the program to end, not only the answer.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// After so many signals the flags have been of no use.
const PATIENCE: usize = 3;

/// Runs `work`, during which signals set [`interrupted`].
pub(super) fn watched<T>(work: impl FnOnce() -> T) -> T {
    CAUGHT.store(0, Ordering::SeqCst);
    WATCHED.store(true, Ordering::SeqCst);
    let done = work();
    WATCHED.store(false, Ordering::SeqCst);
    done
}

/// Runs `edit`, during which the terminal has to be put right before the program ends.
pub(super) fn at_prompt<T>(edit: impl FnOnce() -> T) -> T {
    AT_PROMPT.store(true, Ordering::SeqCst);
    let done = edit();
    AT_PROMPT.store(false, Ordering::SeqCst);
    done
}

/// Whether a signal came since [`watched`] began.
pub(super) fn interrupted() -> bool {
    CAUGHT.load(Ordering::SeqCst) > 0
}

/// Whether the program was asked to end.
pub(super) fn terminated() -> bool {
    TERMINATED.load(Ordering::SeqCst)
}

/// Takes note of a signal; false where it has to end the program.
fn note(terminate: bool) -> bool {
    if !WATCHED.load(Ordering::SeqCst) || CAUGHT.fetch_add(1, Ordering::SeqCst) + 1 >= PATIENCE {
        return false;
    }
    if terminate {
        TERMINATED.store(true, Ordering::SeqCst);
    }
    true
}

/// Begins to wait for signals. All threads that are started later leave them to the one that waits.
#[cfg(unix)]
pub(super) fn install() {
    use std::io::Write;

    use nix::sys::signal::{SigSet, Signal, raise};
    use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};

    let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    if set.thread_block().is_err() {
        return; // The system's own handling stays.
    }
    let terminal = tcgetattr(std::io::stdin()).ok();
    std::thread::spawn(move || {
        loop {
            let Ok(signal) = set.wait() else { continue };
            let may_wait = matches!(signal, Signal::SIGINT | Signal::SIGTERM);
            if may_wait && note(signal == Signal::SIGTERM) {
                continue;
            }
            lapidary::doctor::withdraw();
            if let (Some(attributes), true) = (&terminal, AT_PROMPT.load(Ordering::SeqCst)) {
                tcsetattr(std::io::stdin(), SetArg::TCSANOW, attributes).ok();
                // The end of bracketed paste, which the editor switches on.
                std::io::stdout().write_all(b"\x1b[?2004l\n").and_then(|()| std::io::stdout().flush()).ok();
            }
            // Ends the program as the signal does by default, so that the caller sees what happened, and not at all where
            // the caller wants it ignored, as nohup does.
            if set.thread_unblock().and_then(|()| raise(signal)).and_then(|()| set.thread_block()).is_err() {
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    });
}

/// Begins to hear of Ctrl-C, of Ctrl-Break, which stands for SIGTERM, and of the window that is closed
/// and the machine that is shut down, which end the program.
#[cfg(windows)]
pub(super) fn install() {
    use super::windows::{Event, on_events};

    // Where that fails the system's own handling stays.
    on_events(|event| match event {
        Event::Interrupt | Event::Break if note(event == Event::Break) => true,
        Event::Interrupt | Event::Break => {
            lapidary::doctor::withdraw();
            std::process::exit(i32::from(INTERRUPTED));
        }
        Event::Close => {
            lapidary::doctor::withdraw();
            false
        }
    });
}

/// The system's own handling stays.
#[cfg(not(any(unix, windows)))]
pub(super) fn install() {}
