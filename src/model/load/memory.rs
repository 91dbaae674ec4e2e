//! What a model takes of each device's memory, known before anything is read or taken: loading is rehearsed on devices that
//! only count (`gpu/rehearsal.rs`), so that the plan is what loading does, not a formula beside it.

use std::sync::Arc;

use super::layout::{ModelLayout, Rehearsed};
use super::loader;
use super::options::Options;
use super::prepared::{Reserved, Taken, take};
use super::weights::WeightBytes;
use crate::Result;
use crate::checkpoint::{Checkpoint, Contents};
use crate::error::{Part, Planned};
use crate::gpu::Gpu;
use crate::model::pass::plan::PlannedPass;
use crate::model::run::rank::Rank;

/// What a model takes of all its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Each device once, in the order of the ranks.
    pub devices: Vec<DevicePlan>,
    /// Positions that a sequence can have.
    pub context: usize,
    /// Rows of a prefill chunk.
    pub chunk_rows: usize,
    /// Bytes of experts that stay in host memory.
    pub host_experts: u64,
}

/// Bytes on one device, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    /// The adapter's name.
    pub name: String,
    /// The embedding, which may be the head too.
    pub embedding: u64,
    /// The head, where it is a matrix of its own.
    pub head: u64,
    /// Attention, dense MLPs, routers and norms.
    pub layers: u64,
    /// The experts that are on the device; of those in host memory, as many as one layer has.
    pub experts: u64,
    /// Keys and values of all slots at the full context.
    pub kv_cache: u64,
    /// Keys and values as first allocated; without a budget, full layers grow from here.
    pub kv_cache_at_start: u64,
    /// Intermediate values of a step, parameters of its dispatches, results on their way to the host.
    pub activations: u64,
    /// What weights pass through while they are loaded, at most; given back then.
    pub staging: u64,
}

impl MemoryPlan {
    /// The plan for `checkpoint` on `gpus`, as [`crate::model::Gemma4::load_on`] takes them, from configuration and headers: nothing
    /// is read. What only data tells is taken as the configuration says: whether zero points are all alike, and whether a
    /// `g_idx` is in order. It is a small part of the weights.
    ///
    /// # Errors
    /// Those of [`crate::model::Gemma4::load_on`] that a device does not tell: [`crate::Error::Usage`] for options that do not fit the
    /// model or the device, [`crate::Error::Memory`] for a tensor that exceeds the device's limits.
    pub fn new(gpus: &[Arc<Gpu>], checkpoint: &Checkpoint, options: &Options) -> Result<Self> {
        Self::with_contents(gpus, checkpoint, &checkpoint.claimed_contents(), options)
    }

    /// As [`MemoryPlan::new`] with what the data tells: exactly what loading takes.
    ///
    /// # Errors
    /// As [`MemoryPlan::new`].
    pub fn with_contents(
        gpus: &[Arc<Gpu>],
        checkpoint: &Checkpoint,
        contents: &Contents,
        options: &Options,
    ) -> Result<Self> {
        Self::of_files(&ModelLayout::files(gpus, checkpoint, options)?, checkpoint, contents)
    }

    /// As [`MemoryPlan::with_contents`], of a layout that is there already.
    pub(crate) fn of_files(layout: &ModelLayout, checkpoint: &Checkpoint, contents: &Contents) -> Result<Self> {
        rehearse(layout, |layout| loader::reserve(layout, checkpoint, contents))
    }

    /// Bytes on all devices once the model is loaded: what [`crate::model::Gemma4::allocated_bytes`] says then, of devices that hold
    /// nothing else.
    pub fn at_start(&self) -> u64 {
        self.devices.iter().map(DevicePlan::at_start).sum()
    }
}

impl DevicePlan {
    /// Bytes of weights.
    pub fn weights(&self) -> u64 {
        self.embedding + self.head + self.layers + self.experts
    }

    /// Bytes once the model is loaded.
    pub fn at_start(&self) -> u64 {
        self.weights() + self.activations + self.kv_cache_at_start
    }

    /// The most that is taken at a time, whatever the model runs. Without a budget the KV cache may take twice as much for the
    /// moment in which it grows, old buffers beside new ones.
    pub fn total(&self) -> u64 {
        self.weights() + self.activations + self.kv_cache.max(self.kv_cache_at_start + self.staging)
    }
}

impl DevicePlan {
    /// The total and its parts, at a context of so many positions.
    pub(crate) fn planned(&self, context: usize) -> Planned {
        let parts = [
            ("embedding", self.embedding),
            ("head", self.head),
            ("layers", self.layers),
            ("experts", self.experts),
            ("KV cache", self.kv_cache),
            ("activations", self.activations),
            ("staging", self.staging),
        ];
        let parts = parts.map(|(name, bytes)| Part { name, bytes }).into();
        Planned { context, device: self.name.clone(), bytes: self.total(), parts }
    }
}

/// Takes what [`take`] would take of the devices of `layout`, of devices that only count.
pub(crate) fn rehearse<'a>(
    layout: &ModelLayout,
    weights: impl FnOnce(&ModelLayout) -> Result<Reserved<'a>>,
) -> Result<MemoryPlan> {
    Ok(Rehearsal::of(layout, weights)?.plan())
}

/// A model that was loaded on devices that only count, up to where its pipelines would be compiled.
pub(crate) struct Rehearsal {
    /// Each device that only counts, once.
    devices: Vec<Arc<Gpu>>,
    pub(crate) ranks: Vec<Rank<PlannedPass>>,
    context: usize,
    chunk_rows: usize,
    staging: u64,
}

impl Rehearsal {
    pub(crate) fn of<'a>(
        layout: &ModelLayout,
        weights: impl FnOnce(&ModelLayout) -> Result<Reserved<'a>>,
    ) -> Result<Self> {
        let Rehearsed { layout, devices } = layout.rehearsal()?;
        let Taken { ranks, uploads } = take(&layout, weights)?;
        let staging = uploads.map_or(0, |uploads| uploads.staging_bytes());
        Ok(Rehearsal { devices, ranks, context: layout.context, chunk_rows: layout.chunk_rows, staging })
    }

    fn plan(&self) -> MemoryPlan {
        MemoryPlan {
            devices: self.devices.iter().map(|gpu| self.device(gpu)).collect(),
            context: self.context,
            chunk_rows: self.chunk_rows,
            host_experts: self.ranks.iter().map(|rank| rank.weights().hosted().bytes).sum(),
        }
    }

    fn device(&self, gpu: &Arc<Gpu>) -> DevicePlan {
        let mut plan = DevicePlan {
            name: gpu.adapter().info.name.clone(),
            embedding: 0,
            head: 0,
            layers: 0,
            experts: 0,
            kv_cache: 0,
            kv_cache_at_start: 0,
            activations: 0,
            staging: self.staging,
        };
        for rank in self.ranks.iter().filter(|rank| Arc::ptr_eq(&rank.gpu, gpu)) {
            let weights = rank.weights();
            let WeightBytes { embedding, head, experts } = weights.parts();
            plan.embedding += embedding;
            plan.head += head;
            plan.experts += experts;
            plan.layers += weights.size_bytes() - embedding - head - experts;
            plan.kv_cache += rank.cache.full_size_bytes();
            plan.kv_cache_at_start += rank.cache.size_bytes();
        }
        plan.activations = gpu.allocated_bytes() - plan.weights() - plan.kv_cache_at_start;
        plan
    }
}
