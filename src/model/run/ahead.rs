//! Decoding without waiting: a step takes its tokens from the step before on the device, so that it is recorded and
//! submitted before the host knows them.

use super::exchange::{not_finite, record};
use super::rank::Rank;
use super::step::{FEW_ROWS, Row};
use super::under_way::{Chosen, Next, Waiting};
use crate::Result;
use crate::error::Usage;
use crate::gpu::Recorder;
use crate::kernels::choice::sample::{self, Draw};
use crate::kernels::choice::{argmax, suppress};
use crate::model::Gemma4;

impl Rank {
    /// Hands what the rows' choices need to the device.
    fn upload_choices(&self, rows: &[Next], suppressed: &[u32]) -> Result<()> {
        let a = &self.activations;
        if rows.iter().any(|row| row.draw.is_some()) {
            let draws: Vec<Draw> = rows.iter().map(|row| row.draw.unwrap_or(Draw::GREEDY)).collect();
            self.gpu.write(&a.draws.buffer, 0, &draws)?;
        }
        if !suppressed.is_empty() {
            let mut ids = [suppress::NO_ID; suppress::MAX_IDS];
            ids[..suppressed.len()].copy_from_slice(suppressed);
            self.gpu.write(&a.suppressed.buffer, 0, &ids)?;
        }
        Ok(())
    }
}

impl Gemma4 {
    /// True where steps of `n_rows` rows can be submitted ahead of their tokens: on one rank, where the host has nothing
    /// to look up for a token and no experts to bring, and where rows are few.
    pub fn runs_ahead(&self, n_rows: usize) -> bool {
        let few = (1..=FEW_ROWS).contains(&n_rows);
        let on_device = |rank: &Rank| rank.activations.per_layer.is_none() && rank.windows.is_none();
        few && matches!(&*self.ranks, [rank] if on_device(rank))
    }

    /// Submits a step with one row for each of some slots and does not wait for it; none of `suppressed`, at most
    /// [`suppress::MAX_IDS`], is chosen. Slots may join from step to step, with a token, and leave. False where two steps are
    /// under way already, or where one is and the KV cache must grow: read ids first, then try again.
    ///
    /// [`Gemma4::truncate`] undoes the steps of a slot whose ids turn out not to be wanted, and forgets that slot's. After
    /// any other step the next one submitted needs its tokens from the host.
    ///
    /// # Errors
    /// As [`Gemma4::step`]; [`crate::Error::Usage`] also where [`Gemma4::runs_ahead`] is false, for a row without a token whose
    /// slot is not in the step submitted before, for a slot with two rows, and for a choice that the device cannot make.
    pub fn submit(&mut self, rows: &[Next], suppressed: &[u32]) -> Result<bool> {
        if !self.runs_ahead(rows.len()) {
            return Err(Usage::NotAhead { rows: rows.len() }.into());
        }
        check_choices(rows, suppressed)?;
        let (rank, waits) = (&self.ranks[0], !self.ranks[0].ahead.waiting.is_empty());
        let must_grow = rows.iter().any(|row| self.len(row.slot) >= rank.cache.capacity());
        match rank.ahead.free() {
            Some(number) if !(waits && must_grow) => self.submit_to(number, rows, suppressed).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Submits a step whose ids come to readback `number`.
    fn submit_to(&mut self, number: usize, next: &[Next], suppressed: &[u32]) -> Result<()> {
        // A token that is not known yet is one of the vocabulary, or the step's result is thrown away.
        let row = |next: &Next| Row { slot: next.slot, position: self.len(next.slot), token: next.token.unwrap_or(0) };
        let mut rows: Vec<Row> = next.iter().map(row).collect();
        self.make_room(&rows)?;
        let rank = &mut self.ranks[0];
        for (row, next) in rows.iter_mut().zip(next) {
            row.token = rank.ahead.token(next)?;
        }
        rank.upload(&rows)?;
        rank.upload_choices(next, suppressed)?;
        let mut recorder = Recorder::paced(&rank.gpu);
        let (n_rows, pass) = (rows.len(), &rank.pass);
        let suppress: &[_] = if suppressed.is_empty() { &[] } else { &pass.suppress };
        let is_drawn = next.iter().any(|row| row.draw.is_some());
        let choose: &[_] = if is_drawn { &pass.sample } else { &pass.argmax };
        for ops in [pass.body(n_rows), pass.head(n_rows), suppress, choose] {
            record(&mut recorder, ops, n_rows);
        }
        recorder.read_into(&rank.activations.ids, n_rows, &rank.ahead.ids[number])?;
        let slots: Vec<_> = rows.iter().map(|row| Some(row.slot)).collect();
        rank.ahead.held.clone_from(&slots);
        rank.ahead.waiting.push_back(Waiting { number, submission: recorder.submit(), slots });
        for row in rows {
            rank.cache.extend(row.slot, row.position + 1);
        }
        Ok(())
    }

    /// Waits for the ids of the oldest step under way: each with its slot, in the order of its rows, without those that were
    /// forgotten.
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] where a logit was not finite, [`crate::Error::Run`] where the device fails; the ids of later
    /// steps are lost. [`crate::Error::Usage`] where no step is under way.
    pub fn next_ids(&mut self) -> Result<Vec<Chosen>> {
        let rank = &mut self.ranks[0];
        let Some(Waiting { number, submission, slots }) = rank.ahead.waiting.pop_front() else {
            return Err(Usage::NothingUnderWay.into());
        };
        let ids = rank.ahead.ids[number].read_after::<u32>(&rank.gpu, &submission, slots.len()).and_then(|ids| {
            let wanted = slots.into_iter().zip(ids).filter_map(|(slot, token)| Some(Chosen { slot: slot?, token }));
            wanted.map(|one| if one.token == argmax::NOT_FINITE { Err(not_finite()) } else { Ok(one) }).collect()
        });
        if ids.is_err() {
            rank.ahead.forget_all();
        }
        ids
    }
}

/// Fails for choices that the device cannot make.
fn check_choices(rows: &[Next], suppressed: &[u32]) -> Result<()> {
    let (found, most) = (suppressed.len(), suppress::MAX_IDS);
    if found > most {
        return Err(Usage::OnDevice { what: "suppressed ids", found, least: 0, most }.into());
    }
    let top_ks = rows.iter().filter_map(|row| row.draw).map(|draw| draw.top_k as usize);
    match top_ks.into_iter().find(|top_k| !(1..=sample::MAX_TOP_K).contains(top_k)) {
        Some(found) => Err(Usage::OnDevice { what: "as top-k", found, least: 1, most: sample::MAX_TOP_K }.into()),
        None => Ok(()),
    }
}
