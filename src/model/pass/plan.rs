//! The forward pass as a flat list of dispatches, planned for few rows and for chunks.

use super::activations::Activations;
use super::layer::{self, BodyPlan};
use super::op::{Body, Op};
use crate::Result;
use crate::gpu::{Dispatch, Gpu, PipelineKey};
use crate::kernels::choice::{argmax, sample, strip_max, suppress};
use crate::kernels::norm::per_layer_inputs::{self, PerLayerInputs};
use crate::kernels::norm::rms_norm::{self, NormRow};
use crate::kernels::product::{Product, Rows};
use crate::kernels::rounding::int8_by_16::{self, Input, Outputs};
use crate::kernels::rows::embed::{self, Embed};
use crate::kernels::rows::gather_rows;
use crate::kernels::{Planned, Planner, product};
use crate::model::kv::cache::KvCache;
use crate::model::load::share::Share;
use crate::model::load::weights::{ModelWeights, Norm, norm_row};

/// A planned forward pass, bound to its buffers.
#[derive(Debug)]
pub(crate) struct Pass {
    /// From a step's rows to their final state, in the order of [`Body::ALL`].
    pub bodies: [Vec<Op<Dispatch>>; 4],
    /// From the final state of all rows to their logits, for all bodies but a chunk's.
    heads: [Vec<Op<Dispatch>>; 3],
    /// From chosen rows of the final state to logits.
    pub head_of_chosen: Vec<Op<Dispatch>>,
    /// Takes ids that must not be chosen out of logits.
    pub suppress: Vec<Op<Dispatch>>,
    /// From logits to the ids of the largest.
    pub argmax: Vec<Op<Dispatch>>,
    /// From logits to ids that are drawn.
    pub sample: Vec<Op<Dispatch>>,
}

/// A forward pass that is planned: its buffers are there, its pipelines are not compiled.
#[derive(Debug)]
pub(crate) struct PlannedPass {
    planned: Vec<Planned>,
    /// The lists of [`Pass`] in its order; `None` where the next of `planned` stands.
    shapes: Vec<Vec<Option<Op>>>,
}

/// What a kernel of a pass is compiled from.
pub(crate) struct PassKey<'p> {
    pub key: &'p PipelineKey,
    /// Whether steps of few rows run it. Heads and choices are theirs.
    pub decodes: bool,
}

impl Pass {
    /// From the rows of a step of `n_rows` to their final state.
    pub(crate) fn body(&self, n_rows: usize) -> &[Op<Dispatch>] {
        &self.bodies[Body::of(n_rows) as usize]
    }

    /// From the final state of all of `n_rows` rows, at most [`crate::model::run::step::FEW_ROWS`], to their logits.
    pub(crate) fn head(&self, n_rows: usize) -> &[Op<Dispatch>] {
        &self.heads[Body::of(n_rows) as usize]
    }
}

impl PlannedPass {
    /// What the bodies have beside dispatches.
    pub(crate) fn between(&self) -> impl Iterator<Item = &Op> {
        self.shapes[..Body::ALL.len()].iter().flatten().flatten()
    }

    /// What each of its kernels is compiled from.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PassKey<'_>> {
        let lists = self.shapes.iter().enumerate();
        let decodes = lists.flat_map(|(list, shape)| {
            let dispatches = shape.iter().filter(|op| op.is_none());
            dispatches.map(move |_| list != Body::Chunk as usize)
        });
        self.planned.iter().zip(decodes).map(|(planned, decodes)| PassKey { key: planned.key(), decodes })
    }

    /// Compiles and binds it.
    pub(crate) fn bind(self, gpu: &Gpu, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Pass> {
        let mut bound = Planner::new(gpu).bind(&self.planned, progress)?.into_iter();
        let mut lists = self.shapes.into_iter().map(|shape| {
            let op = |op| match op {
                Some(Op::Capture { name, tensor }) => Op::Capture { name, tensor },
                Some(Op::BringExperts(l)) => Op::BringExperts(l),
                Some(Op::AllReduce(tensor)) => Op::AllReduce(tensor),
                Some(Op::AllGather { from, to }) => Op::AllGather { from, to },
                Some(Op::Dispatch(_)) | None => {
                    Op::Dispatch(bound.next().expect("one bound dispatch for each planned"))
                }
            };
            shape.into_iter().map(op).collect::<Vec<_>>()
        });
        let mut next = || lists.next().expect("as many lists as were planned");
        Ok(Pass {
            bodies: std::array::from_fn(|_| next()),
            heads: std::array::from_fn(|_| next()),
            head_of_chosen: next(),
            suppress: next(),
            argmax: next(),
            sample: next(),
        })
    }
}

/// What a pass is planned from.
pub(crate) struct PassPlan<'a> {
    pub share: &'a Share,
    pub weights: &'a ModelWeights,
    pub activations: &'a Activations,
    pub cache: &'a KvCache,
}

impl PassPlan<'_> {
    /// Plans everything.
    pub(crate) fn plan(&self, planner: &Planner) -> Result<PlannedPass> {
        let mut lists = Body::ALL.into_iter().map(|body| self.body(planner, body)).collect::<Result<Vec<_>>>()?;
        for body in [Body::One, Body::Two, Body::Few] {
            lists.push(self.head(planner, body)?);
        }
        lists.push(self.head_of_chosen(planner)?);
        lists.extend(self.choices(planner)?);
        let (mut planned, mut shapes) = (Vec::new(), Vec::new());
        for list in lists {
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
        Ok(PlannedPass { planned, shapes })
    }

    /// (1) embedding, the layers, (15) final norm.
    pub(crate) fn body(&self, planner: &Planner, body: Body) -> Result<Vec<Op>> {
        let (c, a, w) = (&self.share.config, self.activations, self.weights);
        let plan = self.of(planner, body);
        let partial = self.share.is_partial();
        let scale = (c.hidden_size as f64).sqrt() as f32;
        let mut ops: Vec<Op> = embed::plan(
            planner,
            "embed",
            &Embed {
                table: &w.embed_tokens,
                first_token: self.share.vocab.start,
                partial,
                rows: &a.rows,
                ids: &a.ids,
                y: &a.h,
                scale,
            },
        )?
        .into_iter()
        .map(Op::Dispatch)
        .collect();
        if partial {
            ops.push(Op::AllReduce(a.h.clone()));
        }
        ops.push(Op::capture("embed".into(), &a.h));
        if let (Some(b), Some(p)) = (&a.per_layer, &w.per_layer) {
            let (projection, y) = (&p.per_layer_model_projection, b.context_part.as_ref().unwrap_or(&b.context));
            let product = Product::new(projection, plan.rows(), &a.h, y);
            let product = product::plan(planner, "per_layer_model_projection", &product)?;
            ops.extend(product.into_iter().map(Op::Dispatch));
            if let Some(part) = &b.context_part {
                ops.push(Op::AllGather { from: part.clone(), to: b.context.clone() });
            }
            let inputs = PerLayerInputs {
                context: &b.context,
                tokens: &b.tokens,
                norm: &p.per_layer_projection_norm,
                y: &b.inputs,
                scale: (c.hidden_size as f32).powf(-0.5),
                eps: c.rms_norm_eps,
            };
            let planned = per_layer_inputs::plan(planner, "per_layer_inputs", &inputs)?;
            ops.push(Op::Dispatch(planned));
            ops.push(Op::capture("per_layer_inputs".into(), &b.inputs));
        }
        let input = NormRow { norms: &w.norms, row: norm_row(0, Norm::Input) };
        let y = Outputs { y: &a.x, rounded: plan.rows().rounded(&a.x_rounded) };
        ops.push(Op::Dispatch(rms_norm::plan(planner, "input_norm", input, &a.h, y, c.rms_norm_eps)?));
        for l in 0..c.num_hidden_layers {
            ops.extend(layer::plan(plan, l)?);
        }
        ops.extend(layer::plan_after_layers(plan)?);
        ops.push(Op::capture("final_norm".into(), &a.x));
        Ok(ops)
    }

    fn of<'p>(&'p self, planner: &'p Planner<'p>, body: Body) -> BodyPlan<'p> {
        let PassPlan { share, weights, activations, cache } = *self;
        BodyPlan { planner, share, weights, activations, cache, body }
    }

    /// The logits of all rows of a body's steps, whose final norm rounds them.
    fn head(&self, planner: &Planner, body: Body) -> Result<Vec<Op>> {
        let a = self.activations;
        let (rows, x) = (self.of(planner, body).rows(), Input { x: &a.x, rounded: a.x_rounded.as_ref() });
        Ok(self.lm_head(planner, rows, x)?.into_iter().map(Op::Dispatch).collect())
    }

    /// The chosen rows' logits.
    fn head_of_chosen(&self, planner: &Planner) -> Result<Vec<Op>> {
        let a = self.activations;
        let mut planned = vec![gather_rows::plan(planner, "gather_rows", &a.x, &a.chosen, &a.chosen_x)?];
        let (x, rounded) = (&a.chosen_x, a.chosen_x_rounded.as_ref());
        if let Some(rounded) = rounded {
            planned.push(int8_by_16::plan(planner, "round", x, rounded)?);
        }
        let rows = Rows::Several(&a.chosen_count).on(planner);
        planned.extend(self.lm_head(planner, rows, Input { x, rounded })?);
        Ok(planned.into_iter().map(Op::Dispatch).collect())
    }

    /// What makes ids of logits: suppression, the greedy choice, a draw.
    fn choices(&self, planner: &Planner) -> Result<[Vec<Op>; 3]> {
        let a = self.activations;
        let suppress = suppress::plan(planner, "suppress", &a.suppressed, &a.logits)?;
        let argmax = argmax::plan(planner, "argmax", &a.logits, &a.argmax_parts, &a.ids)?;
        let strip_max = strip_max::plan(planner, "strip_max", &a.logits, &a.strip_maxima)?;
        let sample = sample::plan(planner, "sample", &a.logits, &a.strip_maxima, &a.draws, &a.ids)?;
        let list = |planned: Vec<Planned>| planned.into_iter().map(Op::Dispatch).collect();
        Ok([list(vec![suppress]), list(argmax.into()), list(vec![strip_max, sample])])
    }

    fn lm_head(&self, planner: &Planner, rows: Rows, x: Input) -> Result<Vec<Planned>> {
        let head = self.weights.lm_head.as_ref().unwrap_or(&self.weights.embed_tokens);
        let softcap = self.share.config.final_logit_softcapping.unwrap_or(0.0);
        product::plan(planner, "lm_head", &Product::new(head, rows, x, &self.activations.logits).capped(softcap))
    }
}
