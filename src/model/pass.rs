//! The forward pass as a flat list of dispatches, planned for few rows and for chunks.

use super::activations::Activations;
use super::kv_cache::KvCache;
use super::layer::LayerPlan;
use super::op::{Body, Op};
use super::share::Share;
use super::weights::{ModelWeights, Norm, norm_row};
use crate::Result;
use crate::gpu::Dispatch;
use crate::kernels::product::Rows;
use crate::kernels::{Planner, argmax, embed, gather_rows, per_layer_inputs, product, rms_norm};

/// A planned forward pass, bound to its buffers.
#[derive(Debug)]
pub(super) struct Pass {
    pub few: Vec<Op<Dispatch>>,
    pub chunk: Vec<Op<Dispatch>>,
    /// From chosen rows of the final state to logits.
    pub head: Vec<Op<Dispatch>>,
    /// From logits to ids.
    pub argmax: Vec<Op<Dispatch>>,
}

/// What a pass is planned from.
pub(super) struct PassPlan<'a> {
    pub share: &'a Share,
    pub weights: &'a ModelWeights,
    pub activations: &'a Activations,
    pub cache: &'a KvCache,
}

impl PassPlan<'_> {
    /// Plans, compiles and binds everything.
    pub(super) fn bind(&self, planner: &Planner, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Pass> {
        let lists = [self.body(planner, Body::Few)?, self.body(planner, Body::Chunk)?, self.head(planner)?];
        let a = self.activations;
        let argmax = argmax::plan(planner, "argmax", &a.logits, &a.argmax_parts, &a.ids)?.map(Op::Dispatch).into();
        let (mut planned, mut shapes) = (Vec::new(), Vec::new());
        for list in lists.into_iter().chain([argmax]) {
            let shape: Vec<Option<Op>> = list
                .into_iter()
                .map(|op| match op {
                    Op::Dispatch(one) => {
                        planned.push(one);
                        None
                    }
                    other => Some(other),
                })
                .collect();
            shapes.push(shape);
        }
        let mut bound = planner.bind(&planned, progress)?.into_iter();
        let mut lists = shapes.into_iter().map(|shape| {
            let op = |op| match op {
                Some(Op::Capture { name, tensor }) => Op::Capture { name, tensor },
                Some(Op::AllReduce(tensor)) => Op::AllReduce(tensor),
                Some(Op::AllGather { from, to }) => Op::AllGather { from, to },
                Some(Op::Dispatch(_)) | None => {
                    Op::Dispatch(bound.next().expect("one bound dispatch for each planned"))
                }
            };
            shape.into_iter().map(op).collect::<Vec<_>>()
        });
        let mut next = || lists.next().expect("four lists");
        Ok(Pass { few: next(), chunk: next(), head: next(), argmax: next() })
    }

    /// (1) embedding, the layers, (15) final norm.
    fn body(&self, planner: &Planner, body: Body) -> Result<Vec<Op>> {
        let (c, a, w) = (&self.share.config, self.activations, self.weights);
        let partial = self.share.is_partial();
        let scale = (c.hidden_size as f64).sqrt() as f32;
        let mut ops: Vec<Op> =
            embed::plan(planner, "embed", &w.embed_tokens, (self.share.vocab.start, partial), &a.rows, &a.h, scale)?
                .into_iter()
                .map(Op::Dispatch)
                .collect();
        if partial {
            ops.push(Op::AllReduce(a.h.clone()));
        }
        ops.push(Op::capture("embed".into(), &a.h));
        if let (Some(b), Some(p)) = (&a.per_layer, &w.per_layer) {
            let rows = match body {
                Body::Few => Rows::Few,
                Body::Chunk => Rows::Many(&a.row_count),
            };
            let (projection, y) = (&p.per_layer_model_projection, b.context_part.as_ref().unwrap_or(&b.context));
            let product = product::plan(planner, "per_layer_model_projection", projection, rows, &a.h, y, 0.0)?;
            ops.extend(product.into_iter().map(Op::Dispatch));
            if let Some(part) = &b.context_part {
                ops.push(Op::AllGather { from: part.clone(), to: b.context.clone() });
            }
            let (from, norm) = ((&b.context, &b.tokens), &p.per_layer_projection_norm);
            let numbers = ((c.hidden_size as f32).powf(-0.5), c.rms_norm_eps);
            let planned = per_layer_inputs::plan(planner, "per_layer_inputs", from, norm, &b.inputs, numbers)?;
            ops.push(Op::Dispatch(planned));
            ops.push(Op::capture("per_layer_inputs".into(), &b.inputs));
        }
        let input = (&w.norms, norm_row(0, Norm::Input));
        ops.push(Op::Dispatch(rms_norm::plan(planner, "input_norm", input, &a.h, &a.x, c.rms_norm_eps)?));
        let plan = LayerPlan { planner, share: self.share, weights: w, activations: a, cache: self.cache, body };
        for l in 0..c.num_hidden_layers {
            ops.extend(plan.layer(l)?);
        }
        ops.extend(plan.after_layers()?);
        ops.push(Op::capture("final_norm".into(), &a.x));
        Ok(ops)
    }

    /// The chosen rows' logits.
    fn head(&self, planner: &Planner) -> Result<Vec<Op>> {
        let (a, w) = (self.activations, self.weights);
        let gather = gather_rows::plan(planner, "gather_rows", &a.x, &a.chosen, &a.chosen_x)?;
        let head = w.lm_head.as_ref().unwrap_or(&w.embed_tokens);
        let softcap = self.share.config.final_logit_softcapping.unwrap_or(0.0);
        let product = product::plan(planner, "lm_head", head, Rows::Few, &a.chosen_x, &a.logits, softcap)?;
        Ok([gather].into_iter().chain(product).map(Op::Dispatch).collect())
    }
}
