//! One rank: its share of the weights and of the KV cache, on its device.

use std::ops::Range;
use std::sync::Arc;

use super::step::{FEW_ROWS, Row, step_rows};
use super::under_way::Ahead;
use super::windows::Windows;
use crate::Result;
use crate::gpu::{Gpu, Readback, Tensor, Tiers};
use crate::kernels::{Planner, Tuning};
use crate::model::kv::cache::KvCache;
use crate::model::load::share::Share;
use crate::model::load::weights::ModelWeights;
use crate::model::pass::activations::{Activations, rotations};
use crate::model::pass::op::Op;
use crate::model::pass::plan::{Pass, PassPlan, PlannedPass};

/// A rank's bytes on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankMemory {
    /// Weights in the kernels' layout.
    pub weights: u64,
    /// Keys and values, as far as they are allocated.
    pub kv_cache: u64,
    /// Intermediate values of a step.
    pub activations: u64,
}

/// A rank on its device.
#[derive(Debug, Clone)]
pub struct PlacedRank<'a> {
    /// The device, which other ranks may share.
    pub gpu: &'a Gpu,
    /// Its query heads.
    pub heads: Range<usize>,
    /// What it holds there.
    pub memory: RankMemory,
}

/// What a rank has before its weights are there.
pub(crate) struct Prepared {
    pub gpu: Arc<Gpu>,
    pub share: Share,
    pub activations: Activations,
    pub cache: KvCache,
    pub tiers: Tiers,
    pub tuning: Tuning,
    pub activation_bytes: u64,
}

/// What one rank runs with; its pass may still wait to be compiled.
#[derive(Debug)]
pub(crate) struct Rank<P = Pass> {
    pub gpu: Arc<Gpu>,
    pub share: Share,
    pub activations: Activations,
    pub cache: KvCache,
    /// The kernels that it runs with.
    pub tiers: Tiers,
    /// The shapes of their workgroups.
    pub tuning: Tuning,
    pub pass: P,
    pub ids: Readback,
    pub logits: Readback,
    /// Steps under way whose tokens are not read yet.
    pub ahead: Ahead,
    weights: ModelWeights,
    activation_bytes: u64,
    /// What the plan of the pass took: parameters, and what products keep of their inputs.
    planner_bytes: u64,
    /// Where experts that are in host memory come to, if any are.
    pub windows: Option<Windows>,
    /// Where results that ranks combine come to the host, by tensor.
    partial: Vec<Partial>,
}

/// A tensor that ranks combine, and where it comes to the host.
#[derive(Debug)]
struct Partial {
    tensor: Tensor,
    readback: Readback,
}

impl Rank<PlannedPass> {
    /// Plans the pass, and takes the memory that it needs beside activations, cache and weights: from here on nothing more
    /// is taken until the cache grows.
    pub(crate) fn plan(prepared: Prepared, weights: ModelWeights) -> Result<Self> {
        let Prepared { gpu, share, activations, cache, tiers, tuning, activation_bytes } = prepared;
        let before = gpu.allocated_bytes();
        let plan = PassPlan { share: &share, weights: &weights, activations: &activations, cache: &cache };
        let pass = plan.plan(&Planner::new(&gpu).with_tiers(tiers).with_tuning(tuning))?;
        let planner_bytes = gpu.allocated_bytes() - before;
        let ids = Readback::new(&gpu, &activations.ids, FEW_ROWS)?;
        let logits = Readback::new(&gpu, &activations.logits, FEW_ROWS)?;
        let ahead = Ahead::new(&gpu, &activations)?;
        let windows = Windows::new(&gpu, &weights, &activations)?;
        let mut partial: Vec<Partial> = Vec::new();
        for op in pass.between() {
            let (Op::AllReduce(tensor) | Op::AllGather { from: tensor, .. }) = op else { continue };
            if partial.iter().all(|known| known.tensor.buffer != tensor.buffer) {
                let readback = Readback::new(&gpu, tensor, tensor.rows)?;
                partial.push(Partial { tensor: tensor.clone(), readback });
            }
        }
        Ok(Rank {
            gpu,
            share,
            activations,
            cache,
            tiers,
            tuning,
            pass,
            ids,
            logits,
            ahead,
            weights,
            activation_bytes,
            planner_bytes,
            windows,
            partial,
        })
    }

    /// Compiles and binds the pass.
    pub(crate) fn bind(self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Rank> {
        Ok(Rank {
            pass: self.pass.bind(&self.gpu, progress)?,
            gpu: self.gpu,
            share: self.share,
            activations: self.activations,
            cache: self.cache,
            tiers: self.tiers,
            tuning: self.tuning,
            ids: self.ids,
            logits: self.logits,
            ahead: self.ahead,
            weights: self.weights,
            activation_bytes: self.activation_bytes,
            planner_bytes: self.planner_bytes,
            windows: self.windows,
            partial: self.partial,
        })
    }
}

impl<P> Rank<P> {
    /// A planner of its kernels.
    pub(crate) fn planner(&self) -> Planner<'_> {
        Planner::new(&self.gpu).with_tiers(self.tiers).with_tuning(self.tuning)
    }

    /// What it multiplies with.
    pub(crate) fn weights(&self) -> &ModelWeights {
        &self.weights
    }

    /// Bytes on the device.
    pub(crate) fn memory(&self) -> RankMemory {
        let partial: u64 = self.partial.iter().map(|partial| partial.readback.size_bytes()).sum();
        RankMemory {
            weights: self.weights.size_bytes(),
            kv_cache: self.cache.size_bytes(),
            activations: self.activation_bytes
                + self.planner_bytes
                + self.ids.size_bytes()
                + self.logits.size_bytes()
                + self.ahead.size_bytes()
                + self.windows.as_ref().map_or(0, Windows::size_bytes)
                + partial,
        }
    }
}

impl Rank {
    /// Seconds of the longest kernel of a chunk of `rows`, of those that were ever timed.
    pub(crate) fn longest_dispatch(&self, rows: usize) -> f64 {
        let dispatches = self.pass.body(rows).iter().filter_map(|op| match op {
            Op::Dispatch(dispatch) => dispatch.seconds(rows),
            Op::Capture { .. } | Op::BringExperts(_) | Op::AllReduce(_) | Op::AllGather { .. } => None,
        });
        dispatches.fold(0.0, f64::max)
    }

    /// Where `tensor`, which ranks combine, comes to the host.
    pub(crate) fn partial(&self, tensor: &Tensor) -> &Readback {
        let known = self.partial.iter().find(|known| known.tensor.buffer == tensor.buffer);
        &known.expect("made for every tensor of the pass").readback
    }

    /// Makes room for positions up to `len`, and binds the pass again where buffers were replaced.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<()> {
        if self.cache.reserve(&self.gpu, len)? {
            let plan = PassPlan {
                share: &self.share,
                weights: &self.weights,
                activations: &self.activations,
                cache: &self.cache,
            };
            let before = self.gpu.allocated_bytes();
            let pass = plan.plan(&self.planner())?;
            let planner_bytes = self.gpu.allocated_bytes() - before;
            self.pass = pass.bind(&self.gpu, &|_, _| ())?;
            // The old pass was the only one to hold what its plan took.
            self.gpu.forget_bytes(std::mem::replace(&mut self.planner_bytes, planner_bytes));
        }
        Ok(())
    }

    /// Hands the rows of a step to the device.
    pub(crate) fn upload(&self, rows: &[Row]) -> Result<()> {
        let a = &self.activations;
        self.gpu.write(&a.rows.buffer, 0, &step_rows(rows))?;
        self.gpu.write(&a.row_count.buffer, 0, &[rows.len() as u32])?;
        let rotations = rotations(&self.share.config);
        let table: Vec<[f32; 2]> = rows
            .iter()
            .flat_map(|row| rotations.iter().flat_map(move |r| r.rope.angles(r.head_dim, row.position)))
            .collect();
        self.gpu.write(&a.rotary.buffer, 0, &table)?;
        self.upload_per_layer(rows)
    }

    /// Says which of the step's rows get logits, up to [`FEW_ROWS`].
    pub(crate) fn choose_rows(&self, chosen: &[usize]) -> Result<()> {
        let indices: Vec<u32> = chosen.iter().map(|&i| i as u32).collect();
        self.gpu.write(&self.activations.chosen.buffer, 0, &indices)?;
        self.gpu.write(&self.activations.chosen_count.buffer, 0, &[chosen.len() as u32])
    }

    /// The tokens' rows of the per-layer embedding, times the root of a layer's width; unknown tokens take row 0.
    fn upload_per_layer(&self, rows: &[Row]) -> Result<()> {
        let (Some(weights), Some(activations)) = (&self.weights.per_layer, &self.activations.per_layer) else {
            return Ok(());
        };
        let root = (self.share.config.hidden_size_per_layer_input as f32).sqrt();
        let mut values = vec![0.0f32; rows.len() * activations.tokens.stride];
        for (row, to) in rows.iter().zip(values.chunks_exact_mut(activations.tokens.stride)) {
            let id = if (row.token as usize) < weights.table.rows() { row.token as usize } else { 0 };
            for (to, value) in to.iter_mut().zip(weights.table.read(id)?) {
                *to = value * root;
            }
        }
        self.gpu.write(&activations.tokens.buffer, 0, &values)
    }
}
