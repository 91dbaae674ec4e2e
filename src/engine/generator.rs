//! Generating: prefill what is new of a prompt, then one token after the other.

use std::collections::HashSet;
use std::ops::ControlFlow;

use web_time::Instant;

use super::length::check_length;
use super::recovery::Recovery;
use super::{Sampler, Sampling};
use crate::error::{Failure, Lost, Usage};
use crate::kernels::choice::suppress;
use crate::model::{Gemma4, Next, Output, Row, Want};
use crate::{Error, Result};

/// What is asked of one answer.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens to generate, the stop token included; `None` for as many as the context holds.
    pub max_tokens: Option<usize>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// With a stop token.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The caller asked to stop.
    Interrupted,
}

/// How long prompt and answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    /// Tokens of the prompt that were run; those that the slot held already are not among them.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that the slot held already.
    pub reused_tokens: usize,
    /// Seconds until the first token was there.
    pub prompt_seconds: f64,
    /// Tokens generated after the first.
    pub decode_tokens: usize,
    /// Seconds that these took.
    pub decode_seconds: f64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Generated ids, a stop id included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// How long it took.
    pub timings: Timings,
}

/// Tokens of an answer that are run again before the device is waited for.
const REPLAYED: usize = 32;

/// An answer as far as it has come; a loss of the device leaves it as it is.
struct Answer<'a> {
    slot: usize,
    prompt: &'a [u32],
    sampling: Sampling,
    /// Most ids.
    most: usize,
    ids: Vec<u32>,
    timings: Timings,
    start: Instant,
    /// When the first id was there.
    first: Option<Instant>,
}

/// Is told of each id, and of each chunk of a prompt; ends the answer.
type Watch<'a> = dyn FnMut(Option<u32>) -> ControlFlow<()> + 'a;

/// A model, and the ids that its slots hold.
#[derive(Debug)]
pub struct Generator {
    model: Gemma4,
    held: Vec<Vec<u32>>,
    stop_ids: Vec<u32>,
    suppress: Vec<u32>,
    reserved: HashSet<u32>,
    waits: bool,
    recovery: Option<Recovery>,
}

/// So many reserved tokens in a row are no answer of any model: kernels or weights are wrong.
const FLOOD: usize = 8;

impl Generator {
    /// A generator whose answers end with any of `stop_ids` and never contain any of `suppress`.
    pub fn new(model: Gemma4, stop_ids: &[u32], suppress: &[u32]) -> Self {
        let held = vec![Vec::new(); model.slots()];
        let (stop_ids, suppress) = (stop_ids.to_vec(), suppress.to_vec());
        Generator { model, held, stop_ids, suppress, reserved: HashSet::new(), waits: false, recovery: None }
    }

    /// The same, but `ids` end an answer as well: those that end a turn by their name in the vocabulary.
    #[must_use]
    pub fn with_stop_ids(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        for id in ids {
            if !self.is_stop(id) {
                self.stop_ids.push(id);
            }
        }
        self
    }

    /// The same with a vocabulary whose tokens `ids` mean nothing: an answer that has many of them in a row is an error.
    #[must_use]
    pub fn with_reserved(self, ids: impl IntoIterator<Item = u32>) -> Self {
        Generator { reserved: ids.into_iter().collect(), ..self }
    }

    /// The same, but no step is under way before the token that it takes is known, and tokens are drawn on the host: what
    /// running ahead is compared with.
    #[must_use]
    pub fn waiting(self) -> Self {
        Generator { waits: true, ..self }
    }

    /// The same, but where the device is lost, `reload` loads the model again, all ids of the answer's slot are run again
    /// and the answer goes on as if nothing had happened. `reload` is told why the device was lost. The third loss within a
    /// minute ends it.
    #[must_use]
    pub fn recovering(self, reload: impl FnMut(&str) -> Result<Gemma4> + Send + 'static) -> Self {
        Generator { recovery: Some(Recovery::new(Box::new(reload))), ..self }
    }

    /// The model.
    pub fn model(&self) -> &Gemma4 {
        &self.model
    }

    /// The ids that end an answer.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// True for the ids that end an answer.
    pub fn is_stop(&self, id: u32) -> bool {
        self.stop_ids.contains(&id)
    }

    /// Ids that `slot` holds; none for one that there is not.
    pub fn held(&self, slot: usize) -> &[u32] {
        self.held.get(slot).map_or(&[], Vec::as_slice)
    }

    /// Continues `prompt` in `slot`. What the slot holds already of the prompt's beginning is not run again. `watch` is
    /// called after each prefill chunk without an id and after each generated id, the stop id included, and may end the
    /// answer.
    ///
    /// # Errors
    /// [`Error::Usage`] for a slot that there is not, an empty prompt, one that does not fit the context, or a sampling value out
    /// of its range;
    /// [`Error::Run`], [`Error::Memory`] from the model; [`Error::NotFinite`], which names the kernel, where logits are no
    /// numbers; [`Error::Run`] also for a flood of reserved tokens: the slot stays usable. [`Error::DeviceLost`] where that is
    /// the end.
    pub fn generate(&mut self, slot: usize, prompt: &[u32], request: &Request, watch: &mut Watch) -> Result<Outcome> {
        self.model.check_slot(slot)?;
        let context = self.model.context();
        if prompt.is_empty() {
            return Err(Usage::EmptyPrompt.into());
        }
        check_length(prompt.len(), context)?;
        request.sampling.check()?;
        let most = request.max_tokens.unwrap_or(usize::MAX).min(context - prompt.len());
        let mut timings = Timings { reused_tokens: self.reuse(slot, prompt), ..Timings::default() };
        timings.prompt_tokens = prompt.len() - timings.reused_tokens;
        let (ids, start) = (Vec::new(), Instant::now());
        let mut answer = Answer { slot, prompt, sampling: request.sampling, most, ids, timings, start, first: None };
        loop {
            match self.go_on(&mut answer, watch) {
                Err(Error::DeviceLost(lost)) => {
                    self.recover(lost)?;
                    // What was loaded again may have fewer.
                    self.model.check_slot(slot)?;
                }
                other => return Ok(answer.outcome(other?)),
            }
        }
    }

    /// The logits behind `ids` in `slot`, `[vocab_size]`. What the slot holds already of their beginning is not run again.
    ///
    /// # Errors
    /// [`Error::Usage`] for a slot that there is not, for no ids, and for more than the context has; [`Error::Run`], [`Error::Memory`] and
    /// [`Error::DeviceLost`] from the model.
    pub fn logits(&mut self, slot: usize, ids: &[u32]) -> Result<Vec<f32>> {
        self.model.check_slot(slot)?;
        let context = self.model.context();
        if ids.is_empty() || ids.len() > context {
            return Err(Usage::Ids { found: ids.len(), context }.into());
        }
        self.reuse(slot, ids);
        let (rest, last) = ids.split_at(ids.len() - 1);
        if rest.len() > self.held[slot].len() {
            // Nobody can end it.
            let _flow = self.prefill(slot, rest, None, &mut |_| ControlFlow::Continue(()))?;
        }
        let row = Row { slot, position: rest.len(), token: last[0] };
        let output = self.model.step(&[row], Want::Logits(&[0]));
        self.note(slot, last, &output);
        Ok(output?.logits)
    }

    /// `slot` holds nothing from here on.
    pub fn forget(&mut self, slot: usize) {
        self.model.truncate(slot, 0);
        if let Some(held) = self.held.get_mut(slot) {
            held.clear();
        }
    }

    /// Generates until the answer's end.
    fn go_on(&mut self, answer: &mut Answer, watch: &mut Watch) -> Result<Finish> {
        let Answer { slot, prompt, most, .. } = *answer;
        if most == 0 {
            return Ok(Finish::Length);
        }
        let mut sampler = Sampler::after(answer.sampling, answer.ids.len())?;
        let ahead = self.runs_ahead(&sampler);
        let mut last = answer.ids.last().copied();
        if last.is_some() && self.replay(slot, prompt, &answer.ids, watch)?.is_break() {
            return Ok(Finish::Interrupted);
        }
        loop {
            let id = match last {
                None => match self.prefill(slot, prompt, Some(&mut sampler), watch)? {
                    ControlFlow::Continue(id) => {
                        // The next turn comes back to here: templates write past answers otherwise than they were
                        // generated.
                        self.model.mark(slot)?;
                        id.expect("a sampler was given")
                    }
                    ControlFlow::Break(()) => return Ok(Finish::Interrupted),
                },
                Some(id) if ahead => self.run_ahead(slot, id, most - answer.ids.len(), &mut sampler)?,
                Some(id) => self.run(slot, &[id], Some(&mut sampler))?.expect("a sampler was given"),
            };
            answer.first.get_or_insert_with(Instant::now);
            answer.ids.push(id);
            last = Some(id);
            if self.is_flood(&answer.ids) {
                self.undo_unread(slot);
                return Err(flooded(&answer.ids[answer.ids.len() - FLOOD..]));
            }
            let flow = watch(last);
            let finish = if self.is_stop(id) {
                Finish::Stop
            } else if answer.ids.len() >= most {
                Finish::Length
            } else if flow.is_break() {
                Finish::Interrupted
            } else {
                continue;
            };
            self.undo_unread(slot);
            return Ok(finish);
        }
    }

    /// Loads the model again, whose device was `lost`. No slot holds anything then.
    fn recover(&mut self, lost: Lost) -> Result<()> {
        let Some(recovery) = &mut self.recovery else { return Err(lost.into()) };
        self.model = recovery.reload(&self.model, lost)?;
        self.held = vec![Vec::new(); self.model.slots()];
        Ok(())
    }

    /// Runs a prompt and an answer's `ids` but the last again, in steps like those that they came from: a step of other
    /// rows rounds otherwise, and the text that follows could be another. What earlier answers left in the prompt is run
    /// in chunks.
    fn replay(&mut self, slot: usize, prompt: &[u32], ids: &[u32], watch: &mut Watch) -> Result<ControlFlow<()>> {
        if self.prefill(slot, prompt, None, watch)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.model.mark(slot)?;
        for part in ids[..ids.len() - 1].chunks(REPLAYED) {
            for &id in part {
                self.run(slot, &[id], None)?;
            }
            self.model.gpu().wait()?;
            if watch(None).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Keeps what `slot` holds of the beginning of `prompt`, but not all of it: the last token must be run for its
    /// logits. Returns how many tokens stay.
    fn reuse(&mut self, slot: usize, prompt: &[u32]) -> usize {
        let held = &mut self.held[slot];
        let common = held.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        let kept = self.model.truncate(slot, common);
        held.truncate(kept);
        kept
    }

    /// Runs the rest of `prompt` in chunks; with a sampler, the first generated id. Breaks where the caller ended it.
    fn prefill(
        &mut self,
        slot: usize,
        prompt: &[u32],
        sampler: Option<&mut Sampler>,
        watch: &mut Watch,
    ) -> Result<ControlFlow<(), Option<u32>>> {
        loop {
            let rest = &prompt[self.held[slot].len()..];
            let rows = self.model.next_chunk_rows();
            if rest.len() <= rows {
                return self.run(slot, rest, sampler).map(ControlFlow::Continue);
            }
            self.run(slot, &rest[..rows], None)?;
            if watch(None).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// True where steps can be submitted before the tokens that they take are known.
    fn runs_ahead(&self, sampler: &Sampler) -> bool {
        let fits = sampler.fits_device() && self.suppress.len() <= suppress::MAX_IDS;
        fits && self.model.runs_ahead(1) && !self.waits
    }

    /// True where a step that waits chooses on the device: greedily, and no ids must not be chosen.
    fn is_chosen_on_device(&self, sampler: &Sampler) -> bool {
        sampler.is_greedy() && self.suppress.is_empty()
    }

    /// The id that follows `id`, of `left` that may still follow. The step after it is under way when it is read.
    fn run_ahead(&mut self, slot: usize, id: u32, left: usize, sampler: &mut Sampler) -> Result<u32> {
        let next = self.submit_and_read(slot, id, left, sampler);
        match next {
            Ok(_) => self.held[slot].push(id),
            Err(_) => self.undo_unread(slot),
        }
        next.map_err(|error| self.explained(slot, &[id], error))
    }

    /// `error`, and where logits were not finite what made them, of the step that ran `ids` behind what `slot` holds; the slot
    /// holds nothing then.
    fn explained(&mut self, slot: usize, ids: &[u32], error: Error) -> Error {
        if !matches!(error, Error::NotFinite(_)) {
            return error;
        }
        let mut all = std::mem::take(&mut self.held[slot]);
        all.extend_from_slice(ids);
        self.model.explain(slot, &all, ids.len())
    }

    fn submit_and_read(&mut self, slot: usize, id: u32, left: usize, sampler: &mut Sampler) -> Result<u32> {
        let mut under_way = self.model.len(slot) - self.held[slot].len();
        while under_way < left {
            let next = Next { slot, token: (under_way == 0).then_some(id), draw: sampler.draw()? };
            if !self.model.submit(&[next], &self.suppress)? {
                break;
            }
            sampler.advance();
            under_way += 1;
        }
        let ids = self.model.next_ids()?;
        Ok(ids[0].token)
    }

    /// True where `ids` end with so many reserved tokens as no answer has.
    fn is_flood(&self, ids: &[u32]) -> bool {
        ids.len() >= FLOOD && ids[ids.len() - FLOOD..].iter().all(|id| self.reserved.contains(id))
    }

    /// Takes back the steps that ran ahead of what `slot` is to hold.
    fn undo_unread(&mut self, slot: usize) {
        let kept = self.model.truncate(slot, self.held[slot].len());
        self.held[slot].truncate(kept);
    }

    /// Runs `ids` behind what the slot holds; with a sampler, the id that follows.
    fn run(&mut self, slot: usize, ids: &[u32], sampler: Option<&mut Sampler>) -> Result<Option<u32>> {
        let first = self.held[slot].len();
        let rows: Vec<Row> =
            ids.iter().enumerate().map(|(i, &token)| Row { slot, position: first + i, token }).collect();
        let last = [ids.len() - 1];
        let greedy = sampler.as_ref().is_some_and(|sampler| self.is_chosen_on_device(sampler));
        let want = match (&sampler, greedy) {
            (None, _) => Want::Nothing,
            (Some(_), true) => Want::Greedy(&last),
            (Some(_), false) => Want::Logits(&last),
        };
        let output = self.model.step(&rows, want);
        self.note(slot, ids, &output);
        let mut output = output.map_err(|error| self.explained(slot, ids, error))?;
        let chosen = match sampler {
            None => Ok(None),
            Some(_) if greedy => Ok(Some(output.ids[0])),
            Some(sampler) => {
                for &id in &self.suppress {
                    if let Some(logit) = output.logits.get_mut(id as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                sampler.choose(&output.logits).map(Some)
            }
        };
        chosen.map_err(|error| {
            self.held[slot].truncate(first);
            self.explained(slot, ids, error)
        })
    }

    /// Keeps `held` equal to what the cache holds, also where a step failed.
    fn note(&mut self, slot: usize, ids: &[u32], output: &Result<Output>) {
        if output.is_ok() {
            self.held[slot].extend_from_slice(ids);
        } else {
            self.undo_unread(slot);
        }
    }
}

fn flooded(ids: &[u32]) -> Error {
    Failure::Reserved { ids: ids.to_vec() }.into()
}

impl Answer<'_> {
    /// What came of it.
    fn outcome(mut self, finish: Finish) -> Outcome {
        let since = |from: Instant| from.elapsed().as_secs_f64();
        if self.most > 0 {
            self.timings.prompt_seconds = since(self.start) - self.first.map_or(0.0, since);
            self.timings.decode_seconds = self.first.map_or(0.0, since);
        }
        self.timings.decode_tokens = self.ids.len().saturating_sub(1);
        Outcome { ids: self.ids, finish, timings: self.timings }
    }
}
