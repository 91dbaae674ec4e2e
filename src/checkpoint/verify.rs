//! The data that kernels trust: every scale and norm must be finite, and `g_idx` is an index into GPU memory.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::Checkpoint;
use super::files::index::Tensor;
use super::formats::matrix_info::MatrixInfo;
use super::formats::numbers::{AwqNumbers, CompressedNumbers, GptqNumbers, Numbers};
use super::formats::zeros::Zeros;
use super::twins::Twins;
use crate::gemma4::tensors::Table;
use crate::quant::gptq::BadElement;
use crate::quant::{Format, Grouped, Order, Shift, gptq};
use crate::{Error, Fault, Faults, Result, threads};

/// Bytes that are compared at a time.
const BLOCK: usize = 1 << 20;

/// The [`Format`] of every matrix as its data has it: it decides what memory the matrix takes on a device. Zero points are there
/// if one of them is not `2^(bits - 1)`, a table of groups if `g_idx` says other than the group size does. Many files have both
/// without need.
#[derive(Debug)]
pub struct Contents {
    matrices: HashMap<String, Format>,
    /// As `Resolved::experts`.
    experts: Vec<Format>,
    num_experts: usize,
    tensors: Table,
}

impl Contents {
    /// That of the matrix `name`, as [`Checkpoint::matrix_info`] knows it.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if there is no such matrix.
    pub fn matrix(&self, name: &str) -> Result<Format> {
        self.matrices.get(name).copied().ok_or_else(|| Error::no_tensor("matrix", name))
    }

    /// As [`Contents::matrix`] for a matrix that the configuration asks for.
    pub(crate) fn known(&self, name: &str) -> Format {
        self.matrices[name]
    }

    /// That of an expert's matrix, one that the configuration asks for, by the number of a projection in the table of tensors.
    pub(crate) fn expert_matrix(&self, layer: usize, expert: usize, projection: usize) -> Format {
        self.experts[(layer * self.num_experts + expert) * self.tensors.of_experts().count() + projection]
    }
}

/// Something to verify.
enum Item<'a> {
    Vector(usize),
    Matrix(&'a MatrixInfo),
}

impl Checkpoint {
    /// Reads what [`Self::contents`] reads, and only says whether it is right.
    ///
    /// # Errors
    /// Like [`Self::contents`].
    pub fn verify_contents(&self) -> Result<()> {
        self.contents().map(drop)
    }

    /// Reads scales, zero points and `g_idx` of every quantized matrix and all vectors, about a twentieth of an int4 model,
    /// with all threads of the machine. To be called before anything goes to a GPU.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every tensor that holds NaN or infinity, or names a group that there is not, or
    /// leaves one out, or whose zero points contradict what the configuration claims; [`crate::Error::Io`] or [`crate::Error::Model`] if a file cannot be read any more.
    pub fn contents(&self) -> Result<Contents> {
        let mut vectors: Vec<usize> = self.resolved.vectors.values().map(|vector| vector.tensor).collect();
        vectors.sort_unstable();
        let mut matrices: Vec<(&String, &MatrixInfo)> = self.resolved.matrices.iter().collect();
        matrices.sort_unstable_by_key(|(name, _)| *name);
        let named = matrices.iter().map(|(_, info)| *info).chain(&self.resolved.experts);
        let items: Vec<Item> = vectors.iter().map(|&id| Item::Vector(id)).chain(named.map(Item::Matrix)).collect();
        let verify = |(): &mut (), item: &Item| {
            let mut faults = Faults::default();
            let found = match item {
                Item::Vector(id) => self.verify_vector(*id, &mut faults).map(|()| Verified::default())?,
                Item::Matrix(info) => self.verify_matrix(info, &mut faults)?,
            };
            Ok((found, faults))
        };
        let (mut found, mut all) = (Vec::with_capacity(items.len()), Faults::default());
        for (one, faults) in threads::map_in_order(&items, threads::available(), || (), verify)? {
            found.push(one);
            all.append(faults);
        }
        let zeros: Vec<Zeros> = found.iter().filter_map(|verified| verified.zeros).collect();
        let otherwise = self.settle(&zeros, &mut all);
        let named = matrices.iter().map(|(_, info)| *info).chain(&self.resolved.experts);
        let found = found.split_off(vectors.len()).into_iter().zip(named);
        let mut contents: Vec<Format> =
            found.map(|(found, info)| settled(info.format, found.zeros, found.reordered, otherwise)).collect();
        let experts = contents.split_off(matrices.len());
        let matrices = matrices.iter().map(|(name, _)| (*name).clone()).zip(contents);
        self.verify_twins(&mut all)?;
        // A file that changes under way is one fault, whatever it held meanwhile.
        self.check_unchanged()?;
        all.into_result(self.with_contents(matrices.collect(), experts))
    }

    /// What [`Self::contents`] would find if the configuration and the names of tensors said it all: nothing is read. Zero
    /// points may turn out to be all alike, whatever the configuration says, and a `g_idx` to be in order.
    pub fn claimed_contents(&self) -> Contents {
        let matrices = self.resolved.matrices.iter().map(|(name, info)| (name.clone(), info.format));
        let experts = self.resolved.experts.iter().map(|info| info.format).collect();
        self.with_contents(matrices.collect(), experts)
    }

    fn with_contents(&self, matrices: HashMap<String, Format>, experts: Vec<Format>) -> Contents {
        Contents { matrices, experts, num_experts: self.config.num_experts, tensors: self.config.tensors.clone() }
    }

    fn verify_vector(&self, id: usize, faults: &mut Faults) -> Result<()> {
        let values = self.index.read_vector(id)?;
        if let Some(element) = values.iter().position(|value| !value.is_finite()) {
            faults.push(value_fault(&self.index.tensors[id].name, element, values[element]));
        }
        Ok(())
    }

    /// What its data tells of it.
    fn verify_matrix(&self, info: &MatrixInfo, faults: &mut Faults) -> Result<Verified> {
        let (scales, g_idx, slice) = match info.numbers {
            Numbers::Dense(_) => return Ok(Verified::default()),
            Numbers::Gptq(GptqNumbers { scales, g_idx, .. }) => (scales, g_idx, None),
            Numbers::Awq(AwqNumbers { scales, .. }) => (scales, None, None),
            Numbers::Compressed(CompressedNumbers { scales, g_idx, shape, slice, .. }) => {
                if let Some(id) = shape.filter(|_| slice.is_first()) {
                    let expected = [slice.n_matrices, slice.n_rows, info.in_features];
                    faults_of_shape(&self.index.tensors[id], &self.index.read_words(id)?, expected, faults);
                }
                (scales, g_idx, Some(slice))
            }
        };
        let format = info.grouped();
        let groups = format.groups(info.in_features);
        let first = slice.map_or(0, |slice| (slice.matrix * slice.n_rows + slice.first_row) * groups);
        let (count, size) = (groups * info.out_features, format.scale.size_bytes());
        let words = self.index.read_words_at(scales, (first * size) as u64, count * size)?;
        if let Some(BadElement { element, value }) = gptq::find_bad_scale(&words, format.scale, count) {
            faults.push(value_fault(&self.index.tensors[scales].name, first + element, value));
        }
        let mut reordered = false;
        if let Some(id) = g_idx {
            let (matrix, size) = (slice.map_or(0, |slice| slice.matrix), 4 * info.in_features);
            let table = self.index.read_words_at(id, (matrix * size) as u64, size)?;
            if let Some(fault) = group_fault(&self.index.tensors[id].name, &table, info) {
                faults.push(fault);
            }
            let is_used = slice.is_none() || !is_unused(&table);
            reordered = is_used && !gptq::is_sequential(&table, format.group);
        }
        Ok(Verified { zeros: self.zeros(info)?, reordered })
    }

    /// Compares the data of tensors that should hold the same.
    fn verify_twins(&self, faults: &mut Faults) -> Result<()> {
        for twins in &self.resolved.twins {
            let [unused, used] = [twins.unused, twins.used].map(|id| &self.index.tensors[id]);
            let Some(at) = self.first_difference(*twins)? else { continue };
            let element = at * 8 / unused.dtype.bitsize().max(1) as u64;
            let differs =
                Fault::tensor(&unused.name).found(format!("element {element} is another than that of {:?}", used.name));
            if twins.must_equal {
                faults.push(differs.expected("the same").because("config.json has attention_k_eq_v true"));
            } else {
                log::warn!(
                    "{differs}; the head is tied to the embedding, so it is not used (with tie_word_embeddings false at \
                     the top of config.json it would be)"
                );
            }
        }
        Ok(())
    }

    /// The first byte in which the two differ.
    fn first_difference(&self, twins: Twins) -> Result<Option<u64>> {
        let len = self.index.tensors[twins.unused].size_bytes;
        for first in (0..len).step_by(BLOCK) {
            let count = BLOCK.min((len - first) as usize);
            let [a, b] = [twins.unused, twins.used].map(|id| self.index.read_bytes(id, first, count));
            let (a, b) = (a?, b?);
            if let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) {
                return Ok(Some(first + at as u64));
            }
        }
        Ok(None)
    }
}

/// The format of a matrix that was `claimed`, by its zero points and by whether a table reorders its groups.
fn settled(claimed: Format, zeros: Option<Zeros>, reordered: bool, otherwise: bool) -> Format {
    let Format::Grouped(claimed) = claimed else { return claimed };
    let shift = if zeros.is_some_and(|zeros| zeros.is_asymmetric(otherwise)) { Shift::Zero } else { Shift::None };
    let order = if reordered { Order::PerRow } else { Order::Consecutive };
    Format::Grouped(Grouped { shift, order, ..claimed })
}

fn value_fault(name: &str, element: usize, value: f32) -> Fault {
    Fault::tensor(name).found(format!("element {element} is {value}")).expected("a finite number")
}

/// `weight_shape` must say `[matrices, out_features, in_features]`, or the last two of these.
fn faults_of_shape(tensor: &Tensor, words: &[u32], expected: [usize; 3], faults: &mut Faults) {
    let found: Vec<i64> = match tensor.dtype {
        Dtype::I32 => words.iter().map(|&word| i64::from(word as i32)).collect(),
        _ => words.chunks_exact(2).map(|pair| (u64::from(pair[1]) << 32 | u64::from(pair[0])) as i64).collect(),
    };
    let expected = &expected[expected.len() - found.len()..];
    if found.iter().zip(expected).any(|(&found, &expected)| found != expected as i64) {
        faults.push(Fault::tensor(&tensor.name).found(format!("holds {found:?}")).expected(format!("{expected:?}")));
    }
}

/// Whether all of a `weight_g_idx` is -1, as compressed-tensors initializes it and then takes it for none
/// (`quantization/lifecycle/forward.py`).
pub(super) fn is_unused(table: &[u32]) -> bool {
    table.iter().all(|&group| group == u32::MAX)
}

/// What a matrix's data tells of it.
#[derive(Default)]
struct Verified {
    zeros: Option<Zeros>,
    /// Whether `g_idx` says other than the group size does.
    reordered: bool,
}

/// What is wrong with the `g_idx` of `info`, if anything.
pub(super) fn group_fault(name: &str, table: &[u32], info: &MatrixInfo) -> Option<Fault> {
    if matches!(info.numbers, Numbers::Compressed(_)) && is_unused(table) {
        return None;
    }
    let groups = info.grouped().groups(info.in_features);
    let last = groups - 1;
    if let Some(BadElement { element, value: found }) = gptq::find_bad_group(table, groups) {
        let fault = Fault::tensor(name).found(format!("element {element} is {found}"));
        return Some(fault.expected(format!("a group from 0 to {last}")));
    }
    // Scales that nothing uses: the table is of another matrix, or damaged. Shards are joined by what their rows name.
    let group = gptq::find_empty_group(table, groups)?;
    let fault = Fault::tensor(name).found(format!("no element is {group}"));
    Some(fault.expected(format!("every group from 0 to {last}")))
}
