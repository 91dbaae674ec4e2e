//! What one rank computes: its ranges of heads, columns, experts and vocabulary, and the sizes that follow.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::error::Usage;
use crate::gemma4::tensors::{CutBy, Placed, Shape, SizeOf};
use crate::gemma4::{Config, LayerConfig};
use crate::gpu::Gpu;
use crate::parallel::{Cut, Parallel, Part, Split};
use crate::quant::Format;

/// One rank's share of a model. All ranks of a model cut at the same places.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// How many ranks share the model.
    pub ranks: usize,
    /// The configuration with this rank's sizes: query heads, key and value heads, widths of MLPs and experts. What is not
    /// cut (hidden size, number of experts, per-layer width) and the vocabulary are the whole model's.
    pub config: Config,
    /// Query heads, of every layer.
    pub heads: Range<usize>,
    /// Rows of the embedding and of the head.
    pub vocab: Range<usize>,
    /// Experts that it holds, and their columns of gate and up, which are the rows of down.
    pub experts: Range<usize>,
    pub expert_columns: Range<usize>,
    /// Columns of the per-layer input, in each layer.
    pub per_layer: Range<usize>,
    /// Output features of `per_layer_model_projection`, all layers together.
    pub per_layer_context: Range<usize>,
    layers: Vec<LayerShare>,
}

/// What differs from layer to layer.
#[derive(Debug, Clone)]
struct LayerShare {
    kv_heads: Range<usize>,
    heads_per_kv: usize,
    /// Columns of gate and up, which are the rows of down.
    mlp: Range<usize>,
}

/// Things that make whole quantization groups together: where aligned cuts may fall.
struct Units {
    heads: usize,
    /// Columns of an expert, of the per-layer input, and of the MLP by layer.
    expert: usize,
    per_layer: usize,
    mlp: Vec<usize>,
}

impl Units {
    fn of(checkpoint: &Checkpoint) -> Self {
        let c = &checkpoint.config;
        let group = |size, l| group_of(checkpoint, size, l);
        Units {
            heads: heads_unit(c, |l| group(SizeOf::Queries, l)),
            expert: group(SizeOf::Expert, 0),
            per_layer: group(SizeOf::PerLayer, 0),
            mlp: (0..c.num_hidden_layers).map(|l| group(SizeOf::Mlp, l)).collect(),
        }
    }

    /// Groups of one size in every layer.
    fn uniform(config: &Config, group_size: usize) -> Self {
        Units {
            heads: heads_unit(config, |_| group_size),
            expert: group_size,
            per_layer: group_size,
            mlp: vec![group_size; config.num_hidden_layers],
        }
    }

    /// None: cuts may fall anywhere.
    fn ones(config: &Config) -> Self {
        Units { heads: 1, expert: 1, per_layer: 1, mlp: vec![1; config.num_hidden_layers] }
    }
}

/// The shares of all ranks.
///
/// # Errors
/// [`crate::Error::Usage`] where a rank would hold nothing of something, or where there are no experts to split.
fn shares(checkpoint: &Checkpoint, parallel: &Parallel) -> Result<Vec<Share>> {
    let units = match parallel.cut {
        Cut::Even => Units::ones(&checkpoint.config),
        Cut::Aligned => Units::of(checkpoint),
    };
    cut(&checkpoint.config, parallel, &units)
}

/// A rank's share, and the device that it goes to.
pub(crate) struct PlacedShare {
    pub gpu: Arc<Gpu>,
    pub share: Share,
}

/// The shares of all ranks on their devices: as many neighbouring ranks on each, as far as they divide.
///
/// # Errors
/// As [`shares`]; [`crate::Error::Usage`] for more devices than ranks.
pub(crate) fn place(gpus: &[Arc<Gpu>], checkpoint: &Checkpoint, parallel: &Parallel) -> Result<Vec<PlacedShare>> {
    spread(gpus, shares(checkpoint, parallel)?)
}

/// As [`place`], of a model without files whose layers all have groups of so many inputs.
///
/// # Errors
/// As [`place`].
pub(crate) fn place_uniform(
    gpus: &[Arc<Gpu>],
    config: &Config,
    group_size: usize,
    parallel: &Parallel,
) -> Result<Vec<PlacedShare>> {
    let units = match parallel.cut {
        Cut::Even => Units::ones(config),
        Cut::Aligned => Units::uniform(config, group_size),
    };
    spread(gpus, cut(config, parallel, &units)?)
}

fn spread(gpus: &[Arc<Gpu>], shares: Vec<Share>) -> Result<Vec<PlacedShare>> {
    if gpus.is_empty() || gpus.len() > shares.len() {
        return Err(Usage::Devices { devices: gpus.len(), ranks: shares.len() }.into());
    }
    let n_ranks = shares.len();
    let gpu_of = |rank: usize| gpus[rank * gpus.len() / n_ranks].clone();
    Ok(shares.into_iter().enumerate().map(|(rank, share)| PlacedShare { gpu: gpu_of(rank), share }).collect())
}

fn cut(c: &Config, parallel: &Parallel, units: &Units) -> Result<Vec<Share>> {
    let shares = &parallel.shares;
    let whole = |size: usize| vec![0..size; shares.ranks()];
    if parallel.split == Split::Expert && !c.is_moe() {
        return Err(Usage::ExpertSplit.into());
    }
    let heads = shares.cut("query heads", c.num_attention_heads, units.heads)?;
    let vocab = shares.cut("tokens of the vocabulary", c.vocab_size, 1)?;
    let (experts, expert_columns) = match (c.num_experts, parallel.split) {
        (0, _) => (whole(0), whole(0)),
        (n, Split::Expert) => (shares.cut("experts", n, 1)?, whole(c.moe_intermediate_size)),
        (n, Split::Tensor) => (whole(n), shares.cut("columns of an expert", c.moe_intermediate_size, units.expert)?),
    };
    let n = c.hidden_size_per_layer_input;
    let (per_layer, per_layer_context) = match n {
        0 => (whole(0), whole(0)),
        _ => {
            let columns = shares.cut("columns of the per-layer input", n, units.per_layer)?;
            (columns, shares.cut("per-layer inputs", n * c.num_hidden_layers, 1)?)
        }
    };
    let mlp = c.layers.iter().zip(&units.mlp);
    let mlp = mlp.map(|(layer, &unit)| shares.cut("columns of the MLP", layer.intermediate_size, unit));
    let mlp = mlp.collect::<Result<Vec<_>>>()?;
    let share = |rank: usize| {
        let heads = heads[rank].clone();
        let layer = |(layer, mlp): (&LayerConfig, &Vec<Range<usize>>)| {
            let heads_per_kv = c.num_attention_heads / layer.num_key_value_heads;
            let kv_heads = heads.start / heads_per_kv..(heads.end - 1) / heads_per_kv + 1;
            LayerShare { kv_heads, heads_per_kv, mlp: mlp[rank].clone() }
        };
        let layers: Vec<LayerShare> = c.layers.iter().zip(&mlp).map(layer).collect();
        let mut config = c.clone();
        config.num_attention_heads = heads.len();
        config.moe_intermediate_size = expert_columns[rank].len();
        for (local, share) in config.layers.iter_mut().zip(&layers) {
            local.num_key_value_heads = share.kv_heads.len();
            local.intermediate_size = share.mlp.len();
        }
        Share {
            ranks: shares.ranks(),
            config,
            heads,
            vocab: vocab[rank].clone(),
            experts: experts[rank].clone(),
            expert_columns: expert_columns[rank].clone(),
            per_layer: per_layer[rank].clone(),
            per_layer_context: per_layer_context[rank].clone(),
            layers,
        }
    };
    Ok((0..shares.ranks()).map(share).collect())
}

/// Query heads that read the same key and value head.
pub(crate) struct HeadGroup {
    /// How many there are in the whole model.
    pub heads_per_kv: usize,
    /// The number among them of the rank's first.
    pub first_head: usize,
}

impl Share {
    /// Whether results must be combined with those of other ranks.
    pub(crate) fn is_partial(&self) -> bool {
        self.ranks > 1
    }

    /// Query heads of layer `l` that read the same key and value head, and where in such a group the rank's heads begin.
    pub(crate) fn head_group(&self, l: usize) -> HeadGroup {
        let heads_per_kv = self.layers[l].heads_per_kv;
        HeadGroup { heads_per_kv, first_head: self.heads.start % heads_per_kv }
    }

    /// The rank's part of a tensor; of those of experts, of each that it holds.
    ///
    /// # Panics
    /// For a vector.
    pub(crate) fn part(&self, tensor: &Placed) -> Part {
        let Shape::Matrix(outputs, inputs) = tensor.entry.shape else { panic!("{} is a vector", tensor.name()) };
        match tensor.entry.cut {
            CutBy::Nothing => Part::Whole,
            CutBy::Outputs => Part::Columns(self.range(outputs, tensor)),
            CutBy::Inputs => Part::Rows(self.range(inputs, tensor)),
        }
    }

    /// Shape of the rank's part of a tensor, of those of experts of each.
    pub(crate) fn shape_of(&self, tensor: &Placed) -> [usize; 2] {
        let [n, k] = tensor.matrix();
        match self.part(tensor) {
            Part::Whole => [n, k],
            Part::Columns(outputs) => [outputs.len(), k],
            Part::Rows(inputs) => [n, inputs.len()],
        }
    }

    /// What the rank has of a size of the whole model.
    fn range(&self, size: SizeOf, tensor: &Placed) -> Range<usize> {
        let l = || tensor.layer.expect("a size of a layer");
        let head_dim = || self.config.layers[l()].head_dim;
        match size {
            SizeOf::Vocab => self.vocab.clone(),
            SizeOf::PerLayer => self.per_layer.clone(),
            SizeOf::AllPerLayer => self.per_layer_context.clone(),
            SizeOf::Queries => scaled(&self.heads, head_dim()),
            // The heads that its queries read, also where other ranks' queries do.
            SizeOf::Keys => scaled(&self.layers[l()].kv_heads, head_dim()),
            SizeOf::Mlp => self.layers[l()].mlp.clone(),
            SizeOf::Expert => self.expert_columns.clone(),
            SizeOf::Fixed(_) | SizeOf::Hidden | SizeOf::PerLayerVocab | SizeOf::HeadDim | SizeOf::Experts => {
                0..self.config.size(size, tensor.layer)
            }
        }
    }
}

fn scaled(range: &Range<usize>, factor: usize) -> Range<usize> {
    range.start * factor..range.end * factor
}

/// How much of `size` must stay together in layer `l`: whole groups of every matrix whose inputs are cut there.
fn group_of(checkpoint: &Checkpoint, size: SizeOf, l: usize) -> usize {
    let is_cut = |tensor: &Placed| {
        tensor.entry.cut == CutBy::Inputs && matches!(tensor.entry.shape, Shape::Matrix(_, inputs) if inputs == size)
    };
    let group = |tensor: Placed| match tensor.is_of_experts() {
        true => group_size(checkpoint.expert_matrix(l, 0, tensor.projection()).format),
        false => group_size(checkpoint.known_matrix(&tensor.name()).format),
    };
    let common = |all: usize, group: usize| all / gcd(all, group) * group;
    checkpoint.config.tensors_at(Some(l)).filter(is_cut).map(group).fold(1, common)
}

/// Input features that share scales; 1 where there are none.
fn group_size(format: Format) -> usize {
    format.grouped().map_or(1, |grouped| grouped.group)
}

/// The fewest query heads that are whole groups of `o_proj` in every layer.
fn heads_unit(config: &Config, group_of: impl Fn(usize) -> usize) -> usize {
    let unit = |l: usize| {
        let group = group_of(l);
        group / gcd(group, config.layers[l].head_dim)
    };
    let heads = config.num_attention_heads;
    // More than there are: no cut can be aligned, whatever the other layers ask for.
    let common = |all: usize, unit: usize| (all / gcd(all, unit) * unit).min(heads);
    (0..config.num_hidden_layers).map(unit).fold(1, common)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
