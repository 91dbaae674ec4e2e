//! What a rendering may cost: steps, bytes that are alive, depth and time. Everything is paid for before it is done.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fault::{Fault, Run};

/// Bytes that one step copies, compares or looks through.
pub(super) const BYTES_PER_STEP: usize = 32;

/// Bytes that a rendering's values may hold at once, beside the conversation's own.
pub(crate) const LIVE_BYTES: usize = 64 << 20;

/// Bytes that the conversation's values may take.
pub(crate) const INPUT_BYTES: usize = 192 << 20;

/// Steps between two looks at the flag that ends a rendering nobody waits for.
const LOOK: u64 = 4096;

thread_local! {
    /// Bytes of all values that are alive; a rendering has a thread of its own.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// A value's share of the bytes that are alive; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(usize);

impl Drop for Held {
    fn drop(&mut self) {
        LIVE.set(LIVE.get().saturating_sub(self.0));
    }
}

/// The account of one rendering.
#[derive(Debug)]
pub(super) struct Budget {
    steps: Cell<u64>,
    most_steps: Cell<u64>,
    most_bytes: Cell<usize>,
    next_look: Cell<u64>,
    given_up: Arc<AtomicBool>,
}

impl Budget {
    pub(super) fn new(most_steps: u64, given_up: Arc<AtomicBool>) -> Self {
        Self {
            steps: Cell::new(0),
            most_steps: Cell::new(most_steps),
            most_bytes: Cell::new(INPUT_BYTES),
            next_look: Cell::new(LOOK),
            given_up,
        }
    }

    /// The conversation's values are there: from here on so many steps may be taken, and so many bytes come on top.
    pub(super) fn input_ends(&self, most_steps: u64) {
        self.most_steps.set(most_steps);
        self.most_bytes.set(LIVE.get() + LIVE_BYTES);
        self.steps.set(0);
        self.next_look.set(LOOK);
    }

    /// Pays for `count` steps.
    pub(super) fn steps(&self, count: usize) -> Run<()> {
        let steps = self.steps.get().saturating_add(count as u64);
        if steps > self.most_steps.get() {
            return Err(Fault::Steps);
        }
        self.steps.set(steps);
        if steps >= self.next_look.get() {
            self.next_look.set(steps + LOOK);
            if self.given_up.load(Ordering::Relaxed) {
                return Err(Fault::GivenUp);
            }
        }
        Ok(())
    }

    /// Pays for looking through `bytes`.
    pub(super) fn reads(&self, bytes: usize) -> Run<()> {
        self.steps(1 + bytes / BYTES_PER_STEP)
    }

    /// Whether `bytes` more may be alive.
    fn room(&self, bytes: usize) -> Run<()> {
        match LIVE.get().checked_add(bytes) {
            Some(sum) if sum <= self.most_bytes.get() => Ok(()),
            _ => Err(Fault::Bytes),
        }
    }

    /// Pays for making `bytes`, which stay counted as long as the result lives.
    pub(super) fn hold(&self, bytes: usize) -> Run<Held> {
        self.room(bytes)?;
        self.reads(bytes)?;
        LIVE.set(LIVE.get() + bytes);
        Ok(Held(bytes))
    }

    /// Pays for `bytes` more on top of what `held` has.
    pub(super) fn grow(&self, held: &mut Held, bytes: usize) -> Run<()> {
        self.room(bytes)?;
        self.reads(bytes)?;
        LIVE.set(LIVE.get() + bytes);
        held.0 += bytes;
        Ok(())
    }
}

/// Text that grows piece by piece, each one paid for.
#[derive(Debug)]
pub(super) struct Builder<'b> {
    budget: &'b Budget,
    text: String,
    held: Held,
    most: usize,
}

impl<'b> Builder<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { budget, text: String::new(), held: Held::default(), most: usize::MAX }
    }

    /// Text of at most `most` bytes.
    pub(super) fn at_most(budget: &'b Budget, most: usize) -> Self {
        Self { most, ..Self::new(budget) }
    }

    pub(super) fn push(&mut self, text: &str) -> Run<()> {
        if self.text.len() + text.len() > self.most {
            return Err(Fault::Output(self.most));
        }
        self.budget.grow(&mut self.held, text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push_char(&mut self, c: char) -> Run<()> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    /// `text`, `count` times.
    pub(super) fn repeat(&mut self, text: &str, count: usize) -> Run<()> {
        let bytes = text.len().checked_mul(count).ok_or(Fault::Bytes)?;
        if self.text.len().saturating_add(bytes) > self.most {
            return Err(Fault::Output(self.most));
        }
        self.budget.grow(&mut self.held, bytes)?;
        (0..if bytes == 0 { 0 } else { count }).for_each(|_| self.text.push_str(text));
        Ok(())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_parts(self) -> (String, Held) {
        (self.text, self.held)
    }
}
