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
use crate::error::{Defect, Fault, Others, Place};
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
                let but = format!("config.json has no quantization_config, nor is there any of {files}");
                let fault = Fault::tensor(name).found("is quantized").but(but);
                self.fault_of_many("no quantization config", name, fault);
            }
            Some(rules) if !is_right(rules.config.reader) => {
                let (key, method) = (rules.config.key("quant_method"), &rules.config.quant_method);
                self.faults.push(name, Fault::tensor(name).found("is there").but(format!("{key} is {method:?}")));
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
            self.faults.push_other(doubt.clone());
        }
        self.used[id] = true;
        Some(id)
    }

    pub(super) fn tensor(&self, id: usize) -> &Tensor {
        &self.index.tensors[id]
    }

    /// Adds a fault of tensor `name`, told by `tell`.
    pub(super) fn fault(&mut self, name: &str, tell: impl FnOnce(Fault) -> Fault) {
        let fault = tell(Fault::tensor(name));
        // What is missing with its file or its layer has one cause.
        if fault.defect == Defect::Missing && (self.index.absent(name).is_some() || self.is_of_missing_layer(name)) {
            return;
        }
        self.faults.push(name, fault);
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
            let place = Place::Layers { count: missing.len(), first: *first, last: *last, of: self.layers.len() };
            let example = format!("such as \"{}layers.{first}.self_attn.q_proj.weight\"", self.prefix);
            let fault = Fault::new(place).missing("all tensors missing").expected(example);
            self.faults.push_other(fault.note("is a file of the model missing?"));
        }
        for (place, Gone { count, first }) in std::mem::take(&mut self.absent) {
            let file = self.index.file_of(place);
            self.faults.push_other(match place {
                Absent::WithFile(_) => Fault::file(file).missing("does not exist").expected(format!(
                    "it as {INDEX} names it for tensors that the model needs, {count} such as {first:?}"
                )),
                Absent::FromFile(_) => {
                    let found = format!("says that tensor {first:?} is in {file:?}, which does not hold it");
                    let fault = Fault::config(INDEX).found(found);
                    if count > 1 { fault.others(Others::counted(count - 1)) } else { fault }
                }
            });
        }
    }

    /// A fault of tensor `name` that others have for the same `reason`: together they are one line.
    pub(super) fn fault_of_many(&mut self, reason: &str, name: &str, fault: Fault) {
        self.faults.push_for(reason, name, fault);
    }

    fn vector(&mut self, name: &str, length: usize) -> Option<usize> {
        let name = format!("{}{name}", self.prefix);
        let Some(id) = self.find(&name) else {
            self.fault(&name, |fault| fault.missing("missing").expected(format!("[{length}]")));
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
                let found = "is quantized, which is not supported yet for embeddings";
                self.fault(&stem, |fault| fault.found(found).unsupported());
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
                    let found = "is quantized in the tensors of two formats";
                    self.fault(&stem, |fault| fault.found(found).expected("those of one"));
                    return None;
                }
                (Some(_), ..) => {
                    self.fault(&stem, is_beside_quantized);
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
            None => self.fault(&format!("{}.weight", bases[0]), |fault| is_missing(fault, &shape)),
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
                let fault = Fault::tensor(&name).found(format!("has {bits}-bit codes, which are not supported yet"));
                self.faults.push(&name, fault.expected("4-bit or 8-bit codes").unsupported());
            }
            Some(bits) => {
                let offered = offered.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
                let (codes, but) = (format!("has {bits}-bit codes"), format!("{key} is {offered}"));
                let fault = Fault::tensor(&name).found(format!("shape {found:?} {codes}")).but(&but);
                self.fault_of_many(&format!("{codes}, but {but}"), &name, fault);
            }
            None => self.fault(&name, |fault| is_of_shape(fault, &found, &expected(offered[0].min(8)))),
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
                let found = format!("shape {shape:?} has {groups} groups for {in_features} input features");
                let fault = Fault::tensor(&name).found(found).but(format!("{key} {}", offered.join(", ")));
                self.fault_of_many(&reason, &name, fault);
                None
            }
        }
    }

    pub(super) fn check_float(&mut self, id: usize) -> Option<Dtype> {
        let tensor = self.tensor(id);
        let float = tensor.float();
        if float.is_none() {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            self.fault(&name, |fault| fault.found(format!("dtype {dtype}")).expected("BF16, F16 or F32"));
        }
        float
    }

    pub(super) fn check_i32(&mut self, id: usize, shape: &[usize]) -> Option<()> {
        let tensor = self.tensor(id);
        if tensor.dtype != FileDtype::I32 {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            self.fault(&name, |fault| fault.found(format!("dtype {dtype}")).expected("I32"));
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
        self.fault(&name, |fault| is_of_shape(fault, &found, shape));
        None
    }
}

/// The fault of a tensor of another shape.
fn is_of_shape(fault: Fault, found: &[usize], expected: &[usize]) -> Fault {
    fault.found(format!("shape {found:?}")).expected(format!("{expected:?}"))
}

/// The fault of a tensor of this shape that is not there.
pub(super) fn is_missing(fault: Fault, shape: &[usize]) -> Fault {
    fault.missing("missing").expected(format!("{shape:?}"))
}

/// The fault of a quantized matrix of which a tensor is missing.
pub(super) fn is_missing_beside(fault: Fault) -> Fault {
    fault.missing("missing").expected("beside the other tensors of a quantized matrix")
}

/// The fault of a dense tensor of what is there as quantized ones too.
pub(super) fn is_beside_quantized(fault: Fault) -> Fault {
    fault.found("is there beside quantized tensors").expected("one of the two")
}
