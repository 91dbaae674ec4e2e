//! Steps that are submitted and whose ids are not read yet.

use std::collections::VecDeque;

use super::step::FEW_ROWS;
use crate::Result;
use crate::error::Usage;
use crate::gpu::{Gpu, Readback, Submission};
use crate::kernels::StepRow;
use crate::kernels::choice::sample::Draw;
use crate::model::pass::activations::Activations;

/// Steps that may be under way at a time. A truncation undoes up to 16: rings have 15 positions to spare, and the
/// one that the next step will write.
const MAX_WAITING: usize = 2;

/// A sequence's row of a step that is submitted ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next {
    /// The sequence's place in the KV cache: the row stands behind what it holds.
    pub slot: usize,
    /// The token to run; `None` for the id that the step submitted before chose for this slot.
    pub token: Option<u32>,
    /// How the device chooses the id that follows: a draw, or `None` for the largest logit.
    pub draw: Option<Draw>,
}

/// The id that a step submitted ahead chose for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The slot.
    pub slot: usize,
    /// The id.
    pub token: u32,
}

/// A step whose ids are not read yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Which readback its ids come to.
    pub number: usize,
    pub submission: Submission,
    /// The slot of each row; `None` where its id is not wanted any more.
    pub slots: Vec<Option<usize>>,
}

/// Where the ids of steps under way come to the host.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub ids: [Readback; MAX_WAITING],
    pub waiting: VecDeque<Waiting>,
    /// The slots whose next tokens the device holds, by row of the step submitted last.
    pub held: Vec<Option<usize>>,
}

impl Ahead {
    pub(crate) fn new(gpu: &Gpu, activations: &Activations) -> Result<Self> {
        let new = || Readback::new(gpu, &activations.ids, FEW_ROWS);
        Ok(Ahead { ids: [new()?, new()?], waiting: VecDeque::new(), held: Vec::new() })
    }

    /// Bytes on the device.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.ids.iter().map(Readback::size_bytes).sum()
    }

    /// Ids of `slot` that were not asked for are lost; those of other slots stay.
    pub(crate) fn forget(&mut self, slot: usize) {
        let steps = self.waiting.iter_mut().map(|step| &mut step.slots);
        for slots in steps.chain([&mut self.held]) {
            slots.iter_mut().filter(|held| **held == Some(slot)).for_each(|held| *held = None);
        }
        self.waiting.retain(|step| step.slots.iter().any(Option::is_some));
    }

    /// Another step chooses ids: the next tokens must come from the host.
    pub(crate) fn overwrite(&mut self) {
        self.held.clear();
    }

    /// As [`Ahead::forget`] for all slots.
    pub(crate) fn forget_all(&mut self) {
        self.waiting.clear();
        self.held.clear();
    }

    /// A readback that no step under way fills.
    pub(crate) fn free(&self) -> Option<usize> {
        (0..MAX_WAITING).find(|number| self.waiting.iter().all(|step| step.number != *number))
    }

    /// What stands for the token of `next` in the rows of a step.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where it has none, and no step submitted before chose one.
    pub(crate) fn token(&self, next: &Next) -> Result<u32> {
        if let Some(token) = next.token {
            return Ok(token);
        }
        let row = self.held.iter().position(|held| *held == Some(next.slot));
        row.map(|row| StepRow::ID_OF | row as u32).ok_or_else(|| Usage::NoToken { slot: next.slot }.into())
    }
}
