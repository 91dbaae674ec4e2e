//! Behind attention: the dense MLP, the mixture of experts, and the per-layer inputs.

use super::activations::{GatedActivations, MoeActivations, mlp_widths};
use super::layer::LayerPlan;
use super::op::Body;
use crate::Result;
use crate::kernels::experts::router::Choice;
use crate::kernels::experts::{moe_combine, moe_group};
use crate::kernels::product::{Beside, Gated, Product, Rows, Summed, gelu_mul};
use crate::kernels::rounding::int8_by_16::Input;
use crate::model::load::weights::{GatedWeights, LayerWeights, MoeWeights, Norm, PerLayerGate, norm_row};

/// What the router runs beside the products of the dense MLP.
#[derive(Clone, Copy)]
struct Routing<'a> {
    logits: Beside<'a>,
    choice: Beside<'a>,
}

impl<'a> LayerPlan<'a> {
    /// (10): `down(gelu(gate x) * up x)`, with the router, which reads nothing of it, beside it.
    pub(super) fn mlp(&mut self, w: &'a LayerWeights) -> Result<()> {
        let (of, a) = (self.of, self.of.activations);
        let widths = mlp_widths(&of.share.config);
        let width = of.share.config.layers[self.l].intermediate_size;
        let buffers = &a.mlp[widths.iter().position(|&w| w == width).expect("every width has buffers")];
        let routing = w.moe.as_ref().map(|moe| self.routing(moe));
        let (logits, choice) = (routing.map(|routing| routing.logits), routing.map(|routing| routing.choice));
        let gated = self.gated(&w.mlp, buffers);
        let act =
            self.product("mlp", Product::joined_gated(&w.mlp.gate_up, of.rows(), of.x(), gated).beside(logits))?;
        let down = Product::new(&w.mlp.down_proj.weights, of.rows(), act, &a.mlp_out).beside(choice);
        self.product(w.mlp.down_proj.label, down)?;
        Ok(())
    }

    /// (11): the router's product, and the choice that it leads to.
    fn routing(&self, w: &'a MoeWeights) -> Routing<'a> {
        let moe = self.moe();
        let (logits, per_expert_scale) = (&moe.router_logits, &w.per_expert_scale);
        let choice = Choice { logits, per_expert_scale, ids: &moe.ids, weights: &moe.weights };
        let product = Beside::Product {
            label: w.router_proj.label,
            weights: &w.router_proj.weights,
            x: &moe.router_x,
            y: logits,
        };
        Routing { logits: product, choice: Beside::Choice { label: "router", choice } }
    }

    /// (11): the products of the experts that the router chose, and their sum.
    pub(super) fn experts(&mut self, w: &'a MoeWeights) -> Result<()> {
        let (of, a, moe) = (self.of, self.of.activations, self.moe());
        let (ids, factors, held) = (&moe.ids, &moe.weights, of.share.experts.clone());
        self.capture("router.weights", factors);
        if !w.hosted.is_empty() {
            self.bring_experts();
        }
        let rows = |repeat| match of.body {
            Body::One | Body::Two | Body::Few => Rows::Experts { ids, repeat, several: of.body != Body::One },
            Body::Chunk => Rows::Grouped { groups: &moe.groups, repeat },
        };
        if of.body == Body::Chunk {
            for planned in moe_group::plan(of.planner, "moe_group", ids, &a.row_count, held.clone(), &moe.groups)? {
                self.push(planned);
            }
        }
        let x = Input { x: &moe.x, rounded: of.rounded(&moe.x_rounded) };
        let gated = self.gated(&w.experts, &moe.gated);
        let act = self.product("experts", Product::joined_gated(&w.experts.gate_up, rows(ids.width), x, gated))?;
        let sum = Summed { ids, factors, held, products: Some(&moe.products), y: &moe.sum };
        self.product(w.experts.down_proj.label, Product::summed(&w.experts.down_proj.weights, rows(1), act, sum))?;
        self.all_reduce(&moe.sum);
        Ok(())
    }

    /// Where gate and up go, for `down_proj` to read.
    fn gated(&self, w: &GatedWeights, b: &'a GatedActivations) -> Gated<'a> {
        let rounded = self.of.rows().rounded_for(&b.act_rounded, &w.down_proj.weights);
        Gated { gate_up: Some(&b.gate_up), y: &b.act, rounded }
    }

    fn moe(&self) -> &'a MoeActivations {
        self.of.activations.moe.as_ref().expect("the configuration has experts")
    }

    /// (12) and (14) of a mixture of experts.
    pub(super) fn combine(&mut self, scalar: f32) -> Result<()> {
        let (of, l, a, moe) = (self.of, self.l, self.of.activations, self.moe());
        let norms =
            [Norm::PostFeedforward1, Norm::PostFeedforward2, Norm::PostFeedforward].map(|norm| norm_row(l, norm));
        let p = moe_combine::MoeCombine {
            mlp: &a.mlp_out,
            norms: &of.weights.norms,
            norm_rows: [norms[0], norms[1], norms[2], norm_row(l + 1, Norm::Input)],
            scalar,
            eps: of.share.config.rms_norm_eps,
            experts: &moe.sum,
            h: &a.h,
            y: &a.x,
            rounded: of.x().rounded,
        };
        self.push(moe_combine::plan(of.planner, "moe_combine", &p)?);
        self.capture("experts", &moe.sum);
        Ok(())
    }

    /// (13) and (14): the layer's share of the per-layer inputs.
    pub(super) fn per_layer(&mut self, w: &'a PerLayerGate, scalar: f32) -> Result<()> {
        let (of, a) = (self.of, self.of.activations);
        let b = a.per_layer.as_ref().expect("the configuration has per-layer inputs");
        self.product(
            w.per_layer_input_gate.label,
            Product::new(&w.per_layer_input_gate.weights, of.rows(), &a.h, &b.gate),
        )?;
        let n = of.share.config.hidden_size_per_layer_input;
        let first = self.l * n + of.share.per_layer.start;
        self.push(gelu_mul::plan(of.planner, "per_layer.gelu_mul", &b.gate, &b.inputs, first, &b.act, 1)?);
        self.product(
            w.per_layer_projection.label,
            Product::new(&w.per_layer_projection.weights, of.rows(), &b.act, &a.attn),
        )?;
        self.all_reduce(&a.attn);
        self.join("after_per_layer", Norm::PostPerLayerInput, &a.attn, scalar)
    }
}
