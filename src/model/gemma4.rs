//! The model: load it, run steps.

use std::collections::BTreeMap;

use super::activations::{Activations, FEW_ROWS, rotations};
use super::kv_cache::KvCache;
use super::op::Op;
use super::options::{Options, Progress, context_length};
use super::pass::{Pass, PassPlan};
use super::step::{Row, step_rows};
use super::weights::{Loader, ModelWeights};
use crate::checkpoint::{Checkpoint, Config};
use crate::gpu::{Dispatch, Gpu, Readback, Recorder};
use crate::kernels::{Planner, argmax};
use crate::{Error, Result};

/// What a step shall bring back, for which of its rows.
#[derive(Debug, Clone, Copy)]
pub enum Want<'a> {
    /// Nothing: the rows only enter the KV cache.
    Nothing,
    /// The greedy choice of the next token.
    Greedy(&'a [usize]),
    /// All logits.
    Logits(&'a [usize]),
}

/// What a step brought back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// The greedy choice for each row that wanted it.
    pub ids: Vec<u32>,
    /// `[rows that wanted logits, vocab_size]`.
    pub logits: Vec<f32>,
}

/// An inner tensor of a step, `[rows, width]` without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Values of a row.
    pub width: usize,
    /// All rows.
    pub values: Vec<f32>,
}

/// A Gemma 4 model on a device, with the KV cache of its slots.
#[derive(Debug)]
pub struct Gemma4 {
    gpu: Gpu,
    config: Config,
    context: usize,
    chunk_rows: usize,
    weights: ModelWeights,
    activations: Activations,
    cache: KvCache,
    pass: Pass,
    ids: Readback,
    logits: Readback,
}

impl Gemma4 {
    /// Verifies a checkpoint's contents, uploads its weights and compiles its forward pass.
    ///
    /// # Errors
    /// [`Error::Model`] for faults in the checkpoint, before anything is uploaded; [`Error::Usage`] for a context that
    /// the model or the device does not have; [`Error::Memory`] and [`Error::Device`] from the device.
    pub fn load(
        gpu: Gpu,
        checkpoint: &Checkpoint,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        supported(&checkpoint.config)?;
        checkpoint.verify_contents()?;
        let total_bytes = checkpoint.groups().iter().map(|group| group.size_bytes).sum();
        Self::assemble(gpu, checkpoint.config.clone(), options, progress, |gpu, _, max_part_bytes| {
            let loader = Loader { gpu, checkpoint, progress, max_part_bytes, done_bytes: 0, total_bytes };
            let weights = loader.model()?;
            checkpoint.check_unchanged()?;
            Ok(weights)
        })
    }

    /// The model around the weights that `weights` brings to the device.
    pub(super) fn assemble(
        gpu: Gpu,
        config: Config,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
        weights: impl FnOnce(&Gpu, &Config, u64) -> Result<ModelWeights>,
    ) -> Result<Self> {
        supported(&config)?;
        let context = context_length(&config, options, gpu.max_binding_bytes())?;
        let chunk_rows = options.chunk_rows.max(FEW_ROWS).min(context.max(FEW_ROWS));
        let activations = Activations::new(&gpu, &config, chunk_rows)?;
        let cache = KvCache::new(&gpu, &config, options.slots, context)?;
        let max_part_bytes = options.max_part_bytes.unwrap_or(gpu.max_binding_bytes());
        let weights = weights(&gpu, &config, max_part_bytes)?;
        let plan = PassPlan { config: &config, weights: &weights, activations: &activations, cache: &cache };
        let compiling = |done, total| progress(Progress::Pipelines { done, total });
        let pass = plan.bind(&Planner::new(&gpu), &compiling)?;
        let ids = Readback::new(&gpu, &activations.ids, FEW_ROWS)?;
        let logits = Readback::new(&gpu, &activations.logits, FEW_ROWS)?;
        gpu.wait()?;
        Ok(Gemma4 { gpu, config, context, chunk_rows, weights, activations, cache, pass, ids, logits })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn weights(&self) -> &ModelWeights {
        &self.weights
    }

    /// The device that it runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Positions that a sequence can have; less than was planned once the device had no room for more.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The most rows that a step can have.
    pub fn chunk_rows(&self) -> usize {
        self.chunk_rows
    }

    /// Sequences that the KV cache holds side by side.
    pub fn slots(&self) -> usize {
        self.cache.n_slots()
    }

    /// Positions that `slot` holds.
    pub fn len(&self, slot: usize) -> usize {
        self.cache.len(slot)
    }

    /// True where no slot holds anything.
    pub fn is_empty(&self) -> bool {
        (0..self.slots()).all(|slot| self.len(slot) == 0)
    }

    /// Keeps the first `len` positions of `slot`, or none where a sliding layer's ring no longer holds the window before
    /// them. Returns how many are kept: what lies behind must be run again.
    pub fn truncate(&mut self, slot: usize, len: usize) -> usize {
        self.cache.truncate(slot, len)
    }

    /// Runs `rows` through the model. Rows of a slot stand together and continue what the slot holds.
    ///
    /// # Errors
    /// [`Error::Usage`] for a position beyond the context or a token beyond the vocabulary; [`Error::Memory`] where the
    /// KV cache cannot grow; [`Error::Run`] where the device fails.
    pub fn step(&mut self, rows: &[Row], want: Want) -> Result<Output> {
        Ok(self.run(rows, want, false)?.0)
    }

    /// As [`Gemma4::step`] with every inner tensor, for comparing engines: slow.
    ///
    /// # Errors
    /// As [`Gemma4::step`].
    pub fn step_with_activations(
        &mut self,
        rows: &[Row],
        want: Want,
    ) -> Result<(Output, BTreeMap<String, Activation>)> {
        self.run(rows, want, true)
    }

    fn run(&mut self, rows: &[Row], want: Want, keep: bool) -> Result<(Output, BTreeMap<String, Activation>)> {
        self.check(rows)?;
        let positions = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        match self.cache.reserve(&self.gpu, positions) {
            Ok(false) => {}
            Ok(true) => self.plan_again()?,
            Err(Error::Memory(message)) => {
                self.context = self.cache.capacity();
                return Err(Error::Memory(format!("{message}; the context is cut to {} tokens", self.context)));
            }
            Err(e) => return Err(e),
        }
        self.upload(rows)?;
        let mut recorder = Recorder::new(&self.gpu);
        let body = if rows.len() <= FEW_ROWS { &self.pass.few } else { &self.pass.chunk };
        let mut captures = Vec::new();
        for op in body {
            match op {
                Op::Dispatch(dispatch) => recorder.dispatch(dispatch, rows.len()),
                Op::Capture { name, tensor } if keep => {
                    captures.push((name, tensor.width, recorder.read_back(tensor, rows.len())?));
                }
                Op::Capture { .. } => {}
            }
        }
        let output = self.outputs(recorder, want)?;
        for part in rows.chunk_by(|a, b| a.slot == b.slot) {
            self.cache.extend(part[0].slot, part[part.len() - 1].position + 1);
        }
        let mut kept = BTreeMap::new();
        for (name, width, readback) in captures {
            kept.insert(name.clone(), Activation { width, values: readback.read(&self.gpu, rows.len())? });
            self.gpu.forget_bytes(readback.size_bytes());
        }
        Ok((output, kept))
    }

    /// Submits the body with the first rows' head, then the head for the others, `FEW_ROWS` at a time.
    fn outputs(&self, recorder: Recorder, want: Want) -> Result<Output> {
        let (chosen, greedy) = match want {
            Want::Nothing => (&[][..], false),
            Want::Greedy(chosen) => (chosen, true),
            Want::Logits(chosen) => (chosen, false),
        };
        let mut output = Output::default();
        if chosen.is_empty() {
            recorder.submit();
            self.gpu.check()?;
            return Ok(output);
        }
        let mut recorder = Some(recorder);
        for part in chosen.chunks(FEW_ROWS) {
            let indices: Vec<u32> = part.iter().map(|&i| i as u32).collect();
            self.gpu.write(&self.activations.chosen.buffer, 0, &indices)?;
            let mut recorder = recorder.take().unwrap_or_else(|| Recorder::new(&self.gpu));
            record(&mut recorder, &self.pass.head, part.len());
            if greedy {
                record(&mut recorder, &self.pass.argmax, part.len());
                recorder.read_into(&self.activations.ids, part.len(), &self.ids);
                recorder.submit();
                let ids = self.ids.read::<u32>(&self.gpu, part.len())?;
                if ids.contains(&argmax::NOT_FINITE) {
                    return Err(Error::Run("a logit is NaN or infinite, expected finite numbers".into()));
                }
                output.ids.extend(ids);
            } else {
                recorder.read_into(&self.activations.logits, part.len(), &self.logits);
                recorder.submit();
                output.logits.extend(self.logits.read::<f32>(&self.gpu, part.len())?);
            }
        }
        Ok(output)
    }

    fn check(&self, rows: &[Row]) -> Result<()> {
        assert!(!rows.is_empty() && rows.len() <= self.chunk_rows, "a step has 1 to {} rows", self.chunk_rows);
        for row in rows {
            if row.token as usize >= self.config.vocab_size {
                let vocab = self.config.vocab_size;
                return Err(Error::Usage(format!("token id {} is beyond the vocabulary of {vocab}", row.token)));
            }
            if row.position >= self.context {
                return Err(Error::Usage(format!(
                    "position {} is beyond the context of {}",
                    row.position, self.context
                )));
            }
            assert!(row.slot < self.slots(), "slot {} of {}", row.slot, self.slots());
        }
        for part in rows.chunk_by(|a, b| a.slot == b.slot) {
            let (slot, position) = (part[0].slot, part[0].position);
            assert_eq!(position, self.len(slot), "rows continue what slot {slot} holds");
        }
        Ok(())
    }

    fn upload(&self, rows: &[Row]) -> Result<()> {
        let a = &self.activations;
        self.gpu.write(&a.rows.buffer, 0, &step_rows(rows))?;
        self.gpu.write(&a.row_count.buffer, 0, &[rows.len() as u32])?;
        let rotations = rotations(&self.config);
        let table: Vec<[f32; 2]> = rows
            .iter()
            .flat_map(|row| rotations.iter().flat_map(move |(head_dim, rope)| rope.angles(*head_dim, row.position)))
            .collect();
        self.gpu.write(&a.rotary.buffer, 0, &table)?;
        self.upload_per_layer(rows)
    }

    /// The tokens' rows of the per-layer embedding, times the root of a layer's width; unknown tokens take row 0.
    fn upload_per_layer(&self, rows: &[Row]) -> Result<()> {
        let (Some(weights), Some(activations)) = (&self.weights.per_layer, &self.activations.per_layer) else {
            return Ok(());
        };
        let root = (self.config.hidden_size_per_layer_input as f32).sqrt();
        let mut values = vec![0.0f32; rows.len() * activations.tokens.stride];
        for (row, to) in rows.iter().zip(values.chunks_exact_mut(activations.tokens.stride)) {
            let id = if (row.token as usize) < weights.table.rows() { row.token as usize } else { 0 };
            for (to, value) in to.iter_mut().zip(weights.table.read(id)?) {
                *to = value * root;
            }
        }
        self.gpu.write(&activations.tokens.buffer, 0, &values)
    }

    /// Binds the pass again after buffers of the cache were replaced.
    fn plan_again(&mut self) -> Result<()> {
        let plan = PassPlan {
            config: &self.config,
            weights: &self.weights,
            activations: &self.activations,
            cache: &self.cache,
        };
        self.pass = plan.bind(&Planner::new(&self.gpu), &|_, _| ())?;
        Ok(())
    }
}

fn record(recorder: &mut Recorder, ops: &[Op<Dispatch>], n_rows: usize) {
    for op in ops {
        if let Op::Dispatch(dispatch) = op {
            recorder.dispatch(dispatch, n_rows);
        }
    }
}

/// Combinations that no released model has and this forward pass does not do.
fn supported(config: &Config) -> Result<()> {
    if config.hidden_size_per_layer_input > 0 && config.is_moe() {
        return Err(Error::model(
            "config.json: both experts and hidden_size_per_layer_input, expected at most one of them, as in all released \
             models",
        ));
    }
    Ok(())
}
