//! From tensors in files to the tensors that the model needs: finds each under its name, checks dtype and shape against
//! the configuration, and notes every fault. Reads no tensor data.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::Dtype as FileDtype;

use super::claimed::{FILES as QUANTIZATION_FILES, QuantizationConfig, Reader, Rules, Said};
use super::faults::Alike;
use super::files::index::{Absent, Index, Tensor};
use super::files::weight_map::INDEX;
use super::formats::matrix_info::MatrixInfo;
use super::skipped::{self, Skipped};
use super::{prefix, twins};
use crate::Result;
use crate::gemma4::Config;
use crate::gemma4::tensors::{Dimensions, Placed, Role};
use crate::quant::Dtype;

/// Every tensor of the text model, by its name relative to the prefix.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) matrices: HashMap<String, MatrixInfo>,
    /// `[layers, experts, projections]` in the order of the table; empty if dense.
    pub(super) experts: Vec<MatrixInfo>,
    /// Tensor number and role.
    pub(super) vectors: HashMap<String, VectorInfo>,
    pub(super) skipped: Skipped,
    /// What to tell the user, a line each.
    pub(super) notes: Vec<String>,
    /// Tensors that are not used because others hold the same, which their data must show.
    pub(super) twins: Vec<twins::Twins>,
}

/// Finds everything that `config` asks for.
pub(super) fn resolve(index: &Index, config: &Config, quantization: Option<&QuantizationConfig>) -> Result<Resolved> {
    let prefix = prefix::find(index);
    let (used, layers) = (vec![false; index.tensors.len()], find_layers(index, config, prefix));
    let is_quantized = |tensor: &&Tensor| tensor.name.ends_with(".qweight") || tensor.name.ends_with("_packed");
    let quantized = index.tensors.iter().filter(is_quantized).count();
    let rules = quantization.map(|quantization| Rules::new(quantization, quantized));
    let (faults, absent) = (Alike::default(), BTreeMap::new());
    let mut resolver = Resolver { index, config, claimed: quantization, prefix, used, layers, rules, faults, absent };
    let mut resolved = Resolved {
        matrices: HashMap::new(),
        experts: Vec::new(),
        vectors: HashMap::new(),
        skipped: Skipped::default(),
        notes: Vec::new(),
        twins: Vec::new(),
    };
    for tensor in config.tensors().filter(|tensor| !tensor.is_of_experts()) {
        match tensor.dimensions() {
            Dimensions::Vector(length) => {
                if let Some(id) = resolver.vector(&tensor.name(), length) {
                    resolved.vectors.insert(tensor.name(), VectorInfo { tensor: id, role: tensor.entry.role });
                }
            }
            Dimensions::Matrix(shape) => {
                let bases = resolver.bases(&tensor);
                if let Some(info) = resolver.matrix(&bases, tensor.entry.role, shape) {
                    resolved.matrices.insert(tensor.name(), info);
                }
            }
        }
    }
    if config.is_moe() {
        resolver.experts(&mut resolved.experts);
    }
    resolver.note_absent();
    let Resolver { used, rules, faults, .. } = resolver;
    let mut faults = faults.into_faults();
    if let Some(mut rules) = rules {
        resolved.notes = rules.notes(index.tensors.iter().map(|tensor| tensor.name.as_str()));
    }
    resolved.twins = twins::find(index, config, prefix, &used, &mut faults);
    resolved.skipped = skipped::sort(index, config, prefix, &used, &mut faults);
    if faults.count() == 0 {
        index.note_unneeded(&used);
    }
    faults.into_result(resolved)
}

/// Of which layers there is any tensor, or should be.
fn find_layers(index: &Index, config: &Config, prefix: &str) -> Vec<bool> {
    let mut layers = vec![false; config.num_hidden_layers];
    for name in index.names() {
        let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("layers."));
        let number = rest.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        if let Some(layer) = number.and_then(|number| layers.get_mut(number)) {
            *layer = true;
        }
    }
    layers
}

/// The search, with what it has found wrong.
pub(super) struct Resolver<'a> {
    pub(super) index: &'a Index,
    pub(super) config: &'a Config,
    pub(super) claimed: Option<&'a QuantizationConfig>,
    pub(super) prefix: &'static str,
    used: Vec<bool>,
    rules: Option<Rules<'a>>,
    /// Whether there is anything of a layer.
    layers: Vec<bool>,
    faults: Alike,
    /// Tensors that the index names and that are nowhere: how many by where they should be, and the first.
    absent: BTreeMap<Absent, Gone>,
}

/// Tensors that are not there for one reason.
struct Gone {
    count: usize,
    first: String,
}

/// What is known of a norm, scale or scalar.
#[derive(Debug, Clone, Copy)]
pub(super) struct VectorInfo {
    /// Its number in the index.
    pub tensor: usize,
    pub role: Role,
}

/// What the configuration says of quantized matrices, and of one of them.
pub(super) struct Claims<'a> {
    pub quantization: &'a QuantizationConfig,
    pub said: Said,
}

/// How the input features of a matrix are grouped.
pub(super) struct GroupCount {
    pub groups: usize,
    pub group_size: usize,
}

impl<'a> Resolver<'a> {
    /// What the configuration says of quantized matrices, and of `base`, whose tensor `name` is there; its format must be of
    /// the right kind.
    pub(super) fn quantization(
        &mut self,
        base: &str,
        name: &str,
        is_right: impl Fn(Reader) -> bool,
    ) -> Option<Claims<'a>> {
        match &mut self.rules {
            None => {
                let files = QUANTIZATION_FILES.join(", ");
                let what =
                    format!("is quantized, but config.json has no quantization_config, nor is there any of {files}");
                self.fault_of_many("no quantization config", name, &what);
            }
            Some(rules) if !is_right(rules.config.reader) => {
                let (key, method) = (rules.config.key("quant_method"), &rules.config.quant_method);
                let what = format!("is there, but {key} is {method:?}");
                self.fault_of_many(&what.clone(), name, &what);
            }
            Some(rules) => return Some(Claims { quantization: rules.config, said: rules.said(base) }),
        }
        None
    }
}

impl Resolver<'_> {
    /// The tensor called `name`, which is used then. One that the index names must be there.
    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
        let found = self.probe(name);
        if let Some(place) = found.is_none().then(|| self.index.absent(name)).flatten() {
            let gone = self.absent.entry(place).or_insert_with(|| Gone { count: 0, first: name.to_owned() });
            gone.count += 1;
        }
        found
    }

    /// Like [`Self::find`], for one name of several under which something may lie.
    fn probe(&mut self, name: &str) -> Option<usize> {
        let id = self.index.find(name)?;
        if let Some(doubt) = self.index.doubt(id).filter(|_| !self.used[id]) {
            self.faults.push_other(doubt);
        }
        self.used[id] = true;
        Some(id)
    }

    pub(super) fn tensor(&self, id: usize) -> &Tensor {
        &self.index.tensors[id]
    }

    pub(super) fn fault(&mut self, name: &str, what: &str) {
        // What is missing with its file or its layer has one cause.
        let is_missing = what.starts_with("missing");
        if is_missing && (self.index.absent(name).is_some() || self.is_of_missing_layer(name)) {
            return;
        }
        self.faults.push(name, what);
    }

    fn is_of_missing_layer(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix("layers."));
        let number = rest.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        number.and_then(|number| self.layers.get(number)).is_some_and(|is_there| !is_there)
    }

    /// Adds the faults of what is missing as a whole: layers and files.
    fn note_absent(&mut self) {
        let missing: Vec<usize> = (0..self.layers.len()).filter(|&layer| !self.layers[layer]).collect();
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let (count, all, prefix) = (missing.len(), self.layers.len(), self.prefix);
            let which = match count {
                1 => format!("layer {first} of {all}"),
                _ if last - first + 1 == count => format!("layers {first} to {last} of {all}"),
                _ => format!("{count} layers from {first} to {last} of {all}"),
            };
            self.faults.push_other(&format!(
                "{which}: all tensors missing, expected such as \"{prefix}layers.{first}.self_attn.q_proj.weight\"; is a file \
                 of the model missing?"
            ));
        }
        for (place, Gone { count, first }) in std::mem::take(&mut self.absent) {
            let file = self.index.file_of(place);
            self.faults.push_other(&match place {
                Absent::WithFile(_) => format!(
                    "file {file:?}: does not exist, expected it as {INDEX} names it for tensors that the model needs, {count} \
                     such as {first:?}"
                ),
                Absent::FromFile(_) => {
                    let more = if count > 1 { format!(" ({count} such)") } else { String::new() };
                    format!("{INDEX}: says that tensor {first:?} is in {file:?}, which does not hold it{more}")
                }
            });
        }
    }

    /// A fault of tensor `name` that others have for the same `reason`: together they are one line.
    pub(super) fn fault_of_many(&mut self, reason: &str, name: &str, what: &str) {
        self.faults.push_for(reason, name, what);
    }

    fn vector(&mut self, name: &str, length: usize) -> Option<usize> {
        let name = format!("{}{name}", self.prefix);
        let Some(id) = self.find(&name) else {
            self.fault(&name, &format!("missing, expected [{length}]"));
            return None;
        };
        self.check_float(id)?;
        // A scalar may have no dimension.
        let scalar = length == 1 && self.tensor(id).shape.is_empty();
        if !scalar {
            self.check_shape(id, &[length])?;
        }
        Some(id)
    }

    /// Full names, without suffix, under which a matrix may lie.
    fn bases(&self, tensor: &Placed) -> Vec<String> {
        let inside = format!("{}{}", self.prefix, tensor.name());
        match tensor.entry.role {
            Role::Head => {
                let outside = skipped::BEFORE_HEADS.iter().map(|before| format!("{before}{}", tensor.entry.name));
                outside.chain([inside]).collect()
            }
            _ => vec![inside],
        }
    }

    /// The matrix under the first of `bases` that has any tensor.
    pub(super) fn matrix(&mut self, bases: &[String], role: Role, shape: [usize; 2]) -> Option<MatrixInfo> {
        for base in bases {
            let dense = self.probe(&format!("{base}.weight"));
            let quantized = ["qweight", "qzeros", "scales"].map(|part| self.index.find(&format!("{base}.{part}")));
            let stem = format!("{base}.weight");
            let (quantized, compressed) = (quantized.iter().any(Option::is_some), self.is_compressed(&stem));
            if (quantized || compressed) && matches!(role, Role::Embedding | Role::PerLayerEmbedding) {
                self.fault(&stem, "is quantized, which is not supported yet for embeddings");
                return None;
            }
            match (dense, quantized, compressed) {
                (Some(id), false, false) => return self.dense(id, role, shape),
                (None, true, false) => return self.gptq_or_awq(base, role, shape),
                (None, false, true) => {
                    let matrix = self.compressed(base, &stem, None, shape)?;
                    return Some(matrix.slice(role, 0, 0, shape[0]));
                }
                (None, true, true) => {
                    self.fault(&stem, "is quantized in the tensors of two formats, expected those of one");
                    return None;
                }
                (Some(_), ..) => {
                    self.fault(&format!("{base}.weight"), "is there beside quantized tensors, expected one of the two");
                    return None;
                }
                (None, false, false) => {}
            }
        }
        // Listed, but nowhere: which format it has is not known either.
        let parts =
            bases.iter().flat_map(|base| ["weight", "qweight", "weight_packed"].map(|part| format!("{base}.{part}")));
        match parts.into_iter().find(|name| self.index.absent(name).is_some()) {
            Some(listed) => drop(self.find(&listed)),
            None => self.fault(&format!("{}.weight", bases[0]), &format!("missing, expected {shape:?}")),
        }
        None
    }

    /// Bits of a code: those with which tensor `id` has the `expected` shape, and the configuration must say the same.
    pub(super) fn find_bits(&mut self, said: &Said, id: usize, expected: impl Fn(u32) -> Vec<usize>) -> Option<u32> {
        let (offered, key) = (&said.bits, self.claimed?.bits_key());
        let tensor = self.tensor(id);
        let (name, found) = (tensor.name.clone(), tensor.shape.clone());
        let fits = |bits: &u32| found == expected(*bits);
        if let Some(&bits) = offered.iter().find(|bits| matches!(bits, 4 | 8) && fits(bits)) {
            return Some(bits);
        }
        match (2..=8).find(fits) {
            Some(bits) if offered.contains(&bits) => {
                let what = format!("has {bits}-bit codes, which are not supported yet, expected 4-bit or 8-bit codes");
                self.fault_of_many(&what.clone(), &name, &what);
            }
            Some(bits) => {
                let offered = offered.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
                let what = format!("has {bits}-bit codes, but {key} is {offered}");
                self.fault_of_many(&what, &name, &format!("shape {found:?} {what}"));
            }
            None => self.fault(&name, &format!("shape {found:?}, expected {:?}", expected(offered[0].min(8)))),
        }
        None
    }

    /// Groups and group size: the number of groups in the tensor `scales`, which has the `expected` shape with it, must
    /// be what the configuration makes of the input features.
    pub(super) fn check_groups(
        &mut self,
        said: &Said,
        scales: usize,
        in_features: usize,
        groups: Option<usize>,
        expected: impl Fn(usize) -> Vec<usize>,
    ) -> Option<GroupCount> {
        let quantization = self.claimed?;
        let tensor = self.tensor(scales);
        let Some(groups) = groups.filter(|&groups| groups > 0 && tensor.shape == expected(groups)) else {
            let groups = quantization.group_size.map_or(1, |size| in_features.div_ceil(size));
            self.check_shape(scales, &expected(groups))?;
            return None;
        };
        match said.group_size(in_features, groups) {
            Ok(group_size) => Some(GroupCount { groups, group_size }),
            Err(offered) => {
                let reason = format!("group sizes {offered:?}");
                let offered: Vec<String> = offered
                    .iter()
                    .map(|size| match size {
                        Some(size) => format!("{size} makes {}", in_features.div_ceil(*size)),
                        None => "-1 makes 1".to_owned(),
                    })
                    .collect();
                let (name, shape) = (tensor.name.clone(), &tensor.shape);
                let key = quantization.key("group_size");
                let what = format!(
                    "shape {shape:?} has {groups} groups for {in_features} input features, but {key} {}",
                    offered.join(", ")
                );
                self.fault_of_many(&reason, &name, &what);
                None
            }
        }
    }

    pub(super) fn check_float(&mut self, id: usize) -> Option<Dtype> {
        let tensor = self.tensor(id);
        let float = tensor.float();
        if float.is_none() {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            self.fault(&name, &format!("dtype {dtype}, expected BF16, F16 or F32"));
        }
        float
    }

    pub(super) fn check_i32(&mut self, id: usize, shape: &[usize]) -> Option<()> {
        let tensor = self.tensor(id);
        if tensor.dtype != FileDtype::I32 {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            self.fault(&name, &format!("dtype {dtype}, expected I32"));
            return None;
        }
        self.check_shape(id, shape)
    }

    pub(super) fn check_shape(&mut self, id: usize, shape: &[usize]) -> Option<()> {
        let tensor = self.tensor(id);
        if tensor.shape == shape {
            return Some(());
        }
        let (name, found) = (tensor.name.clone(), tensor.shape.clone());
        self.fault(&name, &format!("shape {found:?}, expected {shape:?}"));
        None
    }
}
