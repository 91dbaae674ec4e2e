//! The dispatches of one layer: attention, dense MLP, mixture of experts, and the norms between them. Numbers in
//! comments are those of the equations: (5) input norm to (14) layer scalar.

use super::activations::{Activations, head_shapes, mlp_widths, rotations};
use super::kv_cache::KvCache;
use super::pass::{Body, Op};
use super::weights::{GatedWeights, LayerWeights, ModelWeights, MoeWeights, Norm, norm_row};
use crate::Result;
use crate::checkpoint::{Config, LayerKind};
use crate::gpu::Tensor;
use crate::kernels::head_norm_rope::{Heads, Inputs, KvTarget};
use crate::kernels::product::Rows;
use crate::kernels::{Planner, add_norm, attention, gelu_mul, head_norm_rope, kv_store, moe_combine, product, router};

/// What the plan of a layer reads.
pub(super) struct LayerPlan<'a> {
    pub planner: &'a Planner<'a>,
    pub config: &'a Config,
    pub weights: &'a ModelWeights,
    pub activations: &'a Activations,
    pub cache: &'a KvCache,
    pub body: Body,
}

impl LayerPlan<'_> {
    /// All dispatches of layer `l`, from its normed input in `x` to the next layer's.
    pub(super) fn layer(&self, l: usize) -> Result<Vec<Op>> {
        let (a, w) = (self.activations, &self.weights.layers[l]);
        let mut ops = self.attention(l, w)?;
        ops.push(Op::capture(format!("layer.{l}.attn"), &a.attn));
        ops.push(self.after_attention(l)?);
        let width = self.config.layers[l].intermediate_size;
        let gated = &a.mlp[mlp_widths(self.config).iter().position(|&w| w == width).expect("every width has buffers")];
        ops.extend(self.gated(
            &format!("layer.{l:02}/mlp"),
            &w.mlp,
            self.rows(),
            self.rows(),
            1,
            &a.x,
            gated,
            &a.mlp_out,
        )?);
        ops.push(Op::capture(format!("layer.{l}.mlp"), &a.mlp_out));
        match &w.moe {
            Some(moe) => ops.extend(self.experts(l, moe, w.layer_scalar)?),
            None => ops.push(self.after_mlp(l, w.layer_scalar)?),
        }
        ops.push(Op::capture(format!("layer.{l}.out"), &a.h));
        Ok(ops)
    }

    /// How products treat the step's rows.
    fn rows(&self) -> Rows<'_> {
        match self.body {
            Body::Few => Rows::Few,
            Body::Chunk => Rows::Many(&self.activations.row_count),
        }
    }

    fn product(&self, label: &str, w: &crate::kernels::Weights, rows: Rows, x: &Tensor, y: &Tensor) -> Result<Vec<Op>> {
        Ok(product::plan(self.planner, label, w, rows, x, y, 0.0)?.into_iter().map(Op::Dispatch).collect())
    }

    /// (6) to (8) and `o_proj`.
    fn attention(&self, l: usize, w: &LayerWeights) -> Result<Vec<Op>> {
        let (c, layer, a) = (self.config, &self.config.layers[l], self.activations);
        let shape = (layer.head_dim, layer.num_key_value_heads);
        let b = &a.attention[head_shapes(c).iter().position(|&s| s == shape).expect("every shape has buffers")];
        let label = |what: &str| format!("layer.{l:02}/{what}");
        let mut ops = self.product(&label("q_proj"), &w.q_proj, self.rows(), &a.x, &b.q)?;
        ops.extend(self.product(&label("k_proj"), &w.k_proj, self.rows(), &a.x, &b.k)?);
        let mut v = &b.k;
        if let Some(v_proj) = &w.v_proj {
            ops.extend(self.product(&label("v_proj"), v_proj, self.rows(), &a.x, &b.v)?);
            v = &b.v;
        }
        let before = |r: &(usize, crate::checkpoint::Rope)| *r != (layer.head_dim, layer.rope);
        let heads = Heads {
            n_heads: c.num_attention_heads,
            n_kv_heads: layer.num_key_value_heads,
            head_dim: layer.head_dim,
            rotated_pairs: layer.rope.rotated_pairs,
            rotary_offset: rotations(c).iter().take_while(|r| before(r)).map(|(_, rope)| rope.rotated_pairs).sum(),
            eps: c.rms_norm_eps,
        };
        let cache = self.cache.layer(l).expect("layers with keys of their own have a cache");
        // A chunk may be longer than the ring's spare room: its keys stay apart until attention has read the ring.
        let apart = layer.kind == LayerKind::Sliding && self.body == Body::Chunk;
        let target = match apart {
            true => KvTarget::Rows(&b.k_new, &b.v_new),
            false => KvTarget::Cache(&cache.k, &cache.v, cache.capacity),
        };
        let inputs = Inputs { q: &b.q, kv: Some((&b.k, v)), norms: &w.qk_norm, rotary: &a.rotary, rows: &a.rows };
        let planned = head_norm_rope::plan(self.planner, &label("head_norm_rope"), heads, &inputs, target)?;
        ops.push(Op::Dispatch(planned));
        let source = attention::KvSource {
            cache: (&cache.k, &cache.v),
            capacity: cache.capacity,
            new: apart.then_some((&b.k_new, &b.v_new)),
            window: (layer.kind == LayerKind::Sliding).then_some(c.sliding_window),
        };
        let planned = attention::plan(self.planner, &label("attention"), heads, (&b.q, &b.out), source, &a.rows)?;
        ops.push(Op::Dispatch(planned));
        if apart {
            let (new, old) = ((&b.k_new, &b.v_new), (&cache.k, &cache.v));
            let planned = kv_store::plan(self.planner, &label("kv_store"), new, old, cache.capacity, &a.rows)?;
            ops.push(Op::Dispatch(planned));
        }
        ops.extend(self.product(&label("o_proj"), &w.o_proj, self.rows(), &b.out, &a.attn)?);
        Ok(ops)
    }

    /// (9), and the norms of the blocks that read the residual stream next.
    fn after_attention(&self, l: usize) -> Result<Op> {
        let a = self.activations;
        let (y, n_outputs) = match &a.moe {
            Some(moe) => ([&a.x, &moe.x, &moe.router_x], 3),
            None => ([&a.x, &a.unused[0], &a.unused[1]], 1),
        };
        let p = add_norm::AddNorm {
            norms: &self.weights.norms,
            post: norm_row(l, Norm::PostAttention),
            pre: norm_row(l, Norm::PreFeedforward),
            scalar: 1.0,
            eps: self.config.rms_norm_eps,
            h: &a.h,
            y,
            n_outputs,
        };
        Ok(Op::Dispatch(add_norm::plan(self.planner, &format!("layer.{l:02}/after_attention"), &a.attn, &p)?))
    }

    /// (10): `down(gelu(gate x) * up x)`; the products before the gate and behind it may treat rows differently.
    #[expect(clippy::too_many_arguments, reason = "two products, a gate and their three places")]
    fn gated(
        &self,
        label: &str,
        w: &GatedWeights,
        rows_in: Rows,
        rows_out: Rows,
        rows_per_row: usize,
        x: &Tensor,
        gated: &super::activations::GatedActivations,
        y: &Tensor,
    ) -> Result<Vec<Op>> {
        let mut ops = self.product(&format!("{label}.gate_proj"), &w.gate_proj, rows_in, x, &gated.gate)?;
        ops.extend(self.product(&format!("{label}.up_proj"), &w.up_proj, rows_in, x, &gated.up)?);
        let gate = format!("{label}.gelu_mul");
        let planned = gelu_mul::plan(self.planner, &gate, &gated.gate, &gated.up, &gated.act, rows_per_row)?;
        ops.push(Op::Dispatch(planned));
        ops.extend(self.product(&format!("{label}.down_proj"), &w.down_proj, rows_out, &gated.act, y)?);
        Ok(ops)
    }

    /// (11), (12) and (14) of a mixture of experts.
    fn experts(&self, l: usize, w: &MoeWeights, scalar: f32) -> Result<Vec<Op>> {
        let a = self.activations;
        let moe = a.moe.as_ref().expect("the configuration has experts");
        let label = |what: &str| format!("layer.{l:02}/{what}");
        let mut ops =
            self.product(&label("router.proj"), &w.router_proj, self.rows(), &moe.router_x, &moe.router_logits)?;
        let (ids, weights) = (&moe.ids, &moe.weights);
        let planned =
            router::plan(self.planner, &label("router"), &moe.router_logits, &w.per_expert_scale, ids, weights)?;
        ops.push(Op::Dispatch(planned));
        ops.push(Op::capture(format!("layer.{l}.router.weights"), weights));
        let top_k = ids.width;
        let (rows_in, rows_out) = (Rows::Experts { ids, repeat: top_k }, Rows::Experts { ids, repeat: 1 });
        let (x, y) = (&moe.x, &moe.products);
        ops.extend(self.gated(&label("experts"), &w.experts, rows_in, rows_out, top_k, x, &moe.gated, y)?);
        let norms =
            [Norm::PostFeedforward1, Norm::PostFeedforward2, Norm::PostFeedforward].map(|norm| norm_row(l, norm));
        let p = moe_combine::MoeCombine {
            mlp: &a.mlp_out,
            products: &moe.products,
            weights,
            norms: &self.weights.norms,
            norm_rows: [norms[0], norms[1], norms[2], norm_row(l + 1, Norm::Input)],
            scalar,
            eps: self.config.rms_norm_eps,
            experts: &moe.sum,
            h: &a.h,
            y: &a.x,
        };
        ops.push(Op::Dispatch(moe_combine::plan(self.planner, &label("moe_combine"), &p)?));
        ops.push(Op::capture(format!("layer.{l}.experts"), &moe.sum));
        Ok(ops)
    }

    /// (12) and (14) of a dense layer.
    fn after_mlp(&self, l: usize, scalar: f32) -> Result<Op> {
        let a = self.activations;
        let p = add_norm::AddNorm {
            norms: &self.weights.norms,
            post: norm_row(l, Norm::PostFeedforward),
            pre: norm_row(l + 1, Norm::Input),
            scalar,
            eps: self.config.rms_norm_eps,
            h: &a.h,
            y: [&a.x, &a.unused[0], &a.unused[1]],
            n_outputs: 1,
        };
        Ok(Op::Dispatch(add_norm::plan(self.planner, &format!("layer.{l:02}/after_mlp"), &a.mlp_out, &p)?))
    }
}
