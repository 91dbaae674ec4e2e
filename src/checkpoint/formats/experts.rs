//! The experts in their layouts: a matrix each, or all of a layer in two fused tensors, with or without a `moe.` segment.

use super::compressed::Compressed;
use super::matrix_info::{MatrixFormat, MatrixInfo, Projection, Storage};
use crate::checkpoint::resolve::Resolver;
use crate::gemma4::tensors::Role;
use crate::quant::Dtype;

/// After so many experts in a row of which there is nothing, the search ends: a configuration can claim any number.
const MOST_ABSENT: usize = 256;

impl Resolver<'_> {
    /// All experts of all layers.
    pub(crate) fn experts(&mut self, experts: &mut Vec<MatrixInfo>) {
        let layouts = self.find_layouts();
        for (layer, layout) in layouts.into_iter().enumerate() {
            let at = |layout: &str| format!("{}layers.{layer}.{layout}", self.prefix);
            match layout {
                None => {
                    let name = at("experts");
                    let what = format!(
                        "missing, expected gate_up_proj and down_proj or {} experts with gate_proj, up_proj and down_proj",
                        self.config.num_experts
                    );
                    self.fault(&name, &what);
                }
                Some(Layout { base, fused: true }) => self.fused_experts(&at(base), experts),
                Some(Layout { base, fused: false }) => self.single_experts(&at(base), experts),
            }
        }
    }

    /// Three matrices an expert. Those of one projection become one stack on the device, and must have one format.
    fn single_experts(&mut self, base: &str, experts: &mut Vec<MatrixInfo>) {
        let (hidden, intermediate) = (self.config.hidden_size, self.config.moe_intermediate_size);
        let mut formats = [None; Projection::ALL.len()];
        let mut absent = 0;
        for expert in 0..self.config.num_experts {
            if absent == MOST_ABSENT {
                let last = self.config.num_experts - 1;
                self.fault(
                    &format!("{base}.{expert}"),
                    &format!("missing like the {MOST_ABSENT} before it, expected experts 0 to {last}"),
                );
                return;
            }
            absent += 1;
            for (projection, format) in Projection::ALL.into_iter().zip(&mut formats) {
                let (name, shape) = (format!("{base}.{expert}.{projection}"), projection.shape(hidden, intermediate));
                let Some(info) = self.matrix(std::slice::from_ref(&name), Role::Experts, shape) else { continue };
                absent = 0;
                let first = *format.get_or_insert(info.format);
                if !info.format.stacks_with(first) {
                    let [found, expected] = [info.format, first].map(|format| format.describe_stack(shape[1]));
                    let what = format!("is {found}, expected {expected} as of the experts before it in this layer");
                    self.fault(&name, &what);
                }
                experts.push(info);
            }
        }
    }

    /// How each layer's experts are stored, from the names that are there.
    fn find_layouts(&self) -> Vec<Option<Layout>> {
        let mut layouts = vec![None; self.config.num_hidden_layers];
        for name in self.index.names() {
            let Some(rest) = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix("layers.")) else {
                continue;
            };
            let Some((layer, rest)) = rest.split_once('.') else { continue };
            let Some(layout) = layer.parse::<usize>().ok().and_then(|layer| layouts.get_mut(layer)) else { continue };
            for base in ["experts", "moe.experts"] {
                if let Some(rest) = rest.strip_prefix(base).and_then(|rest| rest.strip_prefix('.')) {
                    let fused = rest.starts_with("gate_up_proj") || rest.starts_with("down_proj");
                    *layout = Some(Layout { base, fused });
                }
            }
        }
        layouts
    }

    /// `gate_up_proj [experts, 2 * intermediate, hidden]`, gate first, and `down_proj [experts, hidden, intermediate]`.
    fn fused_experts(&mut self, base: &str, experts: &mut Vec<MatrixInfo>) {
        let config = self.config;
        let (hidden, intermediate) = (config.hidden_size, config.moe_intermediate_size);
        let gate_up = self.fused(base, "gate_up_proj", [config.num_experts, 2 * intermediate, hidden]);
        let down = self.fused(base, "down_proj", [config.num_experts, hidden, intermediate]);
        let (Some(gate_up), Some(down)) = (gate_up, down) else { return };
        for expert in 0..config.num_experts {
            for (projection, stack) in Projection::ALL.into_iter().zip([gate_up, gate_up, down]) {
                let [out_features, in_features] = projection.shape(hidden, intermediate);
                let first_row = if projection == Projection::Up { intermediate } else { 0 };
                experts.push(match stack {
                    Fused::Compressed(stack) => stack.slice(Role::Experts, expert, first_row, out_features),
                    Fused::Dense(tensor, dtype) => {
                        let row_bytes = (in_features * dtype.size_bytes()) as u64;
                        let rows = if projection == Projection::Down { out_features } else { 2 * out_features };
                        MatrixInfo {
                            out_features,
                            in_features,
                            format: MatrixFormat::Dense(dtype),
                            role: Role::Experts,
                            size_bytes: out_features as u64 * row_bytes,
                            storage: Storage::Dense {
                                tensor,
                                first_byte: (expert * rows + first_row) as u64 * row_bytes,
                            },
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
                self.fault(&name, "is there beside quantized tensors, expected one of the two");
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
                    None => self.fault(&name, &format!("missing, expected {shape:?}")),
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
