//! Where each matrix of a checkpoint goes: how it is cut for the ranks, and what stands with what in one stack.

use std::sync::Arc;

use super::layout::{ModelLayout, RankLayout};
use super::prepared::Reserved;
use super::uploads::{Source, Target, Uploads};
use super::weights::{Held, HeldAs, Hosted, ModelWeights, Norm, Stack, Stacked};
use crate::Result;
use crate::checkpoint::{Checkpoint, Contents, MatrixInfo};
use crate::gemma4::tensors::{AtPlace, Place, Placed, Role};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Extent, HostStack, Spot, Weights, WeightsBuilder};
use crate::parallel::Part;
use crate::quant::{Dtype, Format, Grouped, Order, StoredGroups, requantize};

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
    format: Format,
    extent: Extent,
}

/// A matrix of the checkpoint, and its place among those of a stack.
struct MatrixOf<'a> {
    name: String,
    /// 0 for one that is none of an expert's.
    expert: usize,
    /// Among the tensors of the stack.
    number: usize,
    info: &'a MatrixInfo,
    /// As its data has it.
    format: Format,
}

/// A rank's stack.
struct Made {
    weights: Weights,
    /// The same for those who write to it.
    shared: Arc<Weights>,
    hosted: Option<Hosted>,
    /// Of each tensor of the stack.
    places: Vec<InStack>,
}

/// A rank's part of a tensor, and the row of the stack at which it begins.
struct InStack {
    part: Part,
    first_row: usize,
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
        for at in config.places() {
            let all = match at.place {
                Place::Norm(_) => continue, // They are in one tensor, which is there.
                Place::Stack(_) => self.stack(&at)?,
                Place::Rows(_) => self.rows(&at)?,
                Place::Number => vec![HeldAs::Number(self.vector(&at.name())?[0]); self.layout.ranks.len()],
                Place::File => vec![HeldAs::File(self.checkpoint.row_reader(&at.name())?); self.layout.ranks.len()],
            };
            held.iter_mut().zip(all).for_each(|(rank, held_as)| rank.push(Held::new(&at, held_as)));
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
    fn rows(&self, at: &AtPlace) -> Result<Vec<HeldAs>> {
        let [rows, width] = at.rows();
        let mut values = vec![0.0f32; rows * width];
        for tensor in &at.tensors {
            values[tensor.row() * width..][..width].copy_from_slice(&self.vector(&tensor.name())?);
        }
        let tensors = self.each(|gpu| {
            let tensor = Tensor::compact(gpu, &at.name(), rows, width)?;
            gpu.write(&tensor.buffer, 0, &values)?;
            Ok(tensor)
        })?;
        Ok(tensors.into_iter().map(HeldAs::Rows).collect())
    }

    /// The matrices of a place, in one stack where their formats agree, else each in its own.
    fn stack(&mut self, at: &AtPlace) -> Result<Vec<HeldAs>> {
        let formats: Vec<Format> = self.matrices(&at.tensors).iter().map(|matrix| matrix.info.format).collect();
        // One that is alone in every layer needs no format that others have.
        let stacks: Vec<(&'static str, &[Placed])> = match at.is_alone() || joinable(&formats) {
            true => vec![(at.label(), &at.tensors)],
            false => at.tensors.iter().map(|tensor| (tensor.entry.name, std::slice::from_ref(tensor))).collect(),
        };
        let mut all: Vec<Stack> = self.layout.ranks.iter().map(|_| Stack::default()).collect();
        for (label, tensors) in stacks {
            for (stack, made) in all.iter_mut().zip(self.one_stack(label, tensors)?) {
                stack.matrices.push(Stacked { label, weights: made.weights });
                stack.hosted.extend(made.hosted);
            }
        }
        Ok(all.into_iter().map(HeldAs::Stack).collect())
    }

    /// All matrices that `tensors` stand for, those of an expert one after the other.
    fn matrices(&self, tensors: &[Placed]) -> Vec<MatrixOf<'a>> {
        let (checkpoint, contents) = (self.checkpoint, self.contents);
        let one = |expert: usize, number: usize, tensor: &Placed| match tensor.layer {
            Some(l) if tensor.is_of_experts() => {
                let projection = tensor.projection();
                let format = contents.expert_matrix(l, expert, projection);
                let info = checkpoint.expert_matrix(l, expert, projection);
                MatrixOf { name: tensor.name_of(expert), expert, number, info, format }
            }
            _ => {
                let name = tensor.name();
                let (info, format) = (checkpoint.known_matrix(&name), contents.known(&name));
                MatrixOf { name, expert, number, info, format }
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
        let first = sources[0].info;
        // Formats that cannot be of one stack are found where they are read.
        let both = |all: Format, matrix: &MatrixOf| all.stacked(&matrix.format).unwrap_or(all);
        let format = sources.iter().fold(sources[0].format, both);
        let stored = stored_groups(&format);
        let is_hosted = of_experts && tensors[0].layer.is_some_and(|l| l < self.layout.host_experts);
        let mut all = Vec::new();
        for (rank, RankLayout { gpu, share, .. }) in self.layout.ranks.iter().enumerate() {
            let (mut places, mut shape) = (Vec::new(), [0, 0]);
            for tensor in tensors {
                let [n, k] = share.shape_of(tensor);
                places.push(InStack { part: share.part(tensor), first_row: shape[0] });
                shape = [shape[0] + n, k];
            }
            let Stored { format, extent } = self.on_device(first, format, &places[0].part, stored);
            let (weights, hosted) = match is_hosted {
                true => {
                    let window = self.window(rank, Key { label, shape, format, extent })?;
                    let weights = self.windows[rank][window].weights.clone();
                    let stack = Arc::new(HostStack::new(gpu, &weights));
                    (weights, Some(Hosted { stack, window }))
                }
                false => {
                    let builder = self.builder(rank, &tensors[0].in_layer(label), of_experts, shape);
                    (builder.reserve(format, extent)?, None)
                }
            };
            let shared = Arc::new(weights.clone());
            all.push(Made { weights, shared, hosted, places });
        }
        for MatrixOf { name, expert, number, info, format } in sources {
            let mut targets = Vec::new();
            for (RankLayout { gpu, share, .. }, made) in self.layout.ranks.iter().zip(&all) {
                if of_experts && !share.experts.contains(&expert) {
                    continue;
                }
                let first_expert = if of_experts { share.experts.start } else { 0 };
                let InStack { part, first_row } = &made.places[number];
                targets.push(Target {
                    gpu: gpu.clone(),
                    weights: made.shared.clone(),
                    host: made.hosted.as_ref().map(|hosted| hosted.stack.clone()),
                    part: part.clone(),
                    spot: Spot { matrix: expert - first_expert, row: *first_row },
                    stored,
                });
            }
            let requantized_bits = self.requantized_bits(info);
            self.uploads.add(Source { name, info, format, requantized_bits, targets });
        }
        Ok(all)
    }

    /// The bits of a code, where a matrix is a head that is requantized.
    fn requantized_bits(&self, info: &MatrixInfo) -> Option<u32> {
        let head = if self.checkpoint.config.tie_word_embeddings { Role::Embedding } else { Role::Head };
        self.layout.head.bits().filter(|_| info.role == head && matches!(info.format, Format::Dense(_)))
    }

    /// What a rank's part of a matrix, or of all that are of `format` together, becomes on its device, and which groups it stores.
    fn on_device(&self, info: &MatrixInfo, format: Format, part: &Part, stored: StoredGroups) -> Stored {
        if let Some(bits) = self.requantized_bits(info) {
            let format = Grouped::symmetric(bits, requantize::GROUP_SIZE, requantize::SCALE_DTYPE);
            let format = Format::Grouped(format);
            return Stored { format, extent: Extent::whole(&format, info.in_features) };
        }
        // The router is dense in memory, whatever the file holds.
        let format = if info.role == Role::Router { Format::Dense(Dtype::F32) } else { format };
        let Format::Grouped(grouped) = format else { return Stored { format, extent: Extent::default() } };
        let inputs = match part {
            Part::Rows(inputs) => inputs.clone(),
            Part::Columns(_) | Part::Whole => 0..info.in_features,
        };
        let groups = match stored {
            StoredGroups::All => 0..grouped.groups(info.in_features),
            StoredGroups::Touched => inputs.start / grouped.group..(inputs.end - 1) / grouped.group + 1,
        };
        let extent = Extent { groups: groups.len(), first_row: inputs.start, first_group: groups.start };
        Stored { format, extent }
    }

    /// The number of a rank's window for stacks like this one.
    fn window(&mut self, rank: usize, key: Key) -> Result<usize> {
        if let Some(known) = self.windows[rank].iter().position(|window| window.key == key) {
            return Ok(known);
        }
        let builder = self.builder(rank, &format!("window.{}", key.label), true, key.shape);
        let weights = builder.reserve(key.format, key.extent)?;
        self.windows[rank].push(Window { key, weights });
        Ok(self.windows[rank].len() - 1)
    }

    /// A stack of a rank, of one matrix or one of each of its experts.
    fn builder(&self, rank: usize, label: &str, of_experts: bool, [n, k]: [usize; 2]) -> WeightsBuilder<'_> {
        let RankLayout { gpu, share, max_part_bytes, .. } = &self.layout.ranks[rank];
        let matrices = if of_experts { share.experts.clone() } else { 0..1 };
        let builder = WeightsBuilder::new(gpu, label, matrices.len(), n, k).first_matrix(matrices.start);
        builder.max_part_bytes(*max_part_bytes)
    }
}

/// How a matrix is on a device, and which groups it stores there.
struct Stored {
    format: Format,
    extent: Extent,
}

/// Whether matrices of these formats can be one stack: it has one format, and one `g_idx` for all rows of a matrix. Whether zero
/// points are there is known when they are read, and a stack may have both.
fn joinable(formats: &[Format]) -> bool {
    let per_row = |format: &Format| format.grouped().is_some_and(|grouped| grouped.order == Order::PerRow);
    formats.iter().all(|format| format.stacks_with(&formats[0]) && !per_row(format))
}

/// Which groups' scales a rank stores of the rows of a matrix: of act-order it touches about all, and each matrix of a stack
/// others.
fn stored_groups(format: &Format) -> StoredGroups {
    let is_reordered = format.grouped().is_some_and(|grouped| grouped.order == Order::PerRow);
    if is_reordered { StoredGroups::All } else { StoredGroups::Touched }
}
