//! The memory that a model takes: all of it, on all devices, before anything is read into it.

use std::sync::Arc;

use super::options::{Options, context_length, most_chunk_rows};
use super::share::Share;
use super::uploads::Uploads;
use super::weights::ModelWeights;
use crate::Result;
use crate::error::Usage;
use crate::gpu::Gpu;
use crate::model::kv::cache::KvCache;
use crate::model::pass::activations::Activations;
use crate::model::pass::plan::PlannedPass;
use crate::model::run::rank::{Prepared, Rank};
use crate::model::run::step::FEW_ROWS;

/// The sizes that all ranks of a model have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Positions that a sequence can have.
    pub context: usize,
    /// Rows that a step can have.
    pub chunk_rows: usize,
}

impl Sizes {
    /// What `options` ask for, within what the devices of all ranks can do.
    pub(crate) fn of(ranks: &[(Arc<Gpu>, Share)], options: &Options) -> Result<Self> {
        if options.slots == 0 {
            return Err(Usage::NoSlots.into());
        }
        let context = ranks.iter().map(|(gpu, share)| context_length(&share.config, options, gpu));
        let context = context.collect::<Result<Vec<_>>>()?.into_iter().min().expect("at least one rank");
        let most_rows = ranks.iter().map(|(gpu, _)| most_chunk_rows(gpu)).min().expect("at least one rank");
        let chunk_rows = options.chunk_rows.min(most_rows).max(FEW_ROWS).min(context.max(FEW_ROWS));
        Ok(Sizes { context, chunk_rows })
    }
}

impl Prepared {
    /// Takes the memory that a rank needs beside its weights.
    fn new((gpu, share): &(Arc<Gpu>, Share), sizes: Sizes, options: &Options) -> Result<Self> {
        let (tiers, kv) = (options.tiers(gpu)?, options.kv_on(gpu)?);
        let before = gpu.allocated_bytes();
        let activations = Activations::new(gpu, share, sizes.chunk_rows, tiers.few, kv)?;
        let activation_bytes = gpu.allocated_bytes() - before;
        // Within a budget nothing grows: while it did, old and new buffers would be there together.
        let is_full = options.memory.is_some();
        let cache = KvCache::new(gpu, &share.config, options.slots, (sizes.context, is_full), (kv, options.marks))?;
        Ok(Prepared { gpu: gpu.clone(), share: share.clone(), activations, cache, tiers, activation_bytes })
    }
}

/// Takes all memory of all ranks: activations and caches, then what `weights` takes, then what the planned passes need. What
/// is left to do is to compile these, and to upload what `weights` says.
pub(crate) fn take<'a>(
    ranks: &[(Arc<Gpu>, Share)],
    sizes: Sizes,
    options: &Options,
    weights: impl FnOnce(&[(Arc<Gpu>, Share)]) -> Result<(Vec<ModelWeights>, Option<Uploads<'a>>)>,
) -> Result<(Vec<Rank<PlannedPass>>, Option<Uploads<'a>>)> {
    let prepared = ranks.iter().map(|rank| Prepared::new(rank, sizes, options)).collect::<Result<Vec<_>>>()?;
    let (weights, uploads) = weights(ranks)?;
    let ranks = prepared.into_iter().zip(weights).map(|(prepared, weights)| Rank::plan(prepared, weights));
    Ok((ranks.collect::<Result<Vec<_>>>()?, uploads))
}
