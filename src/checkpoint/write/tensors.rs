//! The tensors of a made-up checkpoint, with the names, shapes and dtypes of AutoRound's.

use crate::gemma4::Config;
use crate::gemma4::tensors::{Dimensions, Entry, Place, Placed, Role, Scope};
use crate::quant::{Bits, Dtype, Format, RandomBits};

/// What the text model's tensors begin with in releases.
const PREFIX: &str = "model.language_model.";
/// Keeps the residual stream at order 1, however many layers add to it.
const LAYER_SCALAR: u32 = 0x3f00;
/// 1 in bf16.
const ONE: u32 = 0x3f80;
/// Zero points of 8, minus one, as `auto_round:auto_gptq` has them.
const ZERO_POINTS: u32 = 0x7777_7777;

/// A tensor that is to be written.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// As safetensors calls it.
    pub(super) dtype: &'static str,
    pub(super) shape: Vec<usize>,
    /// What its words are.
    pub(super) words: Bits,
}

impl Tensor {
    pub(super) fn size_bytes(&self) -> u64 {
        let element = if self.dtype == "I32" { 4 } else { 2 };
        self.shape.iter().product::<usize>() as u64 * element
    }
}

/// All tensors of a model of `config`'s shapes: layers int4 in groups of `group_size`, everything else bf16. Experts come
/// last.
pub(super) fn all(config: &Config, group_size: usize) -> Vec<Tensor> {
    let mut list = List { tensors: Vec::new(), group_size };
    for tensor in config.tensors().filter(|tensor| !tensor.is_of_experts()) {
        // A head stands beside the text model.
        let prefix = if tensor.entry.role == Role::Head { "" } else { PREFIX };
        let name = format!("{prefix}{}", tensor.name());
        match tensor.dimensions() {
            Dimensions::Vector(length) => {
                let value = if tensor.entry.place == Place::Number { LAYER_SCALAR } else { ONE };
                list.add(name, "BF16", &[length], Bits { keep: 0, base: value << 16 | value });
            }
            Dimensions::Matrix(shape) if is_dense(tensor.entry) => list.dense(&name, shape),
            Dimensions::Matrix(shape) => list.int4(&name, shape),
        }
    }
    for layer in 0..config.num_hidden_layers {
        let of_experts: Vec<Placed> = config.tensors_at(Some(layer)).filter(Placed::is_of_experts).collect();
        for expert in 0..config.num_experts {
            for tensor in &of_experts {
                list.int4(&format!("{PREFIX}{}", tensor.name_of(expert)), tensor.matrix());
            }
        }
    }
    list.tensors
}

/// Exporters quantize what stands in a layer, save the router.
fn is_dense(entry: &Entry) -> bool {
    entry.role == Role::Router || entry.scope == Scope::Model
}

struct List {
    tensors: Vec<Tensor>,
    group_size: usize,
}

impl List {
    fn add(&mut self, name: String, dtype: &'static str, shape: &[usize], words: Bits) {
        self.tensors.push(Tensor { name, dtype, shape: shape.to_vec(), words });
    }

    fn dense(&mut self, name: &str, [n, k]: [usize; 2]) {
        let random = RandomBits::of(&Format::Dense(Dtype::BF16), k);
        self.add(format!("{name}.weight"), "BF16", &[n, k], random.data);
    }

    fn int4(&mut self, name: &str, [n, k]: [usize; 2]) {
        let RandomBits { data: codes, scales } = RandomBits::of(&Format::int(4, self.group_size), k);
        let groups = k.div_ceil(self.group_size);
        self.add(format!("{name}.qweight"), "I32", &[k / 8, n], codes);
        self.add(format!("{name}.qzeros"), "I32", &[groups, n / 8], Bits { keep: 0, base: ZERO_POINTS });
        self.add(format!("{name}.scales"), "F16", &[groups, n], scales);
    }
}
