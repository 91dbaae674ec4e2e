//! The experts in their layouts: a matrix each, or all of a layer in two fused tensors, with or without a `moe.` segment.

use super::compressed::Compressed;
use super::matrix_info::MatrixInfo;
use super::numbers::{DenseNumbers, Numbers};
use crate::checkpoint::resolve::{Resolver, is_beside_quantized, is_missing};
use crate::gemma4::tensors::{Entry, Place, Placed, Role};
use crate::quant::{Dtype, Format};

/// After so many experts in a row of which there is nothing, the search ends: a configuration can claim any number.
const MOST_ABSENT: usize = 256;

impl Resolver<'_> {
    /// All experts of all layers.
    pub(crate) fn experts(&mut self, experts: &mut Vec<MatrixInfo>) {
        let config = self.config;
        let layouts = self.find_layouts();
        for (layer, layout) in layouts.into_iter().enumerate() {
            let at = |layout: &str| format!("{}layers.{layer}.{layout}", self.prefix);
            let tensors: Vec<Placed> = config.tensors_at(Some(layer)).filter(Placed::is_of_experts).collect();
            match layout {
                None => {
                    let name = at("experts");
                    let fused = listed(config.tensors.of_experts().map(fused_name));
                    let single = listed(tensors.iter().map(|tensor| last(tensor.entry.name)));
                    let expected = format!("{fused} or {} experts with {single}", self.config.num_experts);
                    self.fault(&name, |fault| fault.missing("missing").expected(expected));
                }
                Some(Layout { base, fused: true }) => self.fused_experts(&at(base), &tensors, experts),
                Some(Layout { base, fused: false }) => self.single_experts(&at(base), &tensors, experts),
            }
        }
    }

    /// Each projection of an expert is a matrix. Those of one projection become one stack on the device, and must have one
    /// format.
    fn single_experts(&mut self, base: &str, tensors: &[Placed], experts: &mut Vec<MatrixInfo>) {
        let mut formats = vec![None; tensors.len()];
        let mut absent = 0;
        for expert in 0..self.config.num_experts {
            if absent == MOST_ABSENT {
                let last = self.config.num_experts - 1;
                let found = format!("missing like the {MOST_ABSENT} before it");
                self.fault(&format!("{base}.{expert}"), |fault| {
                    fault.missing(found).expected(format!("experts 0 to {last}"))
                });
                return;
            }
            absent += 1;
            for (tensor, format) in tensors.iter().zip(&mut formats) {
                let (name, shape) = (format!("{base}.{expert}.{}", last(tensor.entry.name)), tensor.matrix());
                let Some(info) = self.matrix(std::slice::from_ref(&name), Role::Experts, shape) else { continue };
                absent = 0;
                let first = *format.get_or_insert(info.format);
                if !info.format.stacks_with(&first) {
                    let [found, expected] = [info.format, first].map(|format| format.describe_stack(shape[1]));
                    let expected = format!("{expected} as of the experts before it in this layer");
                    self.fault(&name, |fault| fault.found(format!("is {found}")).expected(expected));
                }
                experts.push(info);
            }
        }
    }

    /// How each layer's experts are stored, from the names that are there.
    fn find_layouts(&self) -> Vec<Option<Layout>> {
        let mut layouts = vec![None; self.config.num_hidden_layers];
        let stacks: Vec<&str> = self.config.tensors.of_experts().map(fused_name).collect();
        for name in self.index.names() {
            let Some(rest) = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix("layers.")) else {
                continue;
            };
            let Some((layer, rest)) = rest.split_once('.') else { continue };
            let Some(layout) = layer.parse::<usize>().ok().and_then(|layer| layouts.get_mut(layer)) else { continue };
            for base in ["experts", "moe.experts"] {
                if let Some(rest) = rest.strip_prefix(base).and_then(|rest| rest.strip_prefix('.')) {
                    let fused = stacks.iter().any(|stack| rest.starts_with(stack));
                    *layout = Some(Layout { base, fused });
                }
            }
        }
        layouts
    }

    /// Each stack is a tensor, `gate_up_proj [experts, 2 * intermediate, hidden]`, gate first, and
    /// `down_proj [experts, hidden, intermediate]`.
    fn fused_experts(&mut self, base: &str, tensors: &[Placed], experts: &mut Vec<MatrixInfo>) {
        let n_experts = self.config.num_experts;
        let mut stacks: Vec<(&str, [usize; 3])> = Vec::new();
        // Of each projection the number of its stack, and where its rows begin there.
        let mut places: Vec<(usize, usize)> = Vec::new();
        for tensor in tensors {
            let (name, [rows, columns]) = (fused_name(tensor.entry), tensor.matrix());
            let number = stacks.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                stacks.push((name, [n_experts, 0, columns]));
                stacks.len() - 1
            });
            let (_, shape) = &mut stacks[number];
            places.push((number, shape[1]));
            shape[1] += rows;
        }
        let found: Vec<Option<Fused>> = stacks.iter().map(|&(name, shape)| self.fused(base, name, shape)).collect();
        let Some(found) = found.into_iter().collect::<Option<Vec<Fused>>>() else { return };
        for expert in 0..n_experts {
            for (tensor, &(number, first_row)) in tensors.iter().zip(&places) {
                let [out_features, in_features] = tensor.matrix();
                experts.push(match found[number] {
                    Fused::Compressed(stack) => stack.slice(Role::Experts, expert, first_row, out_features),
                    Fused::Dense(id, dtype) => {
                        let row_bytes = (in_features * dtype.size_bytes()) as u64;
                        let rows = stacks[number].1[1];
                        MatrixInfo {
                            out_features,
                            in_features,
                            format: Format::Dense(dtype),
                            role: Role::Experts,
                            size_bytes: out_features as u64 * row_bytes,
                            numbers: Numbers::Dense(DenseNumbers {
                                tensor: id,
                                first_byte: (expert * rows + first_row) as u64 * row_bytes,
                            }),
                        }
                    }
                });
            }
        }
    }

    /// One fused tensor, dense or (`gate_up_proj_packed` and its company) quantized.
    fn fused(&mut self, base: &str, part: &str, shape: [usize; 3]) -> Option<Fused> {
        let name = format!("{base}.{part}");
        let dense = self.find(&name).or_else(|| self.find(&format!("{name}.weight")));
        match (dense, self.is_compressed(&name)) {
            (Some(_), true) => {
                self.fault(&name, is_beside_quantized);
                None
            }
            (None, true) => {
                let [stack, out_features, in_features] = shape;
                self.compressed(&name, &name, Some(stack), [out_features, in_features]).map(Fused::Compressed)
            }
            (None, false) => {
                let packed = format!("{name}_packed");
                match self.index.absent(&packed) {
                    Some(_) => drop(self.find(&packed)),
                    None => self.fault(&name, |fault| is_missing(fault, &shape)),
                }
                None
            }
            (Some(id), false) => {
                let dtype = self.check_float(id);
                self.check_shape(id, &shape)?;
                Some(Fused::Dense(id, dtype?))
            }
        }
    }
}

/// One matrix of all experts in one place.
#[derive(Debug, Clone, Copy)]
enum Fused {
    /// Tensor number.
    Dense(usize, Dtype),
    Compressed(Compressed),
}

/// Where a layer's experts lie.
#[derive(Debug, Clone, Copy)]
struct Layout {
    base: &'static str,
    fused: bool,
}

/// What stands behind the last dot.
fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The name of the tensor that holds `entry` of all experts: that of their stack.
fn fused_name(entry: &Entry) -> &'static str {
    match entry.place {
        Place::Stack(stack) => last(stack),
        _ => last(entry.name),
    }
}

/// `a, b and c`, each name once.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}
