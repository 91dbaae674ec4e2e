//! A rank's weights on its device, with the checkpoint's names.

use std::sync::Arc;

use crate::checkpoint::RowReader;
use crate::gemma4::tensors::{AtPlace, Role, Scope};
use crate::gpu::Tensor;
use crate::kernels::product::joined::{Joined, Named};
use crate::kernels::{HostStack, Weights};

pub(crate) use crate::gemma4::tensors::Norm;

/// The row of the norm table that holds `norm` of layer `l`.
pub(crate) fn norm_row(l: usize, norm: Norm) -> usize {
    l * Norm::COUNT + norm as usize
}

/// What a rank holds of the tensors that the table puts in one place.
#[derive(Debug)]
pub(crate) struct Held {
    /// The place's name, relative to the layer: `self_attn.qkv_proj`.
    pub label: &'static str,
    /// `None` for what the model has once.
    pub layer: Option<usize>,
    pub role: Role,
    pub scope: Scope,
    pub held_as: HeldAs,
}

/// In what form tensors are held.
#[derive(Debug, Clone)]
pub(crate) enum HeldAs {
    Stack(Stack),
    /// Rows without padding, on the device.
    Rows(Tensor),
    /// A parameter of kernels.
    Number(f32),
    /// A file of which single rows are read.
    File(RowReader),
}

/// The matrices of one place: one stack where their formats agree, else several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    /// On the device; of experts in host memory, windows.
    pub matrices: Vec<Stacked>,
    /// The same in host memory: all or none.
    pub hosted: Vec<Hosted>,
}

/// A stack on the device.
#[derive(Debug, Clone)]
pub(crate) struct Stacked {
    /// Its name, relative to the layer: that of the place, or that of the tensor that is alone in it.
    pub label: &'static str,
    pub weights: Weights,
}

impl Stacked {
    /// The name of the dispatches of its products: attention's are without `self_attn.`.
    pub(crate) fn dispatch(&self) -> &'static str {
        self.label.strip_prefix("self_attn.").unwrap_or(self.label)
    }
}

impl Held {
    pub(crate) fn new(at: &AtPlace, held_as: HeldAs) -> Self {
        let first = &at.tensors[0];
        let (role, scope) = (first.entry.role, first.entry.scope);
        Held { label: at.label(), layer: first.layer, role, scope, held_as }
    }

    /// The matrices, if there are any.
    pub(crate) fn matrices(&self) -> &[Stacked] {
        match &self.held_as {
            HeldAs::Stack(stack) => &stack.matrices,
            HeldAs::Rows(_) | HeldAs::Number(_) | HeldAs::File(_) => &[],
        }
    }

    fn hosted(&self) -> &[Hosted] {
        match &self.held_as {
            HeldAs::Stack(stack) => &stack.hosted,
            HeldAs::Rows(_) | HeldAs::Number(_) | HeldAs::File(_) => &[],
        }
    }

    /// Bytes on the device that are its own: windows are not.
    fn size_bytes(&self) -> u64 {
        match &self.held_as {
            HeldAs::Stack(stack) if stack.hosted.is_empty() => {
                stack.matrices.iter().map(|stacked| stacked.weights.size_bytes()).sum()
            }
            HeldAs::Rows(tensor) => tensor.bytes(tensor.rows),
            HeldAs::Stack(_) | HeldAs::Number(_) | HeldAs::File(_) => 0,
        }
    }
}

/// All weights of a model, or a rank's part of each: everything that the table of tensors lists, and, under their names, those
/// that the forward pass reads.
#[derive(Debug)]
pub(crate) struct ModelWeights {
    /// Everything but norms, in the order of the table. What follows are handles to the same memory.
    pub all: Vec<Held>,
    pub embed_tokens: Weights,
    /// `None` where the head is the embedding.
    pub lm_head: Option<Weights>,
    /// `[layers * Norm::COUNT + 1, hidden]`; the last row is `norm.weight`.
    pub norms: Tensor,
    pub per_layer: Option<PerLayerWeights>,
    pub layers: Vec<LayerWeights>,
    /// What layers with experts in host memory share: each a stack of experts.
    pub windows: Vec<Weights>,
}

/// What the per-layer inputs are made with.
#[derive(Debug)]
pub(crate) struct PerLayerWeights {
    /// `embed_tokens_per_layer` stays in its file: a token needs one row of it.
    pub table: RowReader,
    pub per_layer_model_projection: Weights,
    /// `[1, n]` without padding.
    pub per_layer_projection_norm: Tensor,
}

/// What takes a layer's share of the per-layer inputs.
#[derive(Debug)]
pub(crate) struct PerLayerGate {
    pub per_layer_input_gate: Named,
    pub per_layer_projection: Named,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    /// `q_proj`; `k_proj` where the layer has keys and values of its own; `v_proj`, unless K = V.
    pub qkv: Joined,
    pub o_proj: Named,
    /// `q_norm` and `k_norm`, `[2, head_dim]` without padding.
    pub qk_norm: Tensor,
    pub mlp: GatedWeights,
    pub moe: Option<MoeWeights>,
    pub per_layer: Option<PerLayerGate>,
    pub layer_scalar: f32,
}

/// Gate, up and down projections of an MLP, or of all experts.
#[derive(Debug)]
pub(crate) struct GatedWeights {
    pub gate_up: Joined,
    pub down_proj: Named,
}

/// Router and experts of one layer.
#[derive(Debug)]
pub(crate) struct MoeWeights {
    pub router_proj: Named,
    /// `[1, num_experts]`.
    pub per_expert_scale: Tensor,
    /// On the device; of experts in host memory, windows.
    pub experts: GatedWeights,
    /// The stacks of `experts` that are in host memory: all or none.
    pub hosted: Vec<Hosted>,
}

/// A stack of a layer's experts in host memory.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub stack: Arc<HostStack>,
    /// The number of its window in [`ModelWeights::windows`].
    pub window: usize,
}

impl ModelWeights {
    /// The model of what a rank holds of `layers` layers, of its table of norms and of the windows of experts in host memory.
    ///
    /// # Panics
    /// If something is missing that the forward pass reads.
    pub(crate) fn new(all: Vec<Held>, layers: usize, norms: Tensor, windows: Vec<Weights>) -> Self {
        let find = Find { all: &all, layer: None };
        let per_layer = find.file("embed_tokens_per_layer").map(|table| PerLayerWeights {
            table,
            per_layer_model_projection: find.one("per_layer_model_projection").weights,
            per_layer_projection_norm: find.rows("per_layer_projection_norm.weight"),
        });
        let has_head = find.find("lm_head").is_some();
        ModelWeights {
            embed_tokens: find.one("embed_tokens").weights,
            lm_head: has_head.then(|| find.one("lm_head").weights),
            norms,
            per_layer,
            layers: (0..layers).map(|l| Find { all: &all, layer: Some(l) }.layer()).collect(),
            windows,
            all,
        }
    }

    fn sum_bytes(&self, of: impl Fn(Role) -> bool) -> u64 {
        self.all.iter().filter(|held| of(held.role)).map(Held::size_bytes).sum()
    }

    /// Bytes of the embedding, of a head of its own, and of all experts.
    pub(crate) fn parts(&self) -> WeightBytes {
        let of = |role| self.sum_bytes(|other| other == role);
        let experts = of(Role::Experts) + self.windows_bytes();
        WeightBytes { embedding: of(Role::Embedding), head: of(Role::Head), experts }
    }

    /// Bytes on the device.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.sum_bytes(|_| true) + self.norms.bytes(self.norms.rows) + self.windows_bytes()
    }

    fn windows_bytes(&self) -> u64 {
        self.windows.iter().map(Weights::size_bytes).sum()
    }

    /// The experts that are in host memory.
    pub(crate) fn hosted(&self) -> HostExperts {
        let layers = self.layers.iter().filter_map(|layer| layer.moe.as_ref()).filter(|moe| !moe.hosted.is_empty());
        let stacks = self.all.iter().flat_map(Held::hosted);
        HostExperts { layers: layers.count(), bytes: stacks.map(|hosted| hosted.stack.size_bytes()).sum() }
    }
}

/// Experts that stay in host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostExperts {
    /// Layers whose experts they are: the first ones.
    pub layers: usize,
    /// Bytes that they take there.
    pub bytes: u64,
}

/// Bytes of weights on the device, by what they are for; the rest is attention, dense MLPs, routers and norms.
pub(crate) struct WeightBytes {
    pub embedding: u64,
    /// Of a head of its own.
    pub head: u64,
    pub experts: u64,
}

/// A search by name in what a rank holds of a layer, or of the model.
struct Find<'h> {
    all: &'h [Held],
    layer: Option<usize>,
}

impl Find<'_> {
    fn find(&self, label: &str) -> Option<&HeldAs> {
        self.held().find(|held| held.label == label).map(|held| &held.held_as)
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        // Those of a layer are neighbours, but there are few: some dozens a layer.
        self.all.iter().filter(|held| held.layer == self.layer)
    }

    fn joined(&self, label: &str) -> Joined {
        let held = self.held().find(|held| held.label == label);
        let matrices = held.map_or(&[][..], Held::matrices);
        assert!(!matrices.is_empty(), "no matrix {label:?} in the table of tensors");
        let named = |stacked: &Stacked| Named { label: stacked.dispatch(), weights: stacked.weights.clone() };
        Joined(matrices.iter().map(named).collect())
    }

    /// A matrix that is alone.
    fn one(&self, label: &str) -> Named {
        self.joined(label).0.swap_remove(0)
    }

    fn rows(&self, label: &str) -> Tensor {
        match self.find(label) {
            Some(HeldAs::Rows(tensor)) => tensor.clone(),
            _ => panic!("no rows {label:?} in the table of tensors"),
        }
    }

    fn file(&self, label: &str) -> Option<RowReader> {
        match self.find(label) {
            Some(HeldAs::File(reader)) => Some(reader.clone()),
            _ => None,
        }
    }

    fn layer(&self) -> LayerWeights {
        let gated = |at: &str| GatedWeights {
            gate_up: self.joined(&format!("{at}.gate_up_proj")),
            down_proj: self.one(&format!("{at}.down_proj")),
        };
        let moe = || MoeWeights {
            router_proj: self.one("router.proj"),
            per_expert_scale: self.rows("router.per_expert_scale"),
            experts: gated("experts"),
            hosted: self.held().flat_map(Held::hosted).cloned().collect(),
        };
        let has_gate = self.find("per_layer_input_gate").is_some();
        let Some(HeldAs::Number(layer_scalar)) = self.find("layer_scalar") else {
            panic!("no layer_scalar in the table of tensors");
        };
        LayerWeights {
            qkv: self.joined("self_attn.qkv_proj"),
            o_proj: self.one("self_attn.o_proj"),
            qk_norm: self.rows("self_attn.qk_norm"),
            mlp: gated("mlp"),
            moe: self.find("router.proj").is_some().then(moe),
            per_layer: has_gate.then(|| PerLayerGate {
                per_layer_input_gate: self.one("per_layer_input_gate"),
                per_layer_projection: self.one("per_layer_projection"),
            }),
            layer_scalar: *layer_scalar,
        }
    }
}
