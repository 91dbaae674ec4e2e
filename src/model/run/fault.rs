//! Where NaN and infinity come from: a step once more, with a look at what each kernel has made.

use super::exchange::{Begun, Run};
use super::rank::Rank;
use super::step::{Row, Want};
use crate::error::{NotFinite, Usage};
use crate::gpu::{Dispatch, Label, Recorder, Tensor};
use crate::kernels::rows::not_finite;
use crate::kernels::{Planned, ShaderName};
use crate::model::gemma4::Gemma4;
use crate::model::pass::op::{Body, Op};
use crate::model::pass::plan::PassPlan;
use crate::{Error, Result};

/// A kernel of a step.
#[derive(Debug, Clone)]
struct Suspect {
    /// As it was planned, `layer.07/o_proj` for instance.
    label: Label,
    shader: ShaderName,
}

/// A rank's body with a look behind each kernel.
struct Watched {
    ops: Vec<Op<Dispatch>>,
    /// One for each flag.
    suspects: Vec<Suspect>,
    flags: Tensor,
}

impl Gemma4 {
    /// What to say of logits that are not finite: runs `ids` from an empty slot, the `last` of them as one step as they were
    /// run before, and names the first kernel whose result is NaN or infinite. The slot is empty afterwards.
    pub fn explain(&mut self, slot: usize, ids: &[u32], last: usize) -> Error {
        let found = self.find(slot, ids, last);
        self.truncate(slot, 0);
        Error::NotFinite(match found {
            Ok(Some(found)) => found,
            Ok(None) => NotFinite::Unsteady { device: self.gpu().adapter().info.name.clone() },
            Err(error) => NotFinite::Unknown { why: error.to_string() },
        })
    }

    fn find(&mut self, slot: usize, ids: &[u32], last: usize) -> Result<Option<NotFinite>> {
        self.truncate(slot, 0);
        if last == 0 || last > ids.len() {
            return Err(Usage::Rows { found: last, most: ids.len() }.into());
        }
        let (before, step) = ids.split_at(ids.len() - last);
        for part in before.chunks(self.chunk_rows()) {
            if let Some(found) = self.watch(&self.rows(slot, part), false)? {
                return Ok(Some(found));
            }
        }
        self.watch(&self.rows(slot, step), true)
    }

    fn rows(&self, slot: usize, ids: &[u32]) -> Vec<Row> {
        let first = self.len(slot);
        ids.iter().enumerate().map(|(i, &token)| Row { slot, position: first + i, token }).collect()
    }

    /// Runs a step; what made a value that is not finite, also a logit where these are wanted, and where.
    fn watch(&mut self, rows: &[Row], with_logits: bool) -> Result<Option<NotFinite>> {
        self.make_ready(rows)?;
        let watched = self.ranks.iter().map(|rank| Watched::new(rank, Body::of(rows.len())));
        let watched = watched.collect::<Result<Vec<_>>>()?;
        let bodies = watched.iter().map(|watched| watched.ops.as_slice()).collect();
        let Begun { run, .. } = Run::over(&self.ranks, self.collective(), bodies, rows.len(), false)?;
        let all: Vec<usize> = (0..rows.len()).collect();
        let output = run.outputs(if with_logits { Want::Logits(&all) } else { Want::Nothing })?;
        let found = self.ranks.iter().zip(&watched).find_map(|(rank, watched)| watched.first(rank).transpose());
        for (rank, watched) in self.ranks.iter().zip(&watched) {
            rank.gpu.forget_bytes(watched.flags.bytes(watched.flags.rows));
        }
        self.extend(rows);
        let (first, last) = (rows[0].position, rows[rows.len() - 1].position);
        if let Some(Suspect { label, shader }) = found.transpose()? {
            let (ShaderName { stem, variant }, Label { layer, name: label }) = (shader, label);
            return Ok(Some(NotFinite::Kernel { layer, label, stem, variant, positions: first..=last }));
        }
        let vocab = self.config().vocab_size;
        let bad = output.logits.iter().position(|logit| !logit.is_finite());
        Ok(bad.map(|i| {
            let (token, position) = (i % vocab, first + i / vocab);
            NotFinite::Head { token, position, found: output.logits[i] }
        }))
    }
}

impl Watched {
    fn new(rank: &Rank, body: Body) -> Result<Self> {
        let planner = rank.planner();
        let plan = PassPlan {
            share: &rank.share,
            weights: rank.weights(),
            activations: &rank.activations,
            cache: &rank.cache,
        };
        let ops = plan.body(&planner, body)?;
        let flags = Tensor::compact(&rank.gpu, "flags", ops.len(), 1)?;
        let (mut planned, mut order, mut suspects) = (Vec::new(), Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Dispatch(kernel) => {
                    let suspect = Suspect { label: kernel.label().clone(), shader: kernel.shader() };
                    let look = |output| not_finite::plan(&planner, "not_finite", output, &flags, suspects.len());
                    let looks = kernel.float_outputs().into_iter().map(look).collect::<Result<Vec<_>>>()?;
                    suspects.push(suspect);
                    order.extend((0..=looks.len()).map(|_| None));
                    planned.push(kernel);
                    planned.extend(looks);
                }
                Op::Capture { .. } => {}
                exchange @ (Op::BringExperts(_) | Op::AllReduce(_) | Op::AllGather { .. }) => {
                    order.push(Some(exchange))
                }
            }
        }
        clear(rank, &planned)?;
        let mut bound = planner.bind(&planned, &|_, _| ())?.into_iter();
        let mut next = || Op::Dispatch(bound.next().expect("one bound dispatch for each planned"));
        let ops = order.into_iter().map(|op| match op {
            Some(Op::BringExperts(l)) => Op::BringExperts(l),
            Some(Op::AllReduce(tensor)) => Op::AllReduce(tensor),
            Some(Op::AllGather { from, to }) => Op::AllGather { from, to },
            Some(Op::Capture { .. } | Op::Dispatch(_)) | None => next(),
        });
        Ok(Watched { ops: ops.collect(), suspects, flags })
    }

    /// The first kernel whose flag is set, after the step was submitted.
    fn first(&self, rank: &Rank) -> Result<Option<Suspect>> {
        let mut recorder = Recorder::new(&rank.gpu);
        let copy = recorder.read_back(&self.flags, self.flags.rows)?;
        recorder.submit();
        let flags = copy.read::<u32>(&rank.gpu, self.flags.rows)?;
        rank.gpu.forget_bytes(copy.size_bytes());
        Ok(self.suspects.iter().zip(flags).find(|(_, flag)| *flag != 0).map(|(suspect, _)| suspect.clone()))
    }
}

/// Zeros in what the kernels of a step make: steps of more rows may have left something.
fn clear(rank: &Rank, planned: &[Planned]) -> Result<()> {
    let mut recorder = Recorder::new(&rank.gpu);
    for output in planned.iter().flat_map(Planned::float_outputs) {
        recorder.clear(output.buffer());
    }
    recorder.submit();
    rank.gpu.check()
}
