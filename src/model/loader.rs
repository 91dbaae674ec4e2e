//! Reads a checkpoint once, cuts each matrix for the ranks and uploads the parts.

use std::ops::Range;
use std::sync::Arc;

use super::options::{Options, Progress};
use super::share::Share;
use super::weights::{
    GatedWeights, LayerWeights, ModelWeights, MoeWeights, NORM_NAMES, NORMS_PER_LAYER, PerLayerWeights,
};
use crate::Result;
use crate::checkpoint::{Checkpoint, MatrixFormat, Projection};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Weights, WeightsBuilder};
use crate::parallel::Part;
use crate::quant::requantize::{self, Deviation, requantize};
use crate::quant::{Matrix, StoredGroups};

/// Bytes of a large dense matrix that are read at a time.
const BLOCK_BYTES: usize = 16 << 20;

/// Reads a checkpoint and uploads it to the devices of all ranks.
pub(super) struct Loader<'a> {
    pub ranks: &'a [(Arc<Gpu>, Share)],
    pub checkpoint: &'a Checkpoint,
    pub progress: &'a (dyn Fn(Progress) + Sync),
    pub options: &'a Options,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// What requantizing the head changed.
    pub head: Option<Deviation>,
}

/// One value for each rank, taken in the order of ranks.
type PerRank<T> = std::vec::IntoIter<T>;

/// The next rank's value.
fn next<T>(values: &mut PerRank<T>) -> T {
    values.next().expect("one value for each rank")
}

/// The next rank's value of what a layer may lack.
fn next_of<T>(values: &mut Option<PerRank<T>>) -> Option<T> {
    values.as_mut().map(next)
}

impl Loader<'_> {
    /// The weights of each rank.
    pub(super) fn model(&mut self) -> Result<Vec<ModelWeights>> {
        let mut norms = self.norms()?;
        let mut embed_tokens = self.linear("embed_tokens", |share| Part::Columns(share.vocab.clone()))?;
        let mut lm_head = match self.checkpoint.has("lm_head") {
            true => Some(self.linear("lm_head", |share| Part::Columns(share.vocab.clone()))?),
            false => None,
        };
        let mut per_layer = self.per_layer()?;
        let mut layers: Vec<Vec<LayerWeights>> = self.ranks.iter().map(|_| Vec::new()).collect();
        for l in 0..self.checkpoint.config.num_hidden_layers {
            for (rank, layer) in layers.iter_mut().zip(self.layer(l)?) {
                rank.push(layer);
            }
        }
        for (gpu, _) in self.ranks {
            gpu.wait()?;
        }
        let model = |layers| ModelWeights {
            embed_tokens: next(&mut embed_tokens),
            lm_head: next_of(&mut lm_head),
            norms: next(&mut norms),
            per_layer: next_of(&mut per_layer),
            layers,
        };
        Ok(layers.into_iter().map(model).collect())
    }

    /// What `upload` makes of one value on each rank's device.
    fn each<T>(&self, upload: impl Fn(&Gpu) -> Result<T>) -> Result<PerRank<T>> {
        Ok(self.ranks.iter().map(|(gpu, _)| upload(gpu)).collect::<Result<Vec<_>>>()?.into_iter())
    }

    /// Values without padding, `[rows, values / rows]`, on each rank's device.
    fn compact(&self, label: &str, rows: usize, values: &[f32]) -> Result<PerRank<Tensor>> {
        self.each(|gpu| {
            let tensor = Tensor::compact(gpu, label, rows, values.len() / rows)?;
            gpu.write(&tensor.buffer, 0, values)?;
            Ok(tensor)
        })
    }

    /// The table of all norms.
    fn norms(&self) -> Result<PerRank<Tensor>> {
        let c = &self.checkpoint.config;
        let mut norms = vec![0.0f32; (c.num_hidden_layers * NORMS_PER_LAYER + 1) * c.hidden_size];
        let mut rows = norms.chunks_exact_mut(c.hidden_size);
        for l in 0..c.num_hidden_layers {
            for (name, row) in NORM_NAMES.iter().zip(rows.by_ref()) {
                let name_in_layer = format!("layers.{l}.{name}");
                if !self.checkpoint.has(&name_in_layer) {
                    continue; // What a layer does not have, nothing reads.
                }
                row.copy_from_slice(&self.checkpoint.vector(&name_in_layer)?);
                if *name == "router.scale" {
                    let root = (c.hidden_size as f32).powf(-0.5);
                    row.iter_mut().for_each(|v| *v *= root);
                }
            }
        }
        rows.next().expect("one row more").copy_from_slice(&self.checkpoint.vector("norm.weight")?);
        self.each(|gpu| Tensor::from_rows(gpu, "norms", c.hidden_size, &norms))
    }

    fn per_layer(&mut self) -> Result<Option<PerRank<PerLayerWeights>>> {
        if self.checkpoint.config.hidden_size_per_layer_input == 0 {
            return Ok(None);
        }
        let norm = self.checkpoint.vector("per_layer_projection_norm.weight")?;
        let norms = self.compact("per_layer_projection_norm", 1, &norm)?;
        let table = self.checkpoint.row_reader("embed_tokens_per_layer")?;
        let part = |share: &Share| Part::Columns(share.per_layer_context.clone());
        let projections = self.linear("per_layer_model_projection", part)?;
        let weights = norms.zip(projections).map(|(per_layer_projection_norm, per_layer_model_projection)| {
            PerLayerWeights { table: table.clone(), per_layer_model_projection, per_layer_projection_norm }
        });
        Ok(Some(weights.collect::<Vec<_>>().into_iter()))
    }

    fn layer(&mut self, l: usize) -> Result<Vec<LayerWeights>> {
        let checkpoint = self.checkpoint;
        let layer = &checkpoint.config.layers[l];
        let at = |name: &str| format!("layers.{l}.{name}");
        let own_kv = layer.kv_source.is_none();
        let mut qk_norm = checkpoint.vector(&at("self_attn.q_norm.weight"))?;
        if own_kv {
            qk_norm.extend(checkpoint.vector(&at("self_attn.k_norm.weight"))?);
        }
        // A layer without keys of its own has no k_norm, and nothing reads the second row.
        qk_norm.resize(2 * layer.head_dim, 0.0);
        let mut qk_norm = self.compact(&at("qk_norm"), 2, &qk_norm)?;
        let mut q_proj = self.linear(&at("self_attn.q_proj"), |share| share.queries(l))?;
        let keys = |loader: &mut Self, name: &str, there: bool| {
            there.then(|| loader.linear(&at(name), |share| share.keys(l))).transpose()
        };
        let mut k_proj = keys(self, "self_attn.k_proj", own_kv)?;
        let mut v_proj = keys(self, "self_attn.v_proj", own_kv && !layer.k_eq_v)?;
        let mut o_proj = self.linear(&at("self_attn.o_proj"), |share| share.attention_out(l))?;
        let mut mlp = self.mlp(l)?;
        let mut moe = checkpoint.config.is_moe().then(|| self.moe(l)).transpose()?;
        let mut per_layer = match checkpoint.config.hidden_size_per_layer_input {
            0 => None,
            _ => {
                let gates = self.linear(&at("per_layer_input_gate"), |s| Part::Columns(s.per_layer.clone()))?;
                let outs = self.linear(&at("per_layer_projection"), |s| Part::Rows(s.per_layer.clone()))?;
                Some(gates.zip(outs).collect::<Vec<_>>().into_iter())
            }
        };
        let layer_scalar = checkpoint.vector(&at("layer_scalar"))?[0];
        let weights = |_| LayerWeights {
            q_proj: next(&mut q_proj),
            k_proj: next_of(&mut k_proj),
            v_proj: next_of(&mut v_proj),
            o_proj: next(&mut o_proj),
            qk_norm: next(&mut qk_norm),
            mlp: next(&mut mlp),
            moe: next_of(&mut moe),
            per_layer: next_of(&mut per_layer),
            layer_scalar,
        };
        Ok(self.ranks.iter().map(weights).collect())
    }

    fn mlp(&mut self, l: usize) -> Result<PerRank<GatedWeights>> {
        let at = |name: &str| format!("layers.{l}.mlp.{name}");
        let gate = self.linear(&at("gate_proj"), |share| Part::Columns(share.mlp(l)))?;
        let up = self.linear(&at("up_proj"), |share| Part::Columns(share.mlp(l)))?;
        let down = self.linear(&at("down_proj"), |share| Part::Rows(share.mlp(l)))?;
        Ok(gated(gate, up, down))
    }

    fn moe(&mut self, l: usize) -> Result<PerRank<MoeWeights>> {
        let scales = self.checkpoint.vector(&format!("layers.{l}.router.per_expert_scale"))?;
        let mut scales = self.compact("per_expert_scale", 1, &scales)?;
        let mut routers = self.linear(&format!("layers.{l}.router.proj"), |_| Part::Whole)?;
        let gate = self.experts(l, Projection::Gate)?;
        let up = self.experts(l, Projection::Up)?;
        let down = self.experts(l, Projection::Down)?;
        let weights = gated(gate, up, down).map(|experts| MoeWeights {
            router_proj: next(&mut routers),
            per_expert_scale: next(&mut scales),
            experts,
        });
        Ok(weights.collect::<Vec<_>>().into_iter())
    }

    /// One matrix, in blocks of rows where it is large and dense.
    fn linear(&mut self, name: &str, part: impl Fn(&Share) -> Part) -> Result<PerRank<Weights>> {
        let info = self.checkpoint.matrix_info(name);
        let (n, k, size_bytes) = (info.out_features, info.in_features, info.size_bytes);
        let mut builders = Vec::new();
        for (gpu, share) in self.ranks {
            let part = part(share);
            let (rows, columns) = match &part {
                Part::Whole => (n, k),
                Part::Columns(outputs) => (outputs.len(), k),
                Part::Rows(inputs) => (n, inputs.len()),
            };
            builders.push((part, self.builder(gpu, name, 1, [rows, columns])));
        }
        let block = (BLOCK_BYTES * n / size_bytes.max(1) as usize).clamp(1, n);
        // Only a dense matrix can be read by rows without reading all of it.
        let block = if matches!(info.format, MatrixFormat::Dense(_)) { block } else { n };
        let is_head = name == if self.checkpoint.has("lm_head") { "lm_head" } else { "embed_tokens" };
        for first in (0..n).step_by(block) {
            let outputs = first..n.min(first + block);
            let mut matrix = self.checkpoint.load_rows(name, outputs.clone())?;
            if let (true, Some(bits), Matrix::Dense(dense)) = (is_head, self.options.head.bits(), &matrix) {
                let (packed, deviation) = requantize(name, first, dense, bits, requantize::GROUP_SIZE)?;
                self.head.get_or_insert_default().merge(deviation);
                matrix = Matrix::Packed(packed);
            }
            for (part, builder) in &mut builders {
                add(builder, 0, part, outputs.clone(), &matrix, StoredGroups::Touched)?;
            }
            self.report(size_bytes * outputs.len() as u64 / n as u64);
        }
        finish(builders.into_iter().map(|(_, builder)| builder))
    }

    /// One projection of all experts of a layer: each rank's experts, and of these its columns or rows.
    fn experts(&mut self, l: usize, projection: Projection) -> Result<PerRank<Weights>> {
        let checkpoint = self.checkpoint;
        let info = |e: usize| checkpoint.expert_info(l, e, projection);
        let (n, k) = (info(0).out_features, info(0).in_features);
        let label = format!("layers.{l}.experts.{}", projection.name());
        let columns = |share: &Share| share.expert_columns.clone();
        let mut builders = Vec::new();
        for (gpu, share) in self.ranks {
            let (part, shape) = match projection {
                Projection::Gate | Projection::Up => (Part::Columns(columns(share)), [columns(share).len(), k]),
                Projection::Down => (Part::Rows(columns(share)), [n, columns(share).len()]),
            };
            let builder = self.builder(gpu, &label, share.experts.len(), shape).first_matrix(share.experts.start);
            builders.push((part, builder));
        }
        let count = checkpoint.config.num_experts;
        let mut stored = StoredGroups::Touched;
        if self.ranks.len() > 1 && projection == Projection::Down {
            // Of act-order each expert touches groups of its own.
            for e in 0..count {
                if checkpoint.is_reordered(l, e, projection)? {
                    stored = StoredGroups::All;
                    break;
                }
            }
        }
        for e in 0..count {
            let matrix = checkpoint.expert(l, e, projection)?;
            for ((part, builder), (_, share)) in builders.iter_mut().zip(self.ranks) {
                if share.experts.contains(&e) {
                    add(builder, e - share.experts.start, part, 0..n, &matrix, stored)?;
                }
            }
            self.report(info(e).size_bytes);
        }
        finish(builders.into_iter().map(|(_, builder)| builder))
    }

    fn builder<'g>(&self, gpu: &'g Gpu, label: &str, count: usize, [n, k]: [usize; 2]) -> WeightsBuilder<'g> {
        let builder = WeightsBuilder::new(gpu, label, count, n, k);
        match self.options.max_part_bytes {
            Some(bytes) => builder.max_part_bytes(bytes),
            None => builder,
        }
    }

    fn report(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        (self.progress)(Progress::Weights { done: self.done_bytes, total: self.total_bytes });
    }
}

/// Uploads what `part` takes of `matrix`, which holds the output features `outputs` of the whole.
fn add(
    builder: &mut WeightsBuilder,
    index: usize,
    part: &Part,
    outputs: Range<usize>,
    matrix: &Matrix,
    stored: StoredGroups,
) -> Result<()> {
    match part {
        Part::Columns(own) => {
            let (start, end) = (own.start.max(outputs.start), own.end.min(outputs.end));
            match (start..end) == outputs {
                true => builder.add(index, start - own.start, matrix),
                false if start >= end => Ok(()),
                false => {
                    let shard = matrix.column_shard(start - outputs.start..end - outputs.start);
                    builder.add(index, start - own.start, &shard)
                }
            }
        }
        Part::Rows(own) if *own != (0..matrix.in_features()) => {
            builder.add(index, outputs.start, &matrix.row_shard(own.clone(), stored))
        }
        Part::Rows(_) | Part::Whole => builder.add(index, outputs.start, matrix),
    }
}

fn finish<'a>(builders: impl Iterator<Item = WeightsBuilder<'a>>) -> Result<PerRank<Weights>> {
    Ok(builders.map(WeightsBuilder::finish).collect::<Result<Vec<_>>>()?.into_iter())
}

fn gated(gate: PerRank<Weights>, up: PerRank<Weights>, down: PerRank<Weights>) -> PerRank<GatedWeights> {
    let weights = gate.zip(up).zip(down);
    let weights = weights.map(|((gate_proj, up_proj), down_proj)| GatedWeights { gate_proj, up_proj, down_proj });
    weights.collect::<Vec<_>>().into_iter()
}
