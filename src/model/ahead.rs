//! Decoding without waiting: a step takes its token from the step before on the device, so that it is recorded and
//! submitted before the host knows that token.

use std::collections::VecDeque;
use std::mem::offset_of;

use super::Gemma4;
use super::activations::Activations;
use super::rank::Rank;
use super::run::{not_finite, record};
use super::step::Row;
use crate::Result;
use crate::gpu::{Gpu, Readback, Recorder, Submission};
use crate::kernels::sample::Draw;
use crate::kernels::{StepRow, argmax, suppress};

/// Steps that may be under way at a time. A truncation undoes up to 16: rings have 15 positions to spare, and the
/// one that the next step will write.
const MAX_WAITING: usize = 2;

/// How the device chooses the token that follows a step.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Ids that are not chosen, at most [`suppress::MAX_IDS`].
    pub suppressed: &'a [u32],
    /// A draw, or `None` for the largest logit.
    pub draw: Option<Draw>,
}

impl Choice<'_> {
    /// The largest logit of all.
    pub const GREEDY: Choice<'static> = Choice { suppressed: &[], draw: None };
}

/// Where the ids of steps under way come to the host, one buffer each, in turn.
#[derive(Debug)]
pub(super) struct Ahead {
    ids: [Readback; MAX_WAITING],
    next: usize,
    waiting: VecDeque<(usize, Submission)>,
}

impl Ahead {
    pub(super) fn new(gpu: &Gpu, activations: &Activations) -> Result<Self> {
        let new = || Readback::new(gpu, &activations.ids, 1);
        Ok(Ahead { ids: [new()?, new()?], next: 0, waiting: VecDeque::new() })
    }

    /// Bytes on the device.
    pub(super) fn size_bytes(&self) -> u64 {
        self.ids.iter().map(Readback::size_bytes).sum()
    }

    /// Ids that were not asked for are lost.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}

impl Rank {
    /// Hands what a choice needs to the device.
    fn upload_choice(&self, choice: Choice) -> Result<()> {
        let a = &self.activations;
        if let Some(draw) = choice.draw {
            self.gpu.write(&a.draws.buffer, 0, &[draw])?;
        }
        if !choice.suppressed.is_empty() {
            let mut ids = [suppress::NO_ID; suppress::MAX_IDS];
            ids[..choice.suppressed.len()].copy_from_slice(choice.suppressed);
            self.gpu.write(&a.suppressed.buffer, 0, &ids)?;
        }
        Ok(())
    }
}

impl Gemma4 {
    /// True where steps can be submitted ahead of their tokens: on one rank, and where the host has nothing to look
    /// up for a token.
    pub fn runs_ahead(&self) -> bool {
        matches!(&*self.ranks, [rank] if rank.activations.per_layer.is_none())
    }

    /// Submits a step of one row behind what `slot` holds and does not wait for it. Without `token` it takes the id of the
    /// step submitted before it, of which it must be the next one. False where two steps are under way already, or where
    /// one is and the KV cache must grow: read an id first, then try again.
    ///
    /// [`Gemma4::truncate`] undoes steps whose ids turn out not to be wanted, and forgets the ids of all others. No other
    /// step may run in between.
    ///
    /// # Errors
    /// As [`Gemma4::step`].
    ///
    /// # Panics
    /// Where [`Gemma4::runs_ahead`] is false, without `token` and without a step under way, or where too many ids are
    /// suppressed.
    pub fn submit(&mut self, slot: usize, token: Option<u32>, choice: Choice) -> Result<bool> {
        assert!(self.runs_ahead(), "this model does not run ahead");
        let waiting = self.ranks[0].ahead.waiting.len();
        assert!(token.is_some() == (waiting == 0), "a token is given to the first step, and to no other");
        let must_grow = self.len(slot) >= self.ranks[0].cache.capacity();
        if waiting == MAX_WAITING || (waiting > 0 && must_grow) {
            return Ok(false);
        }
        self.submit_one(slot, token, choice)?;
        Ok(true)
    }

    fn submit_one(&mut self, slot: usize, token: Option<u32>, choice: Choice) -> Result<()> {
        // A token that is not known yet is one of the vocabulary, or the step's result is thrown away.
        let rows = [Row { slot, position: self.len(slot), token: token.unwrap_or(0) }];
        self.make_ready(&rows)?;
        self.ranks[0].upload_choice(choice)?;
        let rank = &mut self.ranks[0];
        let (a, ahead) = (&rank.activations, &mut rank.ahead);
        let mut recorder = Recorder::new(&rank.gpu);
        if token.is_none() {
            let place = offset_of!(StepRow, token) as u64;
            recorder.copy((&a.ids.buffer, 0), (&a.rows.buffer, place), 4);
        }
        let pass = &rank.pass;
        let suppress: &[_] = if choice.suppressed.is_empty() { &[] } else { &pass.suppress };
        let choose: &[_] = if choice.draw.is_some() { &pass.sample } else { &pass.argmax };
        for ops in [pass.body(1), pass.head(1), suppress, choose] {
            record(&mut recorder, ops, 1);
        }
        recorder.read_into(&a.ids, 1, &ahead.ids[ahead.next]);
        ahead.waiting.push_back((ahead.next, recorder.submit()));
        ahead.next = (ahead.next + 1) % MAX_WAITING;
        rank.cache.extend(slot, rows[0].position + 1);
        Ok(())
    }

    /// Waits for the id of the oldest step under way.
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] where a logit was not finite, [`crate::Error::Run`] where the device fails; the ids of later steps are lost.
    ///
    /// # Panics
    /// Where no step is under way.
    pub fn next_id(&mut self) -> Result<u32> {
        let rank = &mut self.ranks[0];
        let (number, submission) = rank.ahead.waiting.pop_front().expect("a step was submitted");
        let id = rank.ahead.ids[number].read_after(&rank.gpu, &submission, 1);
        let id = id.and_then(|ids: Vec<u32>| match ids[0] {
            argmax::NOT_FINITE => Err(not_finite()),
            id => Ok(id),
        });
        if id.is_err() {
            rank.ahead.forget();
        }
        id
    }
}
