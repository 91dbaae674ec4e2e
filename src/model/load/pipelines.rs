//! The pipelines of a model, known before any is compiled.

use super::memory::Rehearsal;
use crate::gpu::PipelineKey;
use crate::model::pass::plan::PassKey;

/// A pipeline that a model's passes use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPipeline {
    /// What it is made from.
    pub key: PipelineKey,
    /// Whether steps of up to 16 rows run it: decoding. Heads and choices count as that. Else only prefill does.
    pub decodes: bool,
}

impl PlannedPipeline {
    /// All that a rehearsed model uses, each once.
    pub(crate) fn all(rehearsal: &Rehearsal) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for PassKey { key, decodes } in rehearsal.ranks.iter().flat_map(|rank| rank.pass.keys()) {
            match all.iter_mut().find(|known| known.key == *key) {
                Some(known) => known.decodes |= decodes,
                None => all.push(PlannedPipeline { key: key.clone(), decodes }),
            }
        }
        all
    }
}
