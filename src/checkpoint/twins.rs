//! Tensors that are in the files though the configuration says that others stand for them: V where it is K, and a head that is
//! tied to the embedding. Their data tells whether that is so.

use super::files::index::Index;
use super::skipped::HEADS;
use crate::gemma4::Config;
use crate::{Fault, Faults};

/// A tensor, and the one that is used for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twins {
    pub(super) unused: usize,
    pub(super) used: usize,
    /// Whether they must be the same: what the file says of V is true, or its results would be others.
    pub(super) must_equal: bool,
}

/// All pairs. A V that has not even the type and shape of K is a fault.
pub(super) fn find(index: &Index, config: &Config, prefix: &str, used: &[bool], faults: &mut Faults) -> Vec<Twins> {
    let mut twins = Vec::new();
    let same = |a: usize, b: usize| {
        let (a, b): (&_, &_) = (&index.tensors[a], &index.tensors[b]);
        a.dtype == b.dtype && a.shape == b.shape
    };
    for (id, tensor) in index.tensors.iter().enumerate().filter(|(id, _)| !used[*id]) {
        let Some((layer, part)) = value_projection(&tensor.name, prefix) else { continue };
        if config.layers.get(layer).is_none_or(|layer| !layer.k_eq_v || layer.kv_source.is_some()) {
            continue;
        }
        let key = format!("{prefix}layers.{layer}.self_attn.k_proj.{part}");
        match index.find(&key) {
            Some(key) if same(id, key) => twins.push(Twins { unused: id, used: key, must_equal: true }),
            _ => {
                let fault = Fault::tensor(&tensor.name).found("is there").but("config.json has attention_k_eq_v true");
                faults.push(fault.expected(format!("the same as {key:?} or nothing")));
            }
        }
    }
    let embedding = index.find(&format!("{prefix}embed_tokens.weight")).filter(|_| config.tie_word_embeddings);
    let heads = HEADS.iter().map(|head| format!("{head}.weight")).chain([format!("{prefix}lm_head.weight")]);
    for head in heads.filter_map(|head| index.find(&head)) {
        if let Some(embedding) = embedding.filter(|&embedding| same(head, embedding)) {
            twins.push(Twins { unused: head, used: embedding, must_equal: false });
        }
    }
    twins
}

/// Layer and last part of the name of a tensor of `v_proj`.
fn value_projection<'n>(name: &'n str, prefix: &str) -> Option<(usize, &'n str)> {
    let (layer, rest) = name.strip_prefix(prefix)?.strip_prefix("layers.")?.split_once('.')?;
    Some((layer.parse().ok()?, rest.strip_prefix("self_attn.v_proj.")?))
}
