//! The dispatches of one layer: attention, dense MLP, mixture of experts, and the norms between them. Numbers in
//! comments are those of the equations: (5) input norm to (14) layer scalar.

use super::activations::{Activations, AttentionActivations, GatedActivations, head_shapes, mlp_widths, rotations};
use super::op::{Body, Op};
use crate::Result;
use crate::gemma4::LayerKind;
use crate::gpu::{Tensor, Tier};
use crate::kernels::attention::head_norm_rope::{Heads, Inputs, Kv, KvTarget};
use crate::kernels::attention::{attention, attention_tile, head_norm_rope, kv_store};
use crate::kernels::experts::router::Choice;
use crate::kernels::experts::{moe_combine, moe_group, moe_sum, router};
use crate::kernels::norm::add_norm;
use crate::kernels::product::Rows;
use crate::kernels::product::matvec::Beside;
use crate::kernels::product::{gelu_mul, matvec};
use crate::kernels::rounding::rounded::Input;
use crate::kernels::{Planner, Weights, product};
use crate::model::kv::cache::KvCache;
use crate::model::load::share::Share;
use crate::model::load::weights::{GatedWeights, Joined, LayerWeights, ModelWeights, MoeWeights, Norm, norm_row};

/// How products treat the rows of a body's steps: kernels that round share what they read among several rows.
pub(crate) fn rows(body: Body, activations: &Activations, tier: Tier) -> Rows<'_> {
    match body {
        Body::One => Rows::Few,
        Body::Two if tier >= Tier::Dot => Rows::Two,
        Body::Few if tier >= Tier::Dot => Rows::Several(&activations.row_count),
        Body::Two | Body::Few => Rows::Few,
        Body::Chunk => Rows::Many(&activations.row_count),
    }
}

/// What the plan of a layer reads.
pub(crate) struct LayerPlan<'a> {
    pub planner: &'a Planner<'a>,
    pub share: &'a Share,
    pub weights: &'a ModelWeights,
    pub activations: &'a Activations,
    pub cache: &'a KvCache,
    pub body: Body,
}

impl LayerPlan<'_> {
    /// All dispatches of layer `l`, from its normed input in `x` to the next layer's.
    pub(crate) fn layer(&self, l: usize) -> Result<Vec<Op>> {
        let (a, w) = (self.activations, &self.weights.layers[l]);
        let config = &self.share.config;
        let mut ops = self.attention(l, w)?;
        ops.extend(self.all_reduce(&a.attn));
        ops.push(Op::capture(format!("layer.{l}.attn"), &a.attn));
        ops.push(self.after_attention(l)?);
        let width = config.layers[l].intermediate_size;
        let gated = &a.mlp[mlp_widths(config).iter().position(|&w| w == width).expect("every width has buffers")];
        let at = format!("layer.{l:02}/mlp");
        let down = (format!("{at}.down_proj"), &w.mlp.down_proj);
        match &w.moe {
            Some(moe) if self.routes_beside(&w.mlp, moe) => {
                let (logits, choice) = self.routing(moe);
                let (more, act) = self.gated(&at, &w.mlp, (self.rows(), 1), self.x(), gated, Some(logits))?;
                ops.extend(more);
                let (choice, y) = (Beside::Choice(choice), &a.mlp_out);
                let planned = matvec::plan_beside(self.planner, &down.0, down.1, self.rows(), act, y, choice)?;
                ops.extend(planned.into_iter().map(Op::Dispatch));
                ops.extend(self.experts(l, moe, true)?);
            }
            moe => {
                let (more, act) = self.gated(&at, &w.mlp, (self.rows(), 1), self.x(), gated, None)?;
                ops.extend(more);
                ops.extend(self.product(&down.0, down.1, self.rows(), act, &a.mlp_out)?);
                if let Some(moe) = moe {
                    ops.extend(self.experts(l, moe, false)?);
                }
            }
        }
        ops.extend(self.all_reduce(&a.mlp_out));
        ops.push(Op::capture(format!("layer.{l}.mlp"), &a.mlp_out));
        match (&w.moe, &w.per_layer) {
            (Some(_), None) => ops.extend(self.combine(l, w.layer_scalar)?),
            (None, None) => ops.push(self.join(l, "after_mlp", Norm::PostFeedforward, &a.mlp_out, w.layer_scalar)?),
            (None, Some(per_layer)) => {
                ops.push(self.join(l, "after_mlp", Norm::PostFeedforward, &a.mlp_out, 1.0)?);
                ops.extend(self.per_layer(l, per_layer, w.layer_scalar)?);
            }
            (Some(_), Some(_)) => unreachable!("the model's configuration was checked"),
        }
        ops.push(Op::capture(format!("layer.{l}.out"), &a.h));
        Ok(ops)
    }

    /// What ranks add up where there are several.
    fn all_reduce(&self, tensor: &Tensor) -> Option<Op> {
        self.share.is_partial().then(|| Op::AllReduce(tensor.clone()))
    }

    /// How products treat the step's rows.
    fn rows(&self) -> Rows<'_> {
        rows(self.body, self.activations, self.planner.few_tier)
    }

    /// What kernels round for the products behind them: chunks do that by themselves.
    fn rounded<'a>(&self, tensor: &'a Option<Tensor>) -> Option<&'a Tensor> {
        tensor.as_ref().filter(|_| self.body != Body::Chunk)
    }

    /// What the next block reads, normed.
    fn x(&self) -> Input<'_> {
        Input { x: &self.activations.x, rounded: self.rounded(&self.activations.x_rounded) }
    }

    fn product<'a>(
        &self,
        label: &str,
        w: &Weights,
        rows: Rows,
        x: impl Into<Input<'a>>,
        y: &Tensor,
    ) -> Result<Vec<Op>> {
        Ok(product::plan(self.planner, label, w, rows, x, y, 0.0)?.into_iter().map(Op::Dispatch).collect())
    }

    /// Products whose results stand side by side in `y`.
    fn joined(&self, at: &str, w: &Joined, rows: Rows, x: Input, y: &Tensor) -> Result<Vec<Op>> {
        let (mut ops, mut column) = (Vec::new(), 0);
        for (name, weights) in &w.0 {
            let planned = product::plan_columns(self.planner, &format!("{at}{name}"), weights, rows, x, (y, column))?;
            ops.extend(planned.into_iter().map(Op::Dispatch));
            column += weights.out_features;
        }
        Ok(ops)
    }

    /// (6) to (8) and `o_proj`.
    fn attention(&self, l: usize, w: &LayerWeights) -> Result<Vec<Op>> {
        let (c, a) = (&self.share.config, self.activations);
        let layer = &c.layers[l];
        let b = self.buffers(l);
        let label = |what: &str| format!("layer.{l:02}/{what}");
        let mut ops = self.joined(&label(""), &w.qkv, self.rows(), self.x(), &b.qkv)?;
        let kv = match (layer.kv_source, layer.k_eq_v) {
            (Some(_), _) => Kv::Shared,
            (None, true) => Kv::KeysOnly,
            (None, false) => Kv::Both,
        };
        let before = |r: &(usize, crate::gemma4::Rope)| *r != (layer.head_dim, layer.rope);
        let (heads_per_kv, first_head) = self.share.head_group(l);
        let heads = Heads {
            n_heads: c.num_attention_heads,
            n_kv_heads: layer.num_key_value_heads,
            heads_per_kv,
            first_head,
            head_dim: layer.head_dim,
            rotated_pairs: layer.rope.rotated_pairs,
            rotary_offset: rotations(c).iter().take_while(|r| before(r)).map(|(_, rope)| rope.rotated_pairs).sum(),
            eps: c.rms_norm_eps,
        };
        let cache = self.cache.layer(layer.kv_source.unwrap_or(l)).expect("a source of keys has a cache");
        let inputs = Inputs { qkv: &b.qkv, kv, norms: &w.qk_norm, rotary: &a.rotary, rows: &a.rows };
        let source = attention::KvSource {
            cache: (&cache.k, &cache.v),
            dtype: self.cache.dtype(),
            capacity: cache.capacity,
            window: (layer.kind == LayerKind::Sliding).then_some(c.sliding_window),
        };
        let rounded = self.rounded(&b.out_rounded).filter(|_| w.o_proj.has_whole_chunks());
        if self.body != Body::Chunk {
            let buffers = attention::Buffers { out: &b.out, rounded, shares: Some(&b.shares) };
            let planned = attention::plan(self.planner, &label("attention"), heads, &inputs, buffers, source)?;
            ops.extend(planned.into_iter().map(Op::Dispatch));
        } else {
            // A chunk may be longer than the ring's spare room: its keys stay apart until attention has read the ring.
            let apart = layer.kind == LayerKind::Sliding;
            let target = match apart {
                true => KvTarget::Rows(&b.k_new, &b.v_new),
                false => KvTarget::Cache(&cache.k, &cache.v, cache.capacity),
            };
            let to = (target, source.dtype);
            let q = (&b.q, attention_tile::queries(self.planner, heads, &b.q, source.dtype));
            let planned = head_norm_rope::plan(self.planner, &label("head_norm_rope"), heads, &inputs, q, to)?;
            ops.push(Op::Dispatch(planned));
            let new = apart.then_some((&b.k_new, &b.v_new));
            let buffers = attention_tile::Buffers { q: &b.q, out: &b.out, rows: &a.rows, row_count: &a.row_count, new };
            let planned = attention_tile::plan(self.planner, &label("attention"), heads, buffers, source)?;
            ops.push(Op::Dispatch(planned));
            if apart && !self.feeds_others(l) && kv != Kv::Shared {
                ops.push(self.kv_store(l)?);
            }
        }
        let out = Input { x: &b.out, rounded };
        ops.extend(self.product(&label("o_proj"), &w.o_proj, self.rows(), out, &a.attn)?);
        Ok(ops)
    }

    /// True where later layers read the keys and values of layer `l`.
    fn feeds_others(&self, l: usize) -> bool {
        self.share.config.layers.iter().any(|layer| layer.kv_source == Some(l))
    }

    /// What must wait until all layers have run: a ring that later layers read still holds, until then, what the chunk's
    /// first rows see.
    pub(crate) fn after_layers(&self) -> Result<Vec<Op>> {
        let waits = |l: &usize| {
            let sliding = self.share.config.layers[*l].kind == LayerKind::Sliding;
            self.body == Body::Chunk && sliding && self.feeds_others(*l)
        };
        (0..self.share.config.num_hidden_layers).filter(waits).map(|l| self.kv_store(l)).collect()
    }

    fn buffers(&self, l: usize) -> &AttentionActivations {
        let layer = &self.share.config.layers[l];
        let shape = (layer.head_dim, layer.num_key_value_heads);
        let number = head_shapes(&self.share.config).iter().position(|&s| s == shape).expect("every shape has buffers");
        &self.activations.attention[number]
    }

    /// A chunk's keys and values enter the ring of layer `l`.
    fn kv_store(&self, l: usize) -> Result<Op> {
        let (b, cache) = (self.buffers(l), self.cache.layer(l).expect("it has keys of its own"));
        let (new, old) = ((&b.k_new, &b.v_new), (&cache.k, &cache.v));
        let label = format!("layer.{l:02}/kv_store");
        let planned = kv_store::plan(self.planner, &label, new, old, cache.capacity, &self.activations.rows)?;
        Ok(Op::Dispatch(planned))
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
            eps: self.share.config.rms_norm_eps,
            h: &a.h,
            y,
            n_outputs,
            rounded: [self.x().rounded, a.moe.as_ref().and_then(|moe| self.rounded(&moe.x_rounded))],
        };
        Ok(Op::Dispatch(add_norm::plan(self.planner, &format!("layer.{l:02}/after_attention"), &a.attn, &p)?))
    }

    /// Whether the router's two kernels can stand beside the dense MLP's: they read nothing of each other.
    fn routes_beside(&self, mlp: &GatedWeights, moe: &MoeWeights) -> bool {
        let [(_, gate_up)] = mlp.gate_up.0.as_slice() else { return false };
        let whole = |w: &Weights| w.has_whole_chunks() && w.is_one_part();
        let rounds = self.x().rounded.is_some() && whole(gate_up) && whole(&mlp.down_proj);
        rounds && matvec::can_stand_beside(self.planner, &moe.router_proj)
    }

    /// The router's product, and the choice that it leads to.
    fn routing<'a>(&'a self, w: &'a MoeWeights) -> (Beside<'a>, Choice<'a>) {
        let moe = self.activations.moe.as_ref().expect("the configuration has experts");
        let (logits, per_expert_scale) = (&moe.router_logits, &w.per_expert_scale);
        let product = Beside::Product { weights: &w.router_proj, x: &moe.router_x, y: logits };
        (product, Choice { logits, per_expert_scale, ids: &moe.ids, weights: &moe.weights })
    }

    /// (10): `gelu(gate x) * up x`, at once where few rows and the weights' layout allow it.
    fn gated<'a>(
        &self,
        at: &str,
        w: &GatedWeights,
        (rows, rows_per_row): (Rows, usize),
        x: Input,
        gated: &'a GatedActivations,
        beside: Option<Beside>,
    ) -> Result<(Vec<Op>, Input<'a>)> {
        if let ([(name, weights)], true) = (w.gate_up.0.as_slice(), self.body != Body::Chunk)
            && matvec::can_gate(weights)
        {
            let both = weights.has_whole_chunks() && w.down_proj.has_whole_chunks();
            let rounded = self.rounded(&gated.act_rounded).filter(|_| both);
            let y = (&gated.act, rounded);
            let planned = matvec::plan_gated(self.planner, &format!("{at}.{name}"), weights, rows, x, y, beside)?;
            return Ok((planned.into_iter().map(Op::Dispatch).collect(), Input { x: &gated.act, rounded }));
        }
        let mut ops = self.joined(&format!("{at}."), &w.gate_up, rows, x, &gated.gate_up)?;
        let (label, up) = (format!("{at}.gelu_mul"), (&gated.gate_up, gated.act.width));
        let planned = gelu_mul::plan(self.planner, &label, &gated.gate_up, up, &gated.act, rows_per_row)?;
        ops.push(Op::Dispatch(planned));
        Ok((ops, Input::from(&gated.act)))
    }

    /// (11): the router, unless it is `routed` already, and the products of the experts that it chose.
    fn experts(&self, l: usize, w: &MoeWeights, routed: bool) -> Result<Vec<Op>> {
        let a = self.activations;
        let moe = a.moe.as_ref().expect("the configuration has experts");
        let label = |what: &str| format!("layer.{l:02}/{what}");
        let mut ops = Vec::new();
        let (ids, weights) = (&moe.ids, &moe.weights);
        if !routed {
            let (x, logits) = (&moe.router_x, &moe.router_logits);
            ops.extend(self.product(&label("router.proj"), &w.router_proj, self.rows(), x, logits)?);
            let (_, choice) = self.routing(w);
            ops.push(Op::Dispatch(router::plan(self.planner, &label("router"), choice)?));
        }
        ops.push(Op::capture(format!("layer.{l}.router.weights"), weights));
        if !w.hosted.is_empty() {
            ops.push(Op::BringExperts(l));
        }
        let top_k = ids.width;
        let rows = |repeat| match self.body {
            Body::One | Body::Two | Body::Few => Rows::Experts { ids, repeat, several: self.body != Body::One },
            Body::Chunk => Rows::Grouped { groups: &moe.groups, repeat },
        };
        if self.body == Body::Chunk {
            let (held, from) = (self.share.experts.clone(), (ids, &a.row_count));
            let planned = moe_group::plan(self.planner, &label("moe_group"), from, held, &moe.groups)?;
            ops.extend(planned.into_iter().map(Op::Dispatch));
        }
        let x = Input { x: &moe.x, rounded: self.rounded(&moe.x_rounded) };
        let (more, act) = self.gated(&label("experts"), &w.experts, (rows(top_k), top_k), x, &moe.gated, None)?;
        ops.extend(more);
        let down = &w.experts.down_proj;
        match self.body {
            Body::One | Body::Two | Body::Few => {
                let planned = matvec::plan_sum(
                    self.planner,
                    &label("experts.down_proj"),
                    down,
                    (ids, weights),
                    act,
                    &moe.sum,
                    self.body != Body::One,
                )?;
                ops.extend(planned.into_iter().map(Op::Dispatch));
            }
            Body::Chunk => {
                ops.extend(self.product(&label("experts.down_proj"), down, rows(1), act, &moe.products)?);
                let (from, held) = ((ids, weights), self.share.experts.clone());
                let planned = moe_sum::plan(self.planner, &label("moe_sum"), &moe.products, from, held, &moe.sum)?;
                ops.push(Op::Dispatch(planned));
            }
        }
        ops.extend(self.all_reduce(&moe.sum));
        Ok(ops)
    }

    /// (12) and (14) of a mixture of experts.
    fn combine(&self, l: usize, scalar: f32) -> Result<Vec<Op>> {
        let a = self.activations;
        let moe = a.moe.as_ref().expect("the configuration has experts");
        let norms =
            [Norm::PostFeedforward1, Norm::PostFeedforward2, Norm::PostFeedforward].map(|norm| norm_row(l, norm));
        let p = moe_combine::MoeCombine {
            mlp: &a.mlp_out,
            norms: &self.weights.norms,
            norm_rows: [norms[0], norms[1], norms[2], norm_row(l + 1, Norm::Input)],
            scalar,
            eps: self.share.config.rms_norm_eps,
            experts: &moe.sum,
            h: &a.h,
            y: &a.x,
            rounded: self.x().rounded,
        };
        let planned = moe_combine::plan(self.planner, &format!("layer.{l:02}/moe_combine"), &p)?;
        Ok(vec![Op::Dispatch(planned), Op::capture(format!("layer.{l}.experts"), &moe.sum)])
    }

    /// (13) and (14): the layer's share of the per-layer inputs.
    fn per_layer(&self, l: usize, w: &(Weights, Weights), scalar: f32) -> Result<Vec<Op>> {
        let a = self.activations;
        let b = a.per_layer.as_ref().expect("the configuration has per-layer inputs");
        let label = |what: &str| format!("layer.{l:02}/{what}");
        let mut ops = self.product(&label("per_layer_input_gate"), &w.0, self.rows(), &a.h, &b.gate)?;
        let n = self.share.config.hidden_size_per_layer_input;
        let inputs = (&b.inputs, l * n + self.share.per_layer.start);
        let planned = gelu_mul::plan(self.planner, &label("per_layer.gelu_mul"), &b.gate, inputs, &b.act, 1)?;
        ops.push(Op::Dispatch(planned));
        ops.extend(self.product(&label("per_layer_projection"), &w.1, self.rows(), &b.act, &a.attn)?);
        ops.extend(self.all_reduce(&a.attn));
        ops.push(self.join(l, "after_per_layer", Norm::PostPerLayerInput, &a.attn, scalar)?);
        Ok(ops)
    }

    /// (12) to (14): a block's result joins the residual stream; the norm behind is the next layer's first.
    fn join(&self, l: usize, what: &str, post: Norm, x: &Tensor, scalar: f32) -> Result<Op> {
        let a = self.activations;
        let p = add_norm::AddNorm {
            norms: &self.weights.norms,
            post: norm_row(l, post),
            pre: norm_row(l + 1, Norm::Input),
            scalar,
            eps: self.share.config.rms_norm_eps,
            h: &a.h,
            y: [&a.x, &a.unused[0], &a.unused[1]],
            n_outputs: 1,
            rounded: [self.x().rounded, None],
        };
        Ok(Op::Dispatch(add_norm::plan(self.planner, &format!("layer.{l:02}/{what}"), x, &p)?))
    }
}
