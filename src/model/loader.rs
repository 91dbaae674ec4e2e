//! Reads a checkpoint once, cuts each matrix for the ranks and uploads the parts.

use std::ops::Range;
use std::sync::Arc;

use super::options::{Options, Progress};
use super::share::Share;
use super::weights::{
    GatedWeights, Joined, LayerWeights, ModelWeights, MoeWeights, NORM_NAMES, NORMS_PER_LAYER, PerLayerWeights,
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
        let heads = ["q_proj", "k_proj", "v_proj"];
        let heads = &heads[..if !own_kv {
            1
        } else if layer.k_eq_v {
            2
        } else {
            3
        }];
        let outputs = |share: &Share, name: &str| match name {
            "q_proj" => share.queries(l),
            _ => share.keys(l),
        };
        let mut qkv = self.joined(&at("self_attn."), heads, "qkv_proj", outputs)?;
        let mut o_proj = self.linear(&at("self_attn.o_proj"), |share| Part::Rows(share.queries(l)))?;
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
            qkv: next(&mut qkv),
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
        let at = format!("layers.{l}.mlp.");
        let gate_up = self.joined(&at, &["gate_proj", "up_proj"], "gate_up_proj", |share, _| share.mlp(l))?;
        let down = self.linear(&format!("{at}down_proj"), |share| Part::Rows(share.mlp(l)))?;
        Ok(gated(gate_up, down))
    }

    fn moe(&mut self, l: usize) -> Result<PerRank<MoeWeights>> {
        let scales = self.checkpoint.vector(&format!("layers.{l}.router.per_expert_scale"))?;
        let mut scales = self.compact("per_expert_scale", 1, &scales)?;
        let mut routers = self.linear(&format!("layers.{l}.router.proj"), |_| Part::Whole)?;
        let gate_up = self.gates_of_experts(l)?;
        let down = self.experts(l, &[Projection::Down], "down_proj")?;
        let weights = gated(gate_up, down).map(|experts| MoeWeights {
            router_proj: next(&mut routers),
            per_expert_scale: next(&mut scales),
            experts,
        });
        Ok(weights.collect::<Vec<_>>().into_iter())
    }

    /// One matrix, in blocks of rows where it is large and dense.
    fn linear(&mut self, name: &str, part: impl Fn(&Share) -> Part) -> Result<PerRank<Weights>> {
        let info = self.checkpoint.matrix_info(name);
        let (n, k) = (info.out_features, info.in_features);
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
        self.add_matrix(name, &mut builders, &vec![0; self.ranks.len()])?;
        finish(builders.into_iter().map(|(_, builder)| builder))
    }

    /// The output features `outputs` of several matrices, one behind the other in one stack where their formats agree.
    fn joined(
        &mut self,
        at: &str,
        names: &[&'static str],
        label: &'static str,
        outputs: impl Fn(&Share, &str) -> Range<usize>,
    ) -> Result<PerRank<Joined>> {
        let info = |name: &str| self.checkpoint.matrix_info(&format!("{at}{name}"));
        let formats: Vec<MatrixFormat> = names.iter().map(|name| info(name).format).collect();
        if !joinable(&formats) {
            let mut all: Vec<Vec<(&'static str, Weights)>> = self.ranks.iter().map(|_| Vec::new()).collect();
            for &name in names {
                let weights = self.linear(&format!("{at}{name}"), |share| Part::Columns(outputs(share, name)))?;
                all.iter_mut().zip(weights).for_each(|(rank, weights)| rank.push((name, weights)));
            }
            return Ok(all.into_iter().map(Joined).collect::<Vec<_>>().into_iter());
        }
        let k = info(names[0]).in_features;
        let rows = |share: &Share| names.iter().map(|name| outputs(share, name).len()).sum();
        let builder = |(gpu, share)| (Part::Whole, self.builder(gpu, &format!("{at}{label}"), 1, [rows(share), k]));
        let mut builders: Vec<_> = self.ranks.iter().map(|(gpu, share)| builder((gpu, share))).collect();
        let mut first = vec![0; self.ranks.len()];
        for name in names {
            for ((part, _), (_, share)) in builders.iter_mut().zip(self.ranks) {
                *part = Part::Columns(outputs(share, name));
            }
            self.add_matrix(&format!("{at}{name}"), &mut builders, &first)?;
            first.iter_mut().zip(self.ranks).for_each(|(first, (_, share))| *first += outputs(share, name).len());
        }
        let stacks = finish(builders.into_iter().map(|(_, builder)| builder))?;
        Ok(stacks.map(|weights| Joined(vec![(label, weights)])).collect::<Vec<_>>().into_iter())
    }

    /// Reads the matrix `name` and adds each rank's part of it to its stack, from row `first` of the stack on.
    fn add_matrix(&mut self, name: &str, builders: &mut [(Part, WeightsBuilder)], first: &[usize]) -> Result<()> {
        let info = self.checkpoint.matrix_info(name);
        let (n, size_bytes) = (info.out_features, info.size_bytes);
        let block = (BLOCK_BYTES * n / size_bytes.max(1) as usize).clamp(1, n);
        // Only a dense matrix can be read by rows without reading all of it.
        let block = if matches!(info.format, MatrixFormat::Dense(_)) { block } else { n };
        let is_head = name == if self.checkpoint.has("lm_head") { "lm_head" } else { "embed_tokens" };
        for from in (0..n).step_by(block) {
            let outputs = from..n.min(from + block);
            let mut matrix = self.checkpoint.load_rows(name, outputs.clone())?;
            if let (true, Some(bits), Matrix::Dense(dense)) = (is_head, self.options.head.bits(), &matrix) {
                let (packed, deviation) = requantize(name, from, dense, bits, requantize::GROUP_SIZE)?;
                self.head.get_or_insert_default().merge(deviation);
                matrix = Matrix::Packed(packed);
            }
            for ((part, builder), &first) in builders.iter_mut().zip(first) {
                add(builder, (0, first), part, outputs.clone(), &matrix, StoredGroups::Touched)?;
            }
            self.report(size_bytes * outputs.len() as u64 / n as u64);
        }
        Ok(())
    }

    /// Gate and up of all experts of a layer, in one stack where their formats agree.
    fn gates_of_experts(&mut self, l: usize) -> Result<PerRank<Joined>> {
        let both = [Projection::Gate, Projection::Up];
        let info = |(e, projection)| self.checkpoint.expert_info(l, e, projection).format;
        let all = (0..self.checkpoint.config.num_experts).flat_map(|e| both.map(|projection| (e, projection)));
        if joinable(&all.map(info).collect::<Vec<_>>()) {
            let stacks = self.experts(l, &both, "gate_up_proj")?;
            return Ok(stacks.map(|weights| Joined(vec![("gate_up_proj", weights)])).collect::<Vec<_>>().into_iter());
        }
        let gate = self.experts(l, &both[..1], "gate_proj")?;
        let up = self.experts(l, &both[1..], "up_proj")?;
        let pairs = gate.zip(up).map(|(gate, up)| Joined(vec![("gate_proj", gate), ("up_proj", up)]));
        Ok(pairs.collect::<Vec<_>>().into_iter())
    }

    /// Projections of all experts of a layer, of each expert one behind the other: each rank's experts, and of these its
    /// columns or rows.
    fn experts(&mut self, l: usize, projections: &[Projection], label: &str) -> Result<PerRank<Weights>> {
        let checkpoint = self.checkpoint;
        let info = |e: usize, projection| checkpoint.expert_info(l, e, projection);
        let (n, k) = (info(0, projections[0]).out_features, info(0, projections[0]).in_features);
        let label = format!("layers.{l}.experts.{label}");
        let columns = |share: &Share| share.expert_columns.clone();
        let mut builders = Vec::new();
        for (gpu, share) in self.ranks {
            let (part, shape) = match projections[0] {
                Projection::Gate | Projection::Up => {
                    (Part::Columns(columns(share)), [columns(share).len() * projections.len(), k])
                }
                Projection::Down => (Part::Rows(columns(share)), [n, columns(share).len()]),
            };
            let builder = self.builder(gpu, &label, share.experts.len(), shape).first_matrix(share.experts.start);
            builders.push((part, builder));
        }
        let count = checkpoint.config.num_experts;
        let mut stored = StoredGroups::Touched;
        if self.ranks.len() > 1 && projections == [Projection::Down] {
            // Of act-order each expert touches groups of its own.
            for e in 0..count {
                if checkpoint.is_reordered(l, e, Projection::Down)? {
                    stored = StoredGroups::All;
                    break;
                }
            }
        }
        for e in 0..count {
            for (i, &projection) in projections.iter().enumerate() {
                let matrix = checkpoint.expert(l, e, projection)?;
                for ((part, builder), (_, share)) in builders.iter_mut().zip(self.ranks) {
                    if share.experts.contains(&e) {
                        let place = (e - share.experts.start, i * columns(share).len());
                        add(builder, place, part, 0..n, &matrix, stored)?;
                    }
                }
                self.report(info(e, projection).size_bytes);
            }
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

/// Whether matrices of these formats can be one stack: it has one format, and one `g_idx` for all rows of a matrix.
fn joinable(formats: &[MatrixFormat]) -> bool {
    let per_row = |format: &MatrixFormat| matches!(format, MatrixFormat::Packed { per_row: true, .. });
    // Whether zero points are there is known when they are read, and a stack may have both.
    let same = |format: &MatrixFormat| match (*format, formats[0]) {
        (
            MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. },
            MatrixFormat::Packed { bits: b, group_size: s, groups: g, scale_dtype: d, .. },
        ) => (bits, group_size, groups, scale_dtype) == (b, s, g, d),
        (a, b) => a == b,
    };
    formats.iter().all(|format| same(format) && !per_row(format))
}

/// Uploads what `part` takes of `matrix`, which holds the output features `outputs` of the whole, to matrix `index` of a
/// stack, where the part begins at row `first`.
fn add(
    builder: &mut WeightsBuilder,
    (index, first): (usize, usize),
    part: &Part,
    outputs: Range<usize>,
    matrix: &Matrix,
    stored: StoredGroups,
) -> Result<()> {
    match part {
        Part::Columns(own) => {
            let (start, end) = (own.start.max(outputs.start), own.end.min(outputs.end));
            if start >= end {
                return Ok(());
            }
            let row = first + start - own.start;
            match (start..end) == outputs {
                true => builder.add(index, row, matrix),
                false => builder.add(index, row, &matrix.column_shard(start - outputs.start..end - outputs.start)),
            }
        }
        Part::Rows(own) if *own != (0..matrix.in_features()) => {
            builder.add(index, first + outputs.start, &matrix.row_shard(own.clone(), stored))
        }
        Part::Rows(_) | Part::Whole => builder.add(index, first + outputs.start, matrix),
    }
}

fn finish<'a>(builders: impl Iterator<Item = WeightsBuilder<'a>>) -> Result<PerRank<Weights>> {
    Ok(builders.map(WeightsBuilder::finish).collect::<Result<Vec<_>>>()?.into_iter())
}

fn gated(gate_up: PerRank<Joined>, down: PerRank<Weights>) -> PerRank<GatedWeights> {
    let weights = gate_up.zip(down).map(|(gate_up, down_proj)| GatedWeights { gate_up, down_proj });
    weights.collect::<Vec<_>>().into_iter()
}
