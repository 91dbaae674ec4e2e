//! The memory that a model takes: all of it, on all devices, before anything is read into it.

use super::layout::{ModelLayout, RankLayout};
use super::uploads::Uploads;
use super::weights::ModelWeights;
use crate::Result;
use crate::model::kv::cache::KvCache;
use crate::model::pass::activations::Activations;
use crate::model::pass::plan::PlannedPass;
use crate::model::run::rank::{Prepared, Rank};

/// The weights of all ranks, whose memory is taken, and what is to be uploaded there, where files hold it.
pub(crate) struct Reserved<'a> {
    pub weights: Vec<ModelWeights>,
    pub uploads: Option<Uploads<'a>>,
}

/// All ranks with all memory that they need, and what is to be uploaded there.
pub(crate) struct Taken<'a> {
    pub ranks: Vec<Rank<PlannedPass>>,
    pub uploads: Option<Uploads<'a>>,
}

impl Prepared {
    /// Takes the memory that a rank needs beside its weights, for steps of up to `rows` rows.
    fn new(rank: &RankLayout, rows: usize) -> Result<Self> {
        let RankLayout { gpu, share, tiers, tuning, kv, .. } = rank.clone();
        let before = gpu.allocated_bytes();
        let activations = Activations::new(&gpu, &share, rows, tiers.few, kv.dtype)?;
        let activation_bytes = gpu.allocated_bytes() - before;
        let cache = KvCache::new(&gpu, &share.config, kv)?;
        Ok(Prepared { gpu, share, activations, cache, tiers, tuning, activation_bytes })
    }
}

/// Takes all memory of all ranks: activations and caches, then what `weights` takes, then what the planned passes need. What
/// is left to do is to compile these, and to upload what `weights` says.
pub(crate) fn take<'a>(
    layout: &ModelLayout,
    weights: impl FnOnce(&ModelLayout) -> Result<Reserved<'a>>,
) -> Result<Taken<'a>> {
    let prepared = layout.ranks.iter().map(|rank| Prepared::new(rank, layout.chunk_rows));
    let prepared = prepared.collect::<Result<Vec<_>>>()?;
    let Reserved { weights, uploads } = weights(layout)?;
    let ranks = prepared.into_iter().zip(weights).map(|(prepared, weights)| Rank::plan(prepared, weights));
    Ok(Taken { ranks: ranks.collect::<Result<Vec<_>>>()?, uploads })
}
