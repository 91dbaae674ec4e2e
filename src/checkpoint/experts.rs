//! The experts in their layouts: a matrix each, or all of a layer in two fused tensors, with or without a `moe.` segment.

use super::matrix_info::{MatrixFormat, MatrixInfo, Projection, Storage};
use super::resolve::Resolver;
use super::roles::Role;
use crate::quant::Dtype;

impl Resolver<'_> {
    /// All experts of all layers.
    pub(super) fn experts(&mut self, experts: &mut Vec<MatrixInfo>) {
        let (hidden, intermediate) = (self.config.hidden_size, self.config.moe_intermediate_size);
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
                Some(Layout { base, fused: false }) => {
                    let base = at(base);
                    for expert in 0..self.config.num_experts {
                        for projection in Projection::ALL {
                            let bases = [format!("{base}.{expert}.{projection}")];
                            let info = self.matrix(&bases, Role::Experts, projection.shape(hidden, intermediate));
                            experts.extend(info);
                        }
                    }
                }
            }
        }
    }

    /// How each layer's experts are stored, from the names that are there.
    fn find_layouts(&self) -> Vec<Option<Layout>> {
        let mut layouts = vec![None; self.config.num_hidden_layers];
        for tensor in &self.index.tensors {
            let Some(rest) = tensor.name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix("layers.")) else {
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
            for (projection, (tensor, dtype)) in Projection::ALL.into_iter().zip([gate_up, gate_up, down]) {
                let [out_features, in_features] = projection.shape(hidden, intermediate);
                let size_bytes = (out_features * in_features * dtype.size_bytes()) as u64;
                let number = match projection {
                    Projection::Gate => 2 * expert,
                    Projection::Up => 2 * expert + 1,
                    Projection::Down => expert,
                };
                experts.push(MatrixInfo {
                    out_features,
                    in_features,
                    format: MatrixFormat::Dense(dtype),
                    role: Role::Experts,
                    size_bytes,
                    storage: Storage::Dense { tensor, first_byte: number as u64 * size_bytes },
                });
            }
        }
    }

    fn fused(&mut self, base: &str, part: &str, shape: [usize; 3]) -> Option<(usize, Dtype)> {
        let name = format!("{base}.{part}");
        let Some(id) = self.find(&name).or_else(|| self.find(&format!("{name}.weight"))) else {
            self.fault(&name, &format!("missing, expected {shape:?}"));
            return None;
        };
        let dtype = self.check_float(id);
        self.check_shape(id, &shape)?;
        Some((id, dtype?))
    }
}

/// Where a layer's experts lie.
#[derive(Debug, Clone, Copy)]
struct Layout {
    base: &'static str,
    fused: bool,
}
