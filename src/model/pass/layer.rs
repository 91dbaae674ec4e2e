//! The dispatches of one layer, as the equations have them: numbers in comments are theirs, (5) input norm to (14) layer scalar.
//! Attention and what comes behind it are in files of their own.

use super::activations::Activations;
use super::op::{Body, Op};
use crate::Result;
use crate::gpu::Tensor;
use crate::kernels::norm::add_norm;
use crate::kernels::product::{Product, Rows};
use crate::kernels::rounding::int8_by_16::Input;
use crate::kernels::{Planned, Planner, product};
use crate::model::kv::cache::KvCache;
use crate::model::load::share::Share;
use crate::model::load::weights::{ModelWeights, Norm, norm_row};

/// What a pass is planned from, for one body of it.
#[derive(Clone, Copy)]
pub(crate) struct BodyPlan<'a> {
    pub planner: &'a Planner<'a>,
    pub share: &'a Share,
    pub weights: &'a ModelWeights,
    pub activations: &'a Activations,
    pub cache: &'a KvCache,
    pub body: Body,
}

impl<'a> BodyPlan<'a> {
    /// How products treat the step's rows.
    pub(crate) fn rows(&self) -> Rows<'a> {
        let count = &self.activations.row_count;
        let rows = match self.body {
            Body::One => Rows::Few,
            Body::Two => Rows::Two,
            Body::Few => Rows::Several(count),
            Body::Chunk => Rows::Many(count),
        };
        rows.on(self.planner)
    }

    /// Where kernels round for the products behind them.
    pub(super) fn rounded(&self, tensor: &'a Option<Tensor>) -> Option<&'a Tensor> {
        self.rows().rounded(tensor)
    }

    /// What the next block reads, normed.
    pub(super) fn x(&self) -> Input<'a> {
        Input { x: &self.activations.x, rounded: self.rounded(&self.activations.x_rounded) }
    }
}

/// The list of a layer, as far as it is planned.
pub(super) struct LayerPlan<'a> {
    pub(super) of: BodyPlan<'a>,
    /// The layer's number.
    pub(super) l: usize,
    ops: Vec<Op>,
}

/// All dispatches of layer `l`, from its normed input in `x` to the next layer's.
pub(crate) fn plan(of: BodyPlan, l: usize) -> Result<Vec<Op>> {
    let mut layer = LayerPlan { of, l, ops: Vec::new() };
    let (a, w) = (of.activations, &of.weights.layers[l]);
    layer.attention(w)?;
    layer.all_reduce(&a.attn);
    layer.capture("attn", &a.attn);
    layer.after_attention()?;
    layer.mlp(w)?;
    if let Some(moe) = &w.moe {
        layer.experts(moe)?;
    }
    layer.all_reduce(&a.mlp_out);
    layer.capture("mlp", &a.mlp_out);
    match (&w.moe, &w.per_layer) {
        (Some(_), None) => layer.combine(w.layer_scalar)?,
        (None, None) => layer.join("after_mlp", Norm::PostFeedforward, &a.mlp_out, w.layer_scalar)?,
        (None, Some(per_layer)) => {
            layer.join("after_mlp", Norm::PostFeedforward, &a.mlp_out, 1.0)?;
            layer.per_layer(per_layer, w.layer_scalar)?;
        }
        (Some(_), Some(_)) => unreachable!("the model's configuration was checked"),
    }
    layer.capture("out", &a.h);
    Ok(layer.ops)
}

/// What must wait until all layers have run: a ring that later layers read still holds, until then, what the chunk's
/// first rows see.
pub(crate) fn plan_after_layers(of: BodyPlan) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    for l in 0..of.share.config.num_hidden_layers {
        let mut layer = LayerPlan { of, l, ops };
        layer.store_late()?;
        ops = layer.ops;
    }
    Ok(ops)
}

impl<'a> LayerPlan<'a> {
    pub(super) fn push(&mut self, mut planned: Planned) {
        planned.label.layer = Some(self.l);
        self.ops.push(Op::Dispatch(planned));
    }

    /// A product; returns what it leaves for the next one to read.
    pub(super) fn product(&mut self, label: &str, product: Product<'a>) -> Result<Input<'a>> {
        product::plan(self.of.planner, label, &product)?.into_iter().for_each(|planned| self.push(planned));
        Ok(product.result(self.of.planner))
    }

    pub(super) fn capture(&mut self, name: &str, tensor: &Tensor) {
        self.ops.push(Op::capture(format!("layer.{}.{name}", self.l), tensor));
    }

    /// The experts that the layer chose come to the device.
    pub(super) fn bring_experts(&mut self) {
        self.ops.push(Op::BringExperts(self.l));
    }

    /// What ranks add up where there are several.
    pub(super) fn all_reduce(&mut self, tensor: &Tensor) {
        if self.of.share.is_partial() {
            self.ops.push(Op::AllReduce(tensor.clone()));
        }
    }

    /// (9), and the norms of the blocks that read the residual stream next.
    fn after_attention(&mut self) -> Result<()> {
        let (of, a) = (self.of, self.of.activations);
        let (y, n_outputs) = match &a.moe {
            Some(moe) => ([&a.x, &moe.x, &moe.router_x], 3),
            None => ([&a.x, &a.unused[0], &a.unused[1]], 1),
        };
        let p = add_norm::AddNorm {
            norms: &of.weights.norms,
            post: norm_row(self.l, Norm::PostAttention),
            pre: norm_row(self.l, Norm::PreFeedforward),
            scalar: 1.0,
            eps: of.share.config.rms_norm_eps,
            h: &a.h,
            y,
            n_outputs,
            rounded: [of.x().rounded, a.moe.as_ref().and_then(|moe| of.rounded(&moe.x_rounded))],
        };
        self.push(add_norm::plan(of.planner, "after_attention", &a.attn, &p)?);
        Ok(())
    }

    /// (12) to (14): a block's result joins the residual stream; the norm behind is the next layer's first.
    pub(super) fn join(&mut self, label: &str, post: Norm, x: &Tensor, scalar: f32) -> Result<()> {
        let (of, a) = (self.of, self.of.activations);
        let p = add_norm::AddNorm {
            norms: &of.weights.norms,
            post: norm_row(self.l, post),
            pre: norm_row(self.l + 1, Norm::Input),
            scalar,
            eps: of.share.config.rms_norm_eps,
            h: &a.h,
            y: [&a.x, &a.unused[0], &a.unused[1]],
            n_outputs: 1,
            rounded: [of.x().rounded, None],
        };
        self.push(add_norm::plan(of.planner, label, x, &p)?);
        Ok(())
    }
}
