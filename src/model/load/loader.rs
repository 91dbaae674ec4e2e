//! Where each matrix of a checkpoint goes: how it is cut for the ranks, and what stands with what in one stack.

use std::ops::Range;
use std::sync::Arc;

use super::options::Options;
use super::share::Share;
use super::uploads::{Source, Target, Uploads};
use super::weights::{
    GatedWeights, Hosted, LayerWeights, ModelWeights, MoeWeights, NORM_NAMES, NORMS_PER_LAYER, PerLayerWeights,
};
use crate::Result;
use crate::checkpoint::{Checkpoint, Content, Contents, MatrixFormat, MatrixInfo, Projection};
use crate::gemma4::Role;
use crate::gpu::{Gpu, Tensor};
use crate::kernels::product::joined::{Joined, Named};
use crate::kernels::{Form, HostStack, Weights, WeightsBuilder};
use crate::parallel::Part;
use crate::quant::{Dtype, StoredGroups, requantize};

/// Takes the memory of all weights on the devices of all ranks, and notes what is to be uploaded there. Little is read:
/// norms and other vectors.
struct Loader<'r, 'a> {
    ranks: &'r [(Arc<Gpu>, Share)],
    checkpoint: &'a Checkpoint,
    contents: &'r Contents,
    options: &'r Options,
    uploads: Uploads<'a>,
    /// For each rank the windows of experts that stay in host memory.
    windows: Vec<Vec<Window>>,
}

/// A stack that those of several layers share, one at a time.
struct Window {
    /// Name of the stack in a layer, shape of a matrix, form.
    key: (&'static str, [usize; 2], Form),
    weights: Weights,
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

/// Takes the memory of all weights of `checkpoint` on the devices of `ranks`; also what is to be uploaded there.
pub(crate) fn reserve<'a>(
    ranks: &[(Arc<Gpu>, Share)],
    (checkpoint, contents): (&'a Checkpoint, &Contents),
    options: &Options,
) -> Result<(Vec<ModelWeights>, Option<Uploads<'a>>)> {
    let uploads = Uploads::new(checkpoint, ranks.iter().map(|(gpu, _)| gpu.clone()));
    let windows = ranks.iter().map(|_| Vec::new()).collect();
    let mut loader = Loader { ranks, checkpoint, contents, options, uploads, windows };
    Ok((loader.model()?, Some(loader.uploads)))
}

impl Loader<'_, '_> {
    /// The weights of each rank, still without what is to be uploaded.
    fn model(&mut self) -> Result<Vec<ModelWeights>> {
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
        let windows = std::mem::take(&mut self.windows).into_iter();
        let windows = windows.map(|windows| windows.into_iter().map(|window| window.weights).collect());
        let model = |(layers, windows)| ModelWeights {
            embed_tokens: next(&mut embed_tokens),
            lm_head: next_of(&mut lm_head),
            norms: next(&mut norms),
            per_layer: next_of(&mut per_layer),
            layers,
            windows,
        };
        Ok(layers.into_iter().zip(windows).map(model).collect())
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

    /// The values of a vector; where nothing is behind the devices, as many zeros, and nothing is read.
    fn vector(&self, name: &str) -> Result<Vec<f32>> {
        match self.ranks.iter().all(|(gpu, _)| gpu.rehearses()) {
            true => Ok(vec![0.0; self.checkpoint.vector_len(name)]),
            false => self.checkpoint.vector(name),
        }
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
                row.copy_from_slice(&self.vector(&name_in_layer)?);
                if *name == "router.scale" {
                    let root = (c.hidden_size as f32).powf(-0.5);
                    row.iter_mut().for_each(|v| *v *= root);
                }
            }
        }
        rows.next().expect("one row more").copy_from_slice(&self.vector("norm.weight")?);
        self.each(|gpu| Tensor::from_rows(gpu, "norms", c.hidden_size, &norms))
    }

    fn per_layer(&mut self) -> Result<Option<PerRank<PerLayerWeights>>> {
        if self.checkpoint.config.hidden_size_per_layer_input == 0 {
            return Ok(None);
        }
        let norm = self.vector("per_layer_projection_norm.weight")?;
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
        let mut qk_norm = self.vector(&at("self_attn.q_norm.weight"))?;
        if own_kv {
            qk_norm.extend(self.vector(&at("self_attn.k_norm.weight"))?);
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
        let layer_scalar = self.vector(&at("layer_scalar"))?[0];
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
        let scales = self.vector(&format!("layers.{l}.router.per_expert_scale"))?;
        let mut scales = self.compact("per_expert_scale", 1, &scales)?;
        let mut routers = self.linear(&format!("layers.{l}.router.proj"), |_| Part::Whole)?;
        let mut hosted: Vec<Vec<Hosted>> = self.ranks.iter().map(|_| Vec::new()).collect();
        let gate_up = self.gates_of_experts(l, &mut hosted)?;
        let down = self.experts(l, &[Projection::Down], "down_proj", &mut hosted)?;
        let weights = gated(gate_up, down).zip(hosted).map(|(experts, hosted)| MoeWeights {
            router_proj: next(&mut routers),
            per_expert_scale: next(&mut scales),
            experts,
            hosted,
        });
        Ok(weights.collect::<Vec<_>>().into_iter())
    }

    /// One matrix.
    fn linear(&mut self, name: &str, part: impl Fn(&Share) -> Part) -> Result<PerRank<Weights>> {
        let info = self.checkpoint.known_matrix(name);
        let (n, k) = (info.out_features, info.in_features);
        let (mut all, mut targets) = (Vec::new(), Vec::new());
        for (gpu, share) in self.ranks {
            let part = part(share);
            let shape = match &part {
                Part::Whole => [n, k],
                Part::Columns(outputs) => [outputs.len(), k],
                Part::Rows(inputs) => [n, inputs.len()],
            };
            let content = self.contents.known(name);
            let stored = stored_groups(content, info);
            let form = self.form(name, info, content, (&part, stored));
            let weights = self.builder(gpu, name, 1, shape).reserve(&form)?;
            targets.push(target(gpu, &weights, part, (0, 0), stored));
            all.push(weights);
        }
        self.add_matrix(name, targets);
        Ok(all.into_iter())
    }

    /// The output features `outputs` of several matrices, one behind the other in one stack where their formats agree.
    fn joined(
        &mut self,
        at: &str,
        names: &[&'static str],
        label: &'static str,
        outputs: impl Fn(&Share, &str) -> Range<usize>,
    ) -> Result<PerRank<Joined>> {
        let info = |name: &str| self.checkpoint.known_matrix(&format!("{at}{name}"));
        let formats: Vec<MatrixFormat> = names.iter().map(|name| info(name).format).collect();
        if !joinable(&formats) {
            let mut all: Vec<Vec<Named>> = self.ranks.iter().map(|_| Vec::new()).collect();
            for &name in names {
                let weights = self.linear(&format!("{at}{name}"), |share| Part::Columns(outputs(share, name)))?;
                all.iter_mut().zip(weights).for_each(|(rank, weights)| rank.push(Named { name, weights }));
            }
            return Ok(all.into_iter().map(Joined).collect::<Vec<_>>().into_iter());
        }
        let (first, k) = (info(names[0]), info(names[0]).in_features);
        let mut content = Content::default();
        for name in names {
            content = content.or(self.contents.known(&format!("{at}{name}")));
        }
        let form = self.form(at, first, content, (&Part::Whole, StoredGroups::Touched));
        let (mut all, mut targets): (Vec<Weights>, Vec<Vec<Target>>) = (Vec::new(), Vec::new());
        targets.resize_with(names.len(), Vec::new);
        for (gpu, share) in self.ranks {
            let rows = names.iter().map(|name| outputs(share, name).len()).sum();
            let weights = self.builder(gpu, &format!("{at}{label}"), 1, [rows, k]).reserve(&form)?;
            let mut first_row = 0;
            for (name, targets) in names.iter().zip(&mut targets) {
                let own = outputs(share, name);
                let part = Part::Columns(own.clone());
                targets.push(target(gpu, &weights, part, (0, first_row), StoredGroups::Touched));
                first_row += own.len();
            }
            all.push(weights);
        }
        for (name, targets) in names.iter().zip(targets) {
            self.add_matrix(&format!("{at}{name}"), targets);
        }
        Ok(all.into_iter().map(|weights| Joined::one(label, weights)).collect::<Vec<_>>().into_iter())
    }

    /// The matrix `name` is to be uploaded to `targets`.
    fn add_matrix(&mut self, name: &str, targets: Vec<Target>) {
        let (info, content) = (self.checkpoint.known_matrix(name), self.contents.known(name));
        let requantized_bits = self.requantized_bits(name, info);
        self.uploads.add(Source { name: name.to_owned(), info, content, requantized_bits, targets });
    }

    /// The bits of a code, where the matrix `name` is a head that is requantized.
    fn requantized_bits(&self, name: &str, info: &MatrixInfo) -> Option<u32> {
        let is_head = name == if self.checkpoint.has("lm_head") { "lm_head" } else { "embed_tokens" };
        self.options.head.bits().filter(|_| is_head && matches!(info.format, MatrixFormat::Dense(_)))
    }

    /// What a rank's part of the matrix `name`, or of all that are `content` together, becomes on its device.
    fn form(&self, name: &str, info: &MatrixInfo, content: Content, (part, stored): (&Part, StoredGroups)) -> Form {
        let packed = |bits, scale_dtype, group_size, (first_row, groups)| {
            let (zeros, per_row) = (content.asymmetric, content.reordered);
            Form::Packed { bits, scale_dtype, group_size, first_row, groups, zeros, per_row }
        };
        if let Some(bits) = self.requantized_bits(name, info) {
            let groups = info.in_features.div_ceil(requantize::GROUP_SIZE);
            return packed(bits, requantize::SCALE_DTYPE, requantize::GROUP_SIZE, (0, 0..groups));
        }
        match info.format {
            // The router is dense in memory, whatever the file holds.
            _ if info.role == Role::Router => Form::Dense(Dtype::F32),
            MatrixFormat::Dense(dtype) => Form::Dense(dtype),
            MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. } => {
                let inputs = match part {
                    Part::Rows(inputs) => inputs.clone(),
                    Part::Columns(_) | Part::Whole => 0..info.in_features,
                };
                let groups = match stored {
                    StoredGroups::All => 0..groups,
                    StoredGroups::Touched => inputs.start / group_size..(inputs.end - 1) / group_size + 1,
                };
                packed(bits, scale_dtype, group_size, (inputs.start, groups))
            }
        }
    }

    /// Gate and up of all experts of a layer, in one stack where their formats agree.
    fn gates_of_experts(&mut self, l: usize, hosted: &mut [Vec<Hosted>]) -> Result<PerRank<Joined>> {
        let both = [Projection::Gate, Projection::Up];
        let info = |(e, projection)| self.checkpoint.known_expert(l, e, projection).format;
        let all = (0..self.checkpoint.config.num_experts).flat_map(|e| both.map(|projection| (e, projection)));
        if joinable(&all.map(info).collect::<Vec<_>>()) {
            let stacks = self.experts(l, &both, "gate_up_proj", hosted)?;
            return Ok(stacks.map(|weights| Joined::one("gate_up_proj", weights)).collect::<Vec<_>>().into_iter());
        }
        let gate = self.experts(l, &both[..1], "gate_proj", hosted)?;
        let up = self.experts(l, &both[1..], "up_proj", hosted)?;
        let pairs = gate.zip(up).map(|(gate, up)| {
            Joined(vec![Named { name: "gate_proj", weights: gate }, Named { name: "up_proj", weights: up }])
        });
        Ok(pairs.collect::<Vec<_>>().into_iter())
    }

    /// Projections of all experts of a layer, of each expert one behind the other: each rank's experts, and of these its
    /// columns or rows. What stays in host memory is added to what each rank has `hosted`; then these are windows.
    fn experts(
        &mut self,
        l: usize,
        projections: &[Projection],
        label: &'static str,
        hosted: &mut [Vec<Hosted>],
    ) -> Result<PerRank<Weights>> {
        let checkpoint = self.checkpoint;
        let first = checkpoint.known_expert(l, 0, projections[0]);
        let (n, k) = (first.out_features, first.in_features);
        let each: Vec<(usize, usize, Projection)> = (0..checkpoint.config.num_experts)
            .flat_map(|e| projections.iter().enumerate().map(move |(i, &projection)| (e, i, projection)))
            .collect();
        let content = each.iter().map(|&(e, _, projection)| self.contents.expert(l, e, projection));
        let content = content.reduce(Content::or).unwrap_or_default();
        let stored = stored_groups(content, first);
        let (mut all, mut arcs) = (Vec::new(), Vec::new());
        for (rank, (gpu, share)) in self.ranks.iter().enumerate() {
            let own = share.expert_columns.clone();
            let (part, shape) = match projections[0] {
                Projection::Gate | Projection::Up => (Part::Columns(own.clone()), [own.len() * projections.len(), k]),
                Projection::Down => (Part::Rows(own.clone()), [n, own.len()]),
            };
            let form = self.form(label, first, content, (&part, stored));
            let (weights, host) = match l < self.options.host_experts {
                true => {
                    let window = self.window(rank, (label, shape, form))?;
                    let weights = self.windows[rank][window].weights.clone();
                    let stack = Arc::new(HostStack::new(gpu, &weights));
                    hosted[rank].push(Hosted { stack: stack.clone(), window });
                    (weights, Some(stack))
                }
                false => (self.stack_of_experts(rank, &format!("layers.{l}.experts.{label}"), shape, &form)?, None),
            };
            arcs.push((part, Arc::new(weights.clone()), host));
            all.push(weights);
        }
        for (e, i, projection) in each {
            let mut targets = Vec::new();
            for ((gpu, share), (part, weights, host)) in self.ranks.iter().zip(&arcs) {
                if share.experts.contains(&e) {
                    let place = (e - share.experts.start, i * share.expert_columns.len());
                    let (gpu, weights, host, part) = (gpu.clone(), weights.clone(), host.clone(), part.clone());
                    targets.push(Target { gpu, weights, host, part, place, stored });
                }
            }
            let (info, content) = (checkpoint.known_expert(l, e, projection), self.contents.expert(l, e, projection));
            let name = format!("layers.{l}.experts.{e}.{projection}");
            self.uploads.add(Source { name, info, content, requantized_bits: None, targets });
        }
        Ok(all.into_iter())
    }

    /// A stack for all experts of a rank.
    fn stack_of_experts(&self, rank: usize, label: &str, shape: [usize; 2], form: &Form) -> Result<Weights> {
        let (gpu, share) = &self.ranks[rank];
        self.builder(gpu, label, share.experts.len(), shape).first_matrix(share.experts.start).reserve(form)
    }

    /// The number of a rank's window for stacks like this one.
    fn window(&mut self, rank: usize, key: (&'static str, [usize; 2], Form)) -> Result<usize> {
        if let Some(known) = self.windows[rank].iter().position(|window| window.key == key) {
            return Ok(known);
        }
        let weights = self.stack_of_experts(rank, &format!("window.{}", key.0), key.1, &key.2)?;
        self.windows[rank].push(Window { key, weights });
        Ok(self.windows[rank].len() - 1)
    }

    fn builder<'g>(&self, gpu: &'g Gpu, label: &str, count: usize, [n, k]: [usize; 2]) -> WeightsBuilder<'g> {
        let builder = WeightsBuilder::new(gpu, label, count, n, k);
        match self.options.max_part_bytes {
            Some(bytes) => builder.max_part_bytes(bytes),
            None => builder,
        }
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

/// Which groups' scales a rank stores of the rows of a matrix: of act-order it touches about all, and each matrix of a stack
/// others.
fn stored_groups(content: Content, info: &MatrixInfo) -> StoredGroups {
    let is_packed = matches!(info.format, MatrixFormat::Packed { .. });
    if is_packed && content.reordered { StoredGroups::All } else { StoredGroups::Touched }
}

fn target(gpu: &Arc<Gpu>, weights: &Weights, part: Part, place: (usize, usize), stored: StoredGroups) -> Target {
    Target { gpu: gpu.clone(), weights: Arc::new(weights.clone()), host: None, part, place, stored }
}

fn gated(gate_up: PerRank<Joined>, down: PerRank<Weights>) -> PerRank<GatedWeights> {
    let weights = gate_up.zip(down).map(|(gate_up, down_proj)| GatedWeights { gate_up, down_proj });
    weights.collect::<Vec<_>>().into_iter()
}
