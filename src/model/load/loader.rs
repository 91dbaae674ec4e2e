//! Where each matrix of a checkpoint goes: how it is cut for the ranks, and what stands with what in one stack.

use std::ops::Range;
use std::sync::Arc;

use super::layout::{ModelLayout, RankLayout};
use super::prepared::Reserved;
use super::uploads::{Source, Target, Uploads};
use super::weights::{Held, Hosted, ModelWeights, Norm, Stack, Stacked, What};
use crate::Result;
use crate::checkpoint::{Checkpoint, Content, Contents, MatrixFormat, MatrixInfo};
use crate::gemma4::tensors::{Group, Place, Placed, Role};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Form, HostStack, Weights, WeightsBuilder};
use crate::parallel::Part;
use crate::quant::{Dtype, StoredGroups, requantize};

/// Takes the memory of all weights on the devices of all ranks, and notes what is to be uploaded there. Little is read:
/// norms and other vectors.
struct Loader<'r, 'a> {
    checkpoint: &'a Checkpoint,
    contents: &'r Contents,
    layout: &'r ModelLayout,
    uploads: Uploads<'a>,
    /// For each rank the windows of experts that stay in host memory.
    windows: Vec<Vec<Window>>,
}

/// A stack that those of several layers share, one at a time.
struct Window {
    key: Key,
    weights: Weights,
}

/// What stacks have in common that share a window.
#[derive(PartialEq)]
struct Key {
    /// Name of the stack in a layer.
    label: &'static str,
    /// Of a matrix.
    shape: [usize; 2],
    form: Form,
}

/// A matrix of the checkpoint, and its place among those of a stack.
struct MatrixOf<'a> {
    name: String,
    /// 0 for one that is none of an expert's.
    expert: usize,
    /// Among the tensors of the stack.
    number: usize,
    info: &'a MatrixInfo,
    content: Content,
}

/// A rank's stack.
struct Made {
    weights: Weights,
    /// The same for those who write to it.
    shared: Arc<Weights>,
    hosted: Option<Hosted>,
    /// Of each tensor of the stack the rank's part, and the row at which it begins.
    places: Vec<(Part, usize)>,
}

/// Takes the memory of all weights of `checkpoint` on the devices of `ranks`; also what is to be uploaded there.
pub(crate) fn reserve<'a>(
    layout: &ModelLayout,
    checkpoint: &'a Checkpoint,
    contents: &Contents,
) -> Result<Reserved<'a>> {
    let uploads = Uploads::new(checkpoint, layout.ranks.iter().map(|rank| rank.gpu.clone()));
    let windows = layout.ranks.iter().map(|_| Vec::new()).collect();
    let mut loader = Loader { checkpoint, contents, layout, uploads, windows };
    Ok(Reserved { weights: loader.model()?, uploads: Some(loader.uploads) })
}

impl<'a> Loader<'_, 'a> {
    /// The weights of each rank, still without what is to be uploaded.
    fn model(&mut self) -> Result<Vec<ModelWeights>> {
        let config = &self.checkpoint.config;
        let norms = self.norms()?;
        let mut held: Vec<Vec<Held>> = self.layout.ranks.iter().map(|_| Vec::new()).collect();
        for group in config.groups() {
            let all = match group.place {
                Place::Norm(_) => continue, // They are in one tensor, which is there.
                Place::Stack(_) => self.stack(&group)?,
                Place::Rows(_) => self.rows(&group)?,
                Place::Number => vec![What::Number(self.vector(&group.name())?[0]); self.layout.ranks.len()],
                Place::File => vec![What::File(self.checkpoint.row_reader(&group.name())?); self.layout.ranks.len()],
            };
            held.iter_mut().zip(all).for_each(|(rank, what)| rank.push(Held::new(&group, what)));
        }
        let windows = std::mem::take(&mut self.windows).into_iter();
        let windows = windows.map(|windows| windows.into_iter().map(|window| window.weights).collect());
        let model = |((held, norms), windows)| ModelWeights::new(held, config.num_hidden_layers, norms, windows);
        Ok(held.into_iter().zip(norms).zip(windows).map(model).collect())
    }

    /// What `upload` makes of one value on each rank's device.
    fn each(&self, upload: impl Fn(&Gpu) -> Result<Tensor>) -> Result<Vec<Tensor>> {
        self.layout.ranks.iter().map(|rank| upload(&rank.gpu)).collect()
    }

    /// The values of a vector; where nothing is behind the devices, as many zeros, and nothing is read.
    fn vector(&self, name: &str) -> Result<Vec<f32>> {
        match self.layout.ranks.iter().all(|rank| rank.gpu.rehearses()) {
            true => Ok(vec![0.0; self.checkpoint.vector_len(name)]),
            false => self.checkpoint.vector(name),
        }
    }

    /// The tensor of all norms on each rank's device. What a layer does not have, nothing reads.
    fn norms(&self) -> Result<Vec<Tensor>> {
        let c = &self.checkpoint.config;
        let mut norms = vec![0.0f32; (c.num_hidden_layers * Norm::COUNT + 1) * c.hidden_size];
        for tensor in c.tensors() {
            let Some(row) = tensor.norm_row() else { continue };
            let row = &mut norms[row * c.hidden_size..][..c.hidden_size];
            row.copy_from_slice(&self.vector(&tensor.name())?);
            if tensor.entry.place == Place::Norm(Norm::Router) {
                let root = (c.hidden_size as f32).powf(-0.5);
                row.iter_mut().for_each(|v| *v *= root);
            }
        }
        self.each(|gpu| Tensor::from_rows(gpu, "norms", c.hidden_size, &norms))
    }

    /// Vectors without padding, a row each, on each rank's device.
    fn rows(&self, group: &Group) -> Result<Vec<What>> {
        let vectors = group.tensors.iter().map(|tensor| Ok((tensor.row_of(), self.vector(&tensor.name())?)));
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        let ((_, rows), width) = (vectors[0].0, vectors[0].1.len());
        let mut values = vec![0.0f32; rows * width];
        for ((row, _), vector) in &vectors {
            values[row * width..][..width].copy_from_slice(vector);
        }
        let tensors = self.each(|gpu| {
            let tensor = Tensor::compact(gpu, &group.name(), rows, width)?;
            gpu.write(&tensor.buffer, 0, &values)?;
            Ok(tensor)
        })?;
        Ok(tensors.into_iter().map(What::Rows).collect())
    }

    /// The matrices of a place, in one stack where their formats agree, else each in its own.
    fn stack(&mut self, group: &Group) -> Result<Vec<What>> {
        let formats: Vec<_> = self.matrices(&group.tensors).iter().map(|matrix| matrix.info.format).collect();
        // One that is alone in every layer needs no format that others have.
        let stacks: Vec<(&'static str, &[Placed])> = match group.is_alone() || joinable(&formats) {
            true => vec![(group.label(), &group.tensors)],
            false => group.tensors.iter().map(|tensor| (tensor.entry.name, std::slice::from_ref(tensor))).collect(),
        };
        let mut all: Vec<Stack> = self.layout.ranks.iter().map(|_| Stack::default()).collect();
        for (label, tensors) in stacks {
            for (stack, made) in all.iter_mut().zip(self.one_stack(label, tensors)?) {
                stack.matrices.push(Stacked { label, weights: made.weights });
                stack.hosted.extend(made.hosted);
            }
        }
        Ok(all.into_iter().map(What::Stack).collect())
    }

    /// All matrices that `tensors` stand for, those of an expert one after the other.
    fn matrices(&self, tensors: &[Placed]) -> Vec<MatrixOf<'a>> {
        let (checkpoint, contents) = (self.checkpoint, self.contents);
        let one = |expert: usize, number: usize, tensor: &Placed| match tensor.layer {
            Some(l) if tensor.is_of_experts() => {
                let projection = tensor.projection();
                let content = contents.expert_matrix(l, expert, projection);
                let info = checkpoint.expert_matrix(l, expert, projection);
                MatrixOf { name: tensor.name_of(expert), expert, number, info, content }
            }
            _ => {
                let name = tensor.name();
                let (info, content) = (checkpoint.known_matrix(&name), contents.known(&name));
                MatrixOf { name, expert, number, info, content }
            }
        };
        let n_experts = if tensors[0].is_of_experts() { checkpoint.config.num_experts } else { 1 };
        let of_expert = |expert| tensors.iter().enumerate().map(move |(number, tensor)| one(expert, number, tensor));
        (0..n_experts).flat_map(of_expert).collect()
    }

    /// Matrices one behind the other in one stack, those of experts in as many as a rank has experts: each rank's part of them.
    /// What of experts stays in host memory has a window instead.
    fn one_stack(&mut self, label: &'static str, tensors: &[Placed]) -> Result<Vec<Made>> {
        let of_experts = tensors[0].is_of_experts();
        let sources = self.matrices(tensors);
        let content = sources.iter().map(|matrix| matrix.content).reduce(Content::or).unwrap_or_default();
        let first = sources[0].info;
        let stored = stored_groups(content, first);
        let is_hosted = of_experts && tensors[0].layer.is_some_and(|l| l < self.layout.host_experts);
        let mut all = Vec::new();
        for (rank, RankLayout { gpu, share, .. }) in self.layout.ranks.iter().enumerate() {
            let parts: Vec<Part> = tensors.iter().map(|tensor| share.part(tensor)).collect();
            let shapes: Vec<[usize; 2]> = tensors.iter().map(|tensor| share.shape_of(tensor)).collect();
            let shape = [shapes.iter().map(|shape| shape[0]).sum(), shapes[0][1]];
            let form = self.form(first, content, (&parts[0], stored));
            let (weights, hosted) = match is_hosted {
                true => {
                    let window = self.window(rank, Key { label, shape, form })?;
                    let weights = self.windows[rank][window].weights.clone();
                    let stack = Arc::new(HostStack::new(gpu, &weights));
                    (weights, Some(Hosted { stack, window }))
                }
                false => {
                    let experts = of_experts.then(|| share.experts.clone());
                    (self.reserve(rank, &tensors[0].in_layer(label), experts, (shape, &form))?, None)
                }
            };
            let first_rows = shapes.iter().scan(0, |rows, shape| {
                let first = *rows;
                *rows += shape[0];
                Some(first)
            });
            let (places, shared) = (parts.into_iter().zip(first_rows).collect(), Arc::new(weights.clone()));
            all.push(Made { weights, shared, hosted, places });
        }
        for MatrixOf { name, expert, number, info, content } in sources {
            let mut targets = Vec::new();
            for (RankLayout { gpu, share, .. }, made) in self.layout.ranks.iter().zip(&all) {
                if of_experts && !share.experts.contains(&expert) {
                    continue;
                }
                let first_expert = if of_experts { share.experts.start } else { 0 };
                let (part, first_row) = made.places[number].clone();
                let (gpu, weights) = (gpu.clone(), made.shared.clone());
                let (host, place) = (made.hosted.as_ref().map(|h| h.stack.clone()), (expert - first_expert, first_row));
                targets.push(Target { gpu, weights, host, part, place, stored });
            }
            let requantized_bits = self.requantized_bits(info);
            self.uploads.add(Source { name, info, content, requantized_bits, targets });
        }
        Ok(all)
    }

    /// The bits of a code, where a matrix is a head that is requantized.
    fn requantized_bits(&self, info: &MatrixInfo) -> Option<u32> {
        let head = if self.checkpoint.config.tie_word_embeddings { Role::Embedding } else { Role::Head };
        self.layout.head.bits().filter(|_| info.role == head && matches!(info.format, MatrixFormat::Dense(_)))
    }

    /// What a rank's part of a matrix, or of all that are `content` together, becomes on its device.
    fn form(&self, info: &MatrixInfo, content: Content, (part, stored): (&Part, StoredGroups)) -> Form {
        let packed = |bits, scale_dtype, group_size, (first_row, groups)| {
            let (zeros, per_row) = (content.asymmetric, content.reordered);
            Form::Packed { bits, scale_dtype, group_size, first_row, groups, zeros, per_row }
        };
        if let Some(bits) = self.requantized_bits(info) {
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

    /// Memory for a stack of a rank, of one matrix or one of each of `experts`.
    fn reserve(
        &self,
        rank: usize,
        label: &str,
        experts: Option<Range<usize>>,
        (shape, form): ([usize; 2], &Form),
    ) -> Result<Weights> {
        let experts = experts.unwrap_or(0..1);
        self.builder(&self.layout.ranks[rank], label, experts.len(), shape).first_matrix(experts.start).reserve(form)
    }

    /// The number of a rank's window for stacks like this one.
    fn window(&mut self, rank: usize, key: Key) -> Result<usize> {
        if let Some(known) = self.windows[rank].iter().position(|window| window.key == key) {
            return Ok(known);
        }
        let (label, experts) = (format!("window.{}", key.label), self.layout.ranks[rank].share.experts.clone());
        let weights = self.reserve(rank, &label, Some(experts), (key.shape, &key.form))?;
        self.windows[rank].push(Window { key, weights });
        Ok(self.windows[rank].len() - 1)
    }

    fn builder<'g>(&self, rank: &'g RankLayout, label: &str, count: usize, [n, k]: [usize; 2]) -> WeightsBuilder<'g> {
        WeightsBuilder::new(&rank.gpu, label, count, n, k).max_part_bytes(rank.max_part_bytes)
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
