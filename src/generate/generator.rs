//! Generating: prefill what is new of a prompt, then one token after the other.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Instant;

use super::{Sampler, Sampling};
use crate::kernels::suppress;
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

/// A model, and the ids that its slots hold.
#[derive(Debug)]
pub struct Generator {
    model: Gemma4,
    held: Vec<Vec<u32>>,
    stop_ids: Vec<u32>,
    suppress: Vec<u32>,
    reserved: HashSet<u32>,
    waits: bool,
}

/// So many reserved tokens in a row are no answer of any model: kernels or weights are wrong.
const FLOOD: usize = 8;

impl Generator {
    /// A generator whose answers end with any of `stop_ids` and never contain any of `suppress`.
    pub fn new(model: Gemma4, stop_ids: &[u32], suppress: &[u32]) -> Self {
        let held = vec![Vec::new(); model.slots()];
        let (stop_ids, suppress) = (stop_ids.to_vec(), suppress.to_vec());
        Generator { model, held, stop_ids, suppress, reserved: HashSet::new(), waits: false }
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

    /// Ids that `slot` holds.
    pub fn held(&self, slot: usize) -> &[u32] {
        &self.held[slot]
    }

    /// Continues `prompt` in `slot`. What the slot holds already of the prompt's beginning is not run again. `watch` is
    /// called after each prefill chunk without an id and after each generated id, the stop id included, and may end the
    /// answer.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty prompt, one that does not fit the context, or a sampling value out of its range;
    /// [`Error::Run`], [`Error::Memory`] from the model; [`Error::NotFinite`], which names the kernel, where logits are no
    /// numbers; [`Error::Run`] also for a flood of reserved tokens. The slot stays usable.
    pub fn generate(
        &mut self,
        slot: usize,
        prompt: &[u32],
        request: &Request,
        watch: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let context = self.model.context();
        if prompt.is_empty() {
            return Err(Error::Usage("the prompt has no tokens, expected at least 1".into()));
        }
        if prompt.len() >= context {
            return Err(Error::Usage(format!(
                "the prompt has {} tokens, but the context is {context}: expected at most {}",
                prompt.len(),
                context - 1
            )));
        }
        let mut sampler = Sampler::new(request.sampling)?;
        let start = Instant::now();
        let mut ids = Vec::new();
        let mut timings = Timings { reused_tokens: self.reuse(slot, prompt), ..Timings::default() };
        timings.prompt_tokens = prompt.len() - timings.reused_tokens;
        let most = request.max_tokens.unwrap_or(usize::MAX).min(context - prompt.len());
        if most == 0 {
            return Ok(Outcome { ids, finish: Finish::Length, timings });
        }
        let Some(mut id) = self.prefill(slot, prompt, &mut sampler, watch)? else {
            timings.prompt_seconds = start.elapsed().as_secs_f64();
            return Ok(Outcome { ids, finish: Finish::Interrupted, timings });
        };
        timings.prompt_seconds = start.elapsed().as_secs_f64();
        let decode = Instant::now();
        let ahead = self.runs_ahead(&sampler);
        let mut flood = 0;
        let finish = loop {
            ids.push(id);
            flood = if self.reserved.contains(&id) { flood + 1 } else { 0 };
            if flood == FLOOD {
                self.undo_unread(slot);
                return Err(flooded(&ids[ids.len() - FLOOD..]));
            }
            let flow = watch(Some(id));
            if self.is_stop(id) {
                break Finish::Stop;
            }
            if ids.len() >= most {
                break Finish::Length;
            }
            if flow.is_break() {
                break Finish::Interrupted;
            }
            id = match ahead {
                true => self.run_ahead(slot, id, most - ids.len(), &mut sampler)?,
                false => self.run(slot, &[id], Some(&mut sampler))?.expect("a sampler was given"),
            };
        };
        self.undo_unread(slot);
        timings.decode_tokens = ids.len() - 1;
        timings.decode_seconds = decode.elapsed().as_secs_f64();
        Ok(Outcome { ids, finish, timings })
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

    /// Runs the rest of `prompt` in chunks; the first generated id, or `None` where the caller ended it.
    fn prefill(
        &mut self,
        slot: usize,
        prompt: &[u32],
        sampler: &mut Sampler,
        watch: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<Option<u32>> {
        let rest = &prompt[self.held[slot].len()..];
        let (chunks, last) = rest.split_at((rest.len() - 1) / self.model.chunk_rows() * self.model.chunk_rows());
        for chunk in chunks.chunks(self.model.chunk_rows()) {
            self.run(slot, chunk, None)?;
            if watch(None).is_break() {
                return Ok(None);
            }
        }
        self.run(slot, last, Some(sampler))
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
            let next = Next { slot, token: (under_way == 0).then_some(id), draw: sampler.draw() };
            if !self.model.submit(&[next], &self.suppress)? {
                break;
            }
            sampler.advance();
            under_way += 1;
        }
        let ids = self.model.next_ids()?;
        Ok(ids[0].1)
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
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    Error::Run(format!(
        "the last {FLOOD} tokens are reserved ones (ids {}), which no answer has: kernels or weights are wrong; `lapidary doctor` \
         checks the adapter's kernels, and --precision exact does without rounding",
        ids.join(", ")
    ))
}
