//! The model: load it, run steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use web_time::Instant;

use super::load::advice;
use super::load::advice::{Advisor, Rooms};
use super::load::layout::ModelLayout;
use super::load::loader;
use super::load::memory::MemoryPlan;
use super::load::options::{LoadTimes, Options, Progress};
use super::load::prepared::{Reserved, Taken, take};
use super::load::uploads::Uploads;
use super::load::weights::HostExperts;
use super::run::exchange::{Begun, Captured, Run};
use super::run::rank::{PlacedRank, Rank};
use super::run::step::{FEW_ROWS, Output, Row, Traced, Want, check_continued};
use crate::checkpoint::Checkpoint;
use crate::error::{Fault, Usage};
use crate::gemma4::Config;
use crate::gpu::{Gpu, TARGET_SECONDS, Tiers};
use crate::kernels::attention::head_norm_rope::{HEAD_DIM_STEP, MAX_HEAD_DIM};
use crate::kernels::experts::router::{MAX_EXPERTS, MAX_TOP_K};
use crate::parallel::{Collective, HostMemory};
use crate::quant::requantize::Deviation;
use crate::{Error, Result, kernels, threads};

/// Rows of the first chunk of a prompt, and how many times larger than any before it the next may be.
const FIRST_CHUNK_ROWS: usize = 64;
const FIRST_GROWTH: usize = 4;

/// A Gemma 4 model on one device or several, with the KV cache of its slots.
#[derive(Debug)]
pub struct Gemma4 {
    config: Config,
    context: usize,
    chunk_rows: usize,
    /// Rows of the largest step so far.
    most_rows_run: usize,
    pub(super) ranks: Vec<Rank>,
    collective: Box<dyn Collective>,
    head: Option<Deviation>,
    load_times: LoadTimes,
}

impl Gemma4 {
    /// Verifies a checkpoint's contents, uploads its weights and compiles its forward pass. All ranks of
    /// [`Options::parallel`] run on `gpu`; models of one device share its pipelines.
    ///
    /// # Errors
    /// [`Error::Model`] for faults in the checkpoint, before anything is uploaded; [`Error::Usage`] for a context that
    /// the model or the device does not have, and for more ranks than the model can be cut for; [`Error::Memory`] and
    /// [`Error::Device`] from the device.
    pub fn load(
        gpu: impl Into<Arc<Gpu>>,
        checkpoint: &Checkpoint,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        Self::load_on(vec![gpu], checkpoint, options, progress)
    }

    /// As [`Gemma4::load`] with ranks on several devices: as many neighbouring ranks on each, as far as they divide.
    ///
    /// # Errors
    /// As [`Gemma4::load`]; [`Error::Usage`] also for more devices than ranks, or none.
    pub fn load_on(
        gpus: Vec<impl Into<Arc<Gpu>>>,
        checkpoint: &Checkpoint,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        let gpus: Vec<Arc<Gpu>> = gpus.into_iter().map(Into::into).collect();
        let layout = ModelLayout::files(&gpus, checkpoint, options)?;
        supported(&checkpoint.config)?;
        // Before anything is read, as far as headers tell; then again, as exact as loading itself.
        MemoryPlan::check(&gpus, checkpoint, options)?;
        let start = Instant::now();
        let contents = checkpoint.contents()?;
        let plan = |options: &Options| MemoryPlan::with_contents(&gpus, checkpoint, &contents, options);
        let advisor = Advisor { options, plan: &plan };
        advice::check(&checkpoint.config, advisor)?;
        let verified = start.elapsed();
        let weights = |layout: &ModelLayout| loader::reserve(layout, checkpoint, &contents);
        let mut model = Self::assemble(&checkpoint.config, &layout, advisor, progress, weights)?;
        model.load_times.weights += verified;
        model.load_times.pipelines += verified;
        Ok(model)
    }

    /// A model of `config` on the devices of its ranks: takes all memory, `weights` for the weights of each rank, then compiles
    /// while what these still lack is uploaded. What was asked for, in `advisor`, is for advice where it does not fit.
    pub(super) fn assemble<'a>(
        config: &Config,
        layout: &ModelLayout,
        advisor: Advisor,
        progress: &(dyn Fn(Progress) + Sync),
        weights: impl FnOnce(&ModelLayout) -> Result<Reserved<'a>>,
    ) -> Result<Self> {
        let start = Instant::now();
        let rooms = Rooms::before(layout);
        let load = || {
            let taken = take(layout, weights)?;
            if let Some(folder) = &layout.cache {
                layout.ranks.iter().for_each(|rank| rank.gpu.use_pipeline_cache(folder, &kernels::version()));
            }
            let before = start.elapsed();
            let mut bound = bind(taken, progress)?;
            bound.load_times.weights += before;
            bound.load_times.pipelines += before;
            Ok(bound)
        };
        let Bound { ranks, head, load_times } = load().map_err(|error| rooms.explain(error, config, advisor))?;
        for rank in &ranks {
            rank.gpu.wait()?;
            rank.gpu.save_pipeline_cache();
        }
        Ok(Gemma4 {
            config: config.clone(),
            context: layout.context,
            chunk_rows: layout.chunk_rows,
            most_rows_run: 0,
            ranks,
            collective: Box::new(HostMemory),
            head,
            load_times,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device that it runs on, of several the first rank's.
    pub fn gpu(&self) -> &Gpu {
        &self.ranks[0].gpu
    }

    /// The kernels that it runs with, of several devices the first rank's.
    pub fn tiers(&self) -> Tiers {
        self.ranks[0].tiers
    }

    /// Bytes taken on all devices.
    pub fn allocated_bytes(&self) -> u64 {
        let mut gpus: Vec<&Arc<Gpu>> = self.ranks.iter().map(|rank| &rank.gpu).collect();
        gpus.dedup_by(|a, b| Arc::ptr_eq(a, b));
        gpus.into_iter().map(|gpu| gpu.allocated_bytes()).sum()
    }

    /// Gives all memory on the devices back. Every later call fails.
    pub(crate) fn give_up(&self) {
        self.ranks.iter().for_each(|rank| rank.gpu.give_up());
    }

    /// What requantizing the head changed; `None` where it is as the file has it.
    pub fn head_deviation(&self) -> Option<Deviation> {
        self.head
    }

    /// How long loading took.
    pub fn load_times(&self) -> LoadTimes {
        self.load_times
    }

    /// For each rank its device, its query heads and what it holds there.
    pub fn ranks(&self) -> impl Iterator<Item = PlacedRank<'_>> {
        self.ranks.iter().map(|rank| PlacedRank {
            gpu: &rank.gpu,
            heads: rank.share.heads.clone(),
            memory: rank.memory(),
        })
    }

    /// Layers whose experts are in host memory, the first ones, and the bytes that these take there.
    pub fn host_experts(&self) -> HostExperts {
        let hosted = |rank: &Rank| rank.weights().hosted();
        HostExperts {
            layers: hosted(&self.ranks[0]).layers,
            bytes: self.ranks.iter().map(|rank| hosted(rank).bytes).sum(),
        }
    }

    /// Positions that a sequence can have; less than was planned once the device had no room for more.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The most rows that a step can have.
    pub fn chunk_rows(&self) -> usize {
        self.chunk_rows
    }

    /// Rows that the next chunk of a prompt should have: [`Gemma4::chunk_rows`], but fewer at first, until it is known how
    /// long kernels take, and where one of them would keep the device for longer than 100 ms. Software adapters, which no
    /// driver resets, take all at once.
    pub fn next_chunk_rows(&self) -> usize {
        let fits = |rows: usize| self.ranks.iter().all(|rank| rank.longest_dispatch(rows) <= TARGET_SECONDS);
        if !self.ranks.iter().any(|rank| rank.gpu.has_watchdog()) {
            return self.chunk_rows;
        }
        // Kernels of larger chunks may be others, which are not known yet.
        let most = self.chunk_rows.min((self.most_rows_run * FIRST_GROWTH).max(FIRST_CHUNK_ROWS));
        let mut rows = most;
        while rows / 2 > FEW_ROWS && !fits(rows) {
            rows /= 2;
        }
        rows
    }

    /// Sequences that the KV cache holds side by side.
    pub fn slots(&self) -> usize {
        self.ranks[0].cache.n_slots()
    }

    /// Positions that `slot` holds; 0 for one that there is not.
    pub fn len(&self, slot: usize) -> usize {
        self.ranks[0].cache.len(slot)
    }

    /// True where no slot holds anything.
    pub fn is_empty(&self) -> bool {
        (0..self.slots()).all(|slot| self.len(slot) == 0)
    }

    /// Makes what `slot` holds a place that [`Gemma4::truncate`] can come back to however long the text behind it becomes,
    /// instead of the place marked before. Without [`Options::marks`] it does nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] for a slot that there is not.
    pub fn mark(&mut self, slot: usize) -> Result<()> {
        self.check_slot(slot)?;
        self.ranks.iter_mut().for_each(|rank| rank.cache.mark(&rank.gpu, slot));
        Ok(())
    }

    /// Keeps the first `len` positions of `slot`, or none where a sliding layer's ring no longer holds the window before
    /// them, nor where [`Gemma4::mark`] has copied it. Returns how many are kept: what lies behind must be run again. The slot's ids of [`Gemma4::submit`] that
    /// were not read are forgotten. A slot that there is not keeps nothing.
    pub fn truncate(&mut self, slot: usize, len: usize) -> usize {
        if slot >= self.slots() {
            return 0;
        }
        let kept = self.ranks.iter_mut().map(|rank| {
            rank.ahead.forget(slot);
            rank.cache.truncate(&rank.gpu, slot, len)
        });
        kept.min().expect("at least one rank")
    }

    /// Runs `rows` through the model. Rows of a slot stand together and continue what the slot holds.
    ///
    /// # Errors
    /// [`Error::Usage`] for no rows or too many, a position beyond the context, a token beyond the vocabulary, a slot that there
    /// is not, rows that do not continue what it holds, and a row wanted that there is not; [`Error::Memory`] where the
    /// KV cache cannot grow; [`Error::Run`] where the device fails.
    pub fn step(&mut self, rows: &[Row], want: Want) -> Result<Output> {
        Ok(self.run(rows, want, false)?.output)
    }

    /// As [`Gemma4::step`] with every inner tensor, for comparing engines: slow.
    ///
    /// # Errors
    /// As [`Gemma4::step`].
    pub fn step_with_activations(&mut self, rows: &[Row], want: Want) -> Result<Traced> {
        self.run(rows, want, true)
    }

    fn run(&mut self, rows: &[Row], want: Want, keep: bool) -> Result<Traced> {
        want.check(rows.len())?;
        self.make_ready(rows)?;
        let Begun { run, captures } = Run::body(&self.ranks, &*self.collective, rows.len(), keep)?;
        let output = run.outputs(want)?;
        self.most_rows_run = self.most_rows_run.max(rows.len());
        self.extend(rows);
        let activations = captures.into_iter().map(|Captured { name, activation }| (name, activation)).collect();
        Ok(Traced { output, activations })
    }

    /// Notes that the slots hold the rows of a step.
    pub(super) fn extend(&mut self, rows: &[Row]) {
        for part in rows.chunk_by(|a, b| a.slot == b.slot) {
            for rank in &mut self.ranks {
                rank.cache.extend(part[0].slot, part[part.len() - 1].position + 1);
            }
        }
    }

    /// What combines the ranks' results.
    pub(super) fn collective(&self) -> &dyn Collective {
        &*self.collective
    }

    /// Checks the rows of a step whose tokens are known, makes room for them and hands them to the devices.
    pub(super) fn make_ready(&mut self, rows: &[Row]) -> Result<()> {
        self.make_room(rows)?;
        self.ranks.iter_mut().for_each(|rank| rank.ahead.overwrite());
        self.ranks.iter().try_for_each(|rank| rank.upload(rows))
    }

    /// Checks the rows of a step and makes room for them.
    pub(super) fn make_room(&mut self, rows: &[Row]) -> Result<()> {
        self.check(rows)?;
        let positions = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        match self.ranks.iter_mut().try_for_each(|rank| rank.reserve(positions)) {
            Err(Error::Memory(mut no_room)) => {
                self.context = self.ranks.iter().map(|rank| rank.cache.capacity()).min().expect("at least one rank");
                no_room.cut_to = Some(self.context);
                Err(Error::Memory(no_room))
            }
            other => other,
        }
    }

    fn check(&self, rows: &[Row]) -> Result<()> {
        if rows.is_empty() || rows.len() > self.chunk_rows {
            return Err(Usage::Rows { found: rows.len(), most: self.chunk_rows }.into());
        }
        for row in rows {
            if row.token as usize >= self.config.vocab_size {
                return Err(Usage::Token { token: row.token, vocab: self.config.vocab_size }.into());
            }
            if row.position >= self.context {
                return Err(Usage::Position { position: row.position, context: self.context }.into());
            }
            self.check_slot(row.slot)?;
        }
        check_continued(rows, |slot| self.len(slot))
    }

    /// Fails for a slot that the KV cache does not have.
    ///
    /// # Errors
    /// [`Error::Usage`] with the slots that there are.
    pub fn check_slot(&self, slot: usize) -> Result<()> {
        let slots = self.slots();
        if slot < slots { Ok(()) } else { Err(Usage::Slot { slot, slots }.into()) }
    }
}

/// Ranks whose weights are there and whose passes are compiled.
struct Bound {
    ranks: Vec<Rank>,
    /// What requantizing the head changed.
    head: Option<Deviation>,
    load_times: LoadTimes,
}

/// Compiles and binds the passes of all ranks while `uploads` run, whose errors come first; also what requantizing the head
/// changed.
fn bind(Taken { ranks: planned, uploads }: Taken, progress: &(dyn Fn(Progress) + Sync)) -> Result<Bound> {
    let (start, streaming) = (Instant::now(), AtomicBool::new(uploads.is_some()));
    let compiling = |done, total| {
        // One thing is shown at a time.
        if !streaming.load(Ordering::Relaxed) {
            progress(Progress::Pipelines { done, total });
        }
    };
    let upload = |uploads: Uploads| {
        let uploaded = uploads.run(progress);
        streaming.store(false, Ordering::Relaxed);
        uploaded.map(|head| (head, start.elapsed()))
    };
    let bind = || {
        let ranks = planned.into_iter().map(|rank| rank.bind(&compiling)).collect::<Result<Vec<_>>>();
        (ranks, start.elapsed())
    };
    let (uploaded, (ranks, pipelines)) = match uploads {
        Some(uploads) => threads::both(|| upload(uploads).map(Some), bind),
        None => (Ok(None), bind()),
    };
    let (head, weights) = uploaded?.unwrap_or_default();
    Ok(Bound { ranks: ranks?, head, load_times: LoadTimes { weights, pipelines } })
}

/// Ok unless the configuration has numbers that do not go together, or combinations that no released model has and this forward
/// pass does not do.
pub(super) fn supported(config: &Config) -> Result<()> {
    config.check()?;
    if config.hidden_size_per_layer_input > 0 && config.is_moe() {
        let fault = Fault::config("config.json").found("both experts and hidden_size_per_layer_input");
        return Err(fault.expected("at most one of them, as in all released models").unsupported().into());
    }
    let fits = |head_dim: usize| head_dim <= MAX_HEAD_DIM && head_dim.is_multiple_of(HEAD_DIM_STEP);
    if let Some(l) = config.layers.iter().position(|layer| !fits(layer.head_dim)) {
        let fault = Fault::key("config.json", "head_dim");
        let fault = fault.found(format!("of layer {l} is {}", config.layers[l].head_dim));
        return Err(fault.expected(format!("a multiple of {HEAD_DIM_STEP} up to {MAX_HEAD_DIM}")).unsupported().into());
    }
    at_most("num_experts", config.num_experts, MAX_EXPERTS)?;
    at_most("top_k_experts", config.top_k_experts, MAX_TOP_K)
}

fn at_most(key: &str, found: usize, most: usize) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    let fault = Fault::key("config.json", key).found(format!("is {found}"));
    Err(fault.expected(format!("at most {most}")).unsupported().into())
}
