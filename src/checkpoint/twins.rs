//! Tensors that are in the files though the configuration says that others stand for them: V where it is K, and a head that is
//! tied to the embedding. Their data tells whether that is so.

use super::files::index::Index;
use super::skipped::BEFORE_HEADS;
use crate::gemma4::Config;
use crate::gemma4::tensors::{Entry, When};
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
        let inside = tensor.name.strip_prefix(prefix);
        let Some(key) = inside.and_then(|name| used_for(name, config)).map(|key| format!("{prefix}{key}")) else {
            continue;
        };
        match index.find(&key) {
            Some(key) if same(id, key) => twins.push(Twins { unused: id, used: key, must_equal: true }),
            _ => {
                let fault = Fault::tensor(&tensor.name).found("is there").but("config.json has attention_k_eq_v true");
                faults.push(fault.expected(format!("the same as {key:?} or nothing")));
            }
        }
    }
    for row in config.tensors.entries().iter().filter(|row| row.when == When::UntiedHead && !config.has(row, None)) {
        let stand_in = config.tensors.stand_in(row);
        let Some(embedding) = stand_in.and_then(|row| index.find(&format!("{prefix}{}.weight", row.name))) else {
            continue;
        };
        let heads = BEFORE_HEADS.into_iter().chain([prefix]).map(|before| format!("{before}{}.weight", row.name));
        for head in heads.filter_map(|head| index.find(&head)).filter(|&head| same(head, embedding)) {
            twins.push(Twins { unused: head, used: embedding, must_equal: false });
        }
    }
    twins
}

/// Of a tensor `name` of a V that its layer lacks and K stands in for: the name of the same tensor of that K.
fn used_for(name: &str, config: &Config) -> Option<String> {
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let number = layer.parse().ok().filter(|&number| number < config.layers.len())?;
    let values = config.tensors.entries().iter().filter(|row| row.when == When::OwnValues);
    let part_of = |row: &Entry| rest.strip_prefix(row.name)?.strip_prefix('.');
    let (row, part) = values.into_iter().find_map(|row| Some((row, part_of(row)?)))?;
    let stand_in = config.tensors.stand_in(row)?;
    let is_lacking = !config.has(row, Some(number)) && config.has(stand_in, Some(number));
    is_lacking.then(|| format!("layers.{number}.{}.{part}", stand_in.name))
}
