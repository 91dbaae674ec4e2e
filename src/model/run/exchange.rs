//! Running a planned pass on all ranks, step for step.

use super::rank::Rank;
use super::step::{Activation, FEW_ROWS, Output, Want};
use crate::error::NotFinite;
use crate::gpu::{Dispatch, Recorder, Tensor};
use crate::kernels::choice::argmax;
use crate::model::pass::op::Op;
use crate::parallel::Collective;
use crate::{Error, Result};

/// An inner tensor by its name.
pub(crate) struct Captured {
    pub name: String,
    pub activation: Activation,
}

/// A step whose body is recorded, and run up to the last exchange between ranks.
pub(crate) struct Begun<'a> {
    pub run: Run<'a>,
    /// In the order in which they were computed.
    pub captures: Vec<Captured>,
}

/// All ranks of a model in the middle of a step.
pub(crate) struct Run<'a> {
    ranks: &'a [Rank],
    collective: &'a dyn Collective,
    recorders: Vec<Recorder<'a>>,
    n_rows: usize,
}

/// What ranks combine: the tensor that each one fills, and the one that receives the result.
enum Exchange<'a> {
    Sum(&'a Tensor),
    Columns(&'a Tensor, &'a Tensor),
}

impl<'a> Run<'a> {
    /// Records the body for `n_rows` rows, which are uploaded, and runs it up to the last exchange between ranks. With
    /// `keep`, inner tensors are brought back.
    pub(crate) fn body(
        ranks: &'a [Rank],
        collective: &'a dyn Collective,
        n_rows: usize,
        keep: bool,
    ) -> Result<Begun<'a>> {
        let bodies = ranks.iter().map(|rank| rank.pass.body(n_rows)).collect();
        Self::over(ranks, collective, bodies, n_rows, keep)
    }

    /// As [`Run::body`] with the ranks' own lists.
    pub(crate) fn over(
        ranks: &'a [Rank],
        collective: &'a dyn Collective,
        bodies: Vec<&'a [Op<Dispatch>]>,
        n_rows: usize,
        keep: bool,
    ) -> Result<Begun<'a>> {
        let recorders = ranks.iter().map(|rank| Recorder::paced(&rank.gpu)).collect();
        let mut run = Run { ranks, collective, recorders, n_rows };
        let mut captures = Vec::new();
        // Where each rank is in its list: how kernels are fused depends on where its cuts fall.
        let mut at = vec![0; bodies.len()];
        loop {
            for (rank, (ops, at)) in bodies.iter().zip(&mut at).enumerate() {
                while let Some(op) = ops.get(*at).filter(|op| !is_stop(op)) {
                    match op {
                        Op::Dispatch(dispatch) => run.recorders[rank].dispatch(dispatch, n_rows),
                        // What is looked at is whole, and the same in every rank.
                        Op::Capture { name, tensor } if keep && rank == 0 => {
                            captures.push((name.clone(), tensor.width, run.recorders[0].read_back(tensor, n_rows)?));
                        }
                        _ => {}
                    }
                    *at += 1;
                }
            }
            let count = match bodies[0].get(at[0]) {
                None => break,
                Some(Op::BringExperts(l)) => {
                    run.bring_experts(*l)?;
                    1
                }
                Some(_) => {
                    let count = bodies[0][at[0]..].iter().take_while(|op| is_exchange(op)).count();
                    let exchanges = bodies.iter().zip(&at).map(|(ops, at)| &ops[*at..*at + count]);
                    run.exchange(&exchanges.collect::<Vec<_>>())?;
                    count
                }
            };
            at.iter_mut().for_each(|at| *at += count);
        }
        if captures.is_empty() {
            return Ok(Begun { run, captures: Vec::new() });
        }
        run.submit();
        let mut kept = Vec::new();
        for (name, width, readback) in captures {
            let activation = Activation { width, values: readback.read(&ranks[0].gpu, n_rows)? };
            kept.push(Captured { name, activation });
            ranks[0].gpu.forget_bytes(readback.size_bytes());
        }
        Ok(Begun { run, captures: kept })
    }

    /// Hands everything that was recorded to the devices.
    fn submit(&mut self) {
        let fresh = self.ranks.iter().map(|rank| Recorder::paced(&rank.gpu)).collect();
        for recorder in std::mem::replace(&mut self.recorders, fresh) {
            recorder.submit();
        }
    }

    /// Submits what was recorded, and brings the experts that layer `l` chose to the devices.
    fn bring_experts(&mut self, l: usize) -> Result<()> {
        for (rank, recorder) in self.ranks.iter().zip(&mut self.recorders) {
            rank.read_choice(recorder, self.n_rows)?;
        }
        self.submit();
        self.ranks.iter().try_for_each(|rank| rank.bring_experts(l, self.n_rows))
    }

    /// Submits what was recorded, combines the results of all ranks and hands them back: `ops[rank]` are the exchanges.
    fn exchange(&mut self, ops: &[&'a [Op<Dispatch>]]) -> Result<()> {
        let tensors = |op: &'a Op<Dispatch>| match op {
            Op::AllReduce(tensor) => Exchange::Sum(tensor),
            Op::AllGather { from, to } => Exchange::Columns(from, to),
            Op::Dispatch(_) | Op::Capture { .. } | Op::BringExperts(_) => {
                unreachable!("all ranks exchange at the same places")
            }
        };
        for ((rank, recorder), ops) in self.ranks.iter().zip(&mut self.recorders).zip(ops) {
            for op in *ops {
                let (Exchange::Sum(from) | Exchange::Columns(from, _)) = tensors(op);
                recorder.read_into(from, self.n_rows, rank.partial(from))?;
            }
        }
        self.submit();
        for i in 0..ops[0].len() {
            let all: Vec<Exchange> = ops.iter().map(|ops| tensors(&ops[i])).collect();
            let (mut values, mut widths) = (Vec::new(), Vec::new());
            for (rank, exchange) in self.ranks.iter().zip(&all) {
                let (Exchange::Sum(from) | Exchange::Columns(from, _)) = exchange;
                values.push(rank.partial(from).read::<f32>(&rank.gpu, self.n_rows)?);
                widths.push(from.width);
            }
            let whole = match all[0] {
                Exchange::Sum(_) => self.collective.all_reduce(&values),
                Exchange::Columns(..) => self.collective.all_gather(&values, &widths),
            };
            for (rank, exchange) in self.ranks.iter().zip(&all) {
                let (Exchange::Sum(to) | Exchange::Columns(_, to)) = exchange;
                to.write_rows(&rank.gpu, &whole)?;
            }
        }
        Ok(())
    }

    /// Runs what is left of the body with the first rows' head, then the head for the others, `FEW_ROWS` at a time.
    pub(crate) fn outputs(mut self, want: Want) -> Result<Output> {
        let (chosen, greedy) = match want {
            Want::Nothing => (&[][..], false),
            Want::Greedy(chosen) => (chosen, true),
            Want::Logits(chosen) => (chosen, false),
        };
        let mut output = Output::default();
        if chosen.is_empty() {
            self.submit();
            self.ranks.iter().try_for_each(|rank| rank.gpu.check())?;
        }
        let all = self.n_rows <= FEW_ROWS && chosen.iter().copied().eq(0..self.n_rows);
        for part in chosen.chunks(FEW_ROWS) {
            for (rank, recorder) in self.ranks.iter().zip(&mut self.recorders) {
                if !all {
                    rank.choose_rows(part)?;
                }
                let head = if all { rank.pass.head(self.n_rows) } else { &rank.pass.head_of_chosen };
                record(recorder, head, part.len());
            }
            match (self.ranks, greedy) {
                ([rank], true) => output.ids.extend(self.chosen_on_device(rank, part.len())?),
                (_, false) => output.logits.extend(self.logits(part.len())?),
                // Each rank has the logits of its tokens only.
                (_, true) => {
                    let logits = self.logits(part.len())?;
                    let rows = logits.chunks_exact(logits.len() / part.len());
                    output.ids.extend(rows.map(largest).collect::<Option<Vec<_>>>().ok_or_else(not_finite)?);
                }
            }
        }
        Ok(output)
    }

    fn chosen_on_device(&mut self, rank: &Rank, rows: usize) -> Result<Vec<u32>> {
        record(&mut self.recorders[0], &rank.pass.argmax, rows);
        self.recorders[0].read_into(&rank.activations.ids, rows, &rank.ids)?;
        self.submit();
        let ids = rank.ids.read::<u32>(&rank.gpu, rows)?;
        if ids.contains(&argmax::NOT_FINITE) { Err(not_finite()) } else { Ok(ids) }
    }

    /// `[rows, vocab_size]` of all ranks.
    fn logits(&mut self, rows: usize) -> Result<Vec<f32>> {
        for (rank, recorder) in self.ranks.iter().zip(&mut self.recorders) {
            recorder.read_into(&rank.activations.logits, rows, &rank.logits)?;
        }
        self.submit();
        let read = |rank: &Rank| rank.logits.read::<f32>(&rank.gpu, rows);
        if let [rank] = self.ranks {
            return read(rank);
        }
        let widths: Vec<usize> = self.ranks.iter().map(|rank| rank.activations.logits.width).collect();
        Ok(self.collective.all_gather(&self.ranks.iter().map(read).collect::<Result<Vec<_>>>()?, &widths))
    }
}

/// Whether all ranks stop there, for what the host does.
fn is_stop(op: &Op<Dispatch>) -> bool {
    is_exchange(op) || matches!(op, Op::BringExperts(_))
}

fn is_exchange(op: &Op<Dispatch>) -> bool {
    matches!(op, Op::AllReduce(_) | Op::AllGather { .. })
}

pub(crate) fn record(recorder: &mut Recorder, ops: &[Op<Dispatch>], n_rows: usize) {
    for op in ops {
        if let Op::Dispatch(dispatch) = op {
            recorder.dispatch(dispatch, n_rows);
        }
    }
}

/// The place of the largest value, the first on a tie; `None` where one is not finite.
fn largest(values: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if !value.is_finite() {
            return None;
        }
        if *value > values[best] {
            best = i;
        }
    }
    Some(best as u32)
}

pub(crate) fn not_finite() -> Error {
    NotFinite::Logits.into()
}
