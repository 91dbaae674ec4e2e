//! Measuring: the copy rate of a device, prefill and decode of a model, and what its kernels take of that.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lapidary::Result;
use lapidary::gpu::{Gpu, Timestamps, Timing};
use lapidary::model::{Gemma4, Next, Row, StepShape, Want, copy_rate};

/// Decode steps of a profile: more say nothing new.
const PROFILED_STEPS: usize = 16;

/// What a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Prefill,
    Decode,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) test: Test,
    /// Tokens of the prompt, or generated in each sequence.
    pub(super) tokens: usize,
    pub(super) depth: usize,
    pub(super) batch: usize,
}

/// A case and what came out.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) tokens_per_second: f64,
    /// Standard deviation of the repeats.
    pub(super) spread: f64,
    /// Bytes of weights, keys and values that a decode step reads.
    pub(super) step_bytes: Option<f64>,
    pub(super) profile: Option<Profile>,
}

/// The kernels of one more run.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) timestamps: Timestamps,
    /// Decode steps, or 1 for a prefill.
    pub(super) steps: usize,
    pub(super) kernels: Vec<Kernel>,
}

/// What kernels read and multiply at least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) bytes: f64,
    pub(super) operations: f64,
}

/// All dispatches of one label.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) label: String,
    pub(super) count: usize,
    pub(super) seconds: f64,
    /// Bytes that they read, operations that they do; `None` where neither is counted.
    pub(super) work: Option<Work>,
}

impl Case {
    /// As in llama-bench: `pp512`, `tg128`.
    pub(super) fn name(&self) -> String {
        match self.test {
            Test::Prefill => format!("pp{}", self.tokens),
            Test::Decode => format!("tg{}", self.tokens),
        }
    }

    /// The mean of its steps, or all of a prefill as one.
    fn step(&self) -> StepShape {
        let positions = self.depth + self.tokens.div_ceil(2);
        match self.test {
            Test::Prefill => StepShape { rows: self.tokens, slots: 1, positions, logits: 1 },
            Test::Decode => StepShape { rows: self.batch, slots: self.batch, positions, logits: self.batch },
        }
    }
}

/// Bytes that all adapters read and write in a second of copying, one after the other; several devices of one adapter
/// count once.
///
/// # Errors
/// As [`copy_rate`].
pub(super) fn copy_rates(gpus: &[Gpu]) -> Result<f64> {
    let adapter = |gpu: &Gpu| (gpu.adapter().info.name.clone(), gpu.adapter().info.device_pci_bus_id.clone());
    let is_new = |i: &usize| gpus[..*i].iter().all(|gpu| adapter(gpu) != adapter(&gpus[*i]));
    (0..gpus.len()).filter(is_new).map(|i| copy_rate(&gpus[i])).sum()
}

/// Where all of the devices can write timestamps.
///
/// # Errors
/// [`lapidary::Error::Device`] for one that has none.
pub(super) fn timestamps(gpus: &[Gpu]) -> Result<Timestamps> {
    let kinds = gpus.iter().map(Gpu::timestamps).collect::<Result<Vec<_>>>()?;
    Ok(if kinds.contains(&Timestamps::PassEach) { Timestamps::PassEach } else { Timestamps::InPass })
}

/// The devices of a model's ranks, each once.
pub(super) fn distinct(model: &Gemma4) -> Vec<&Gpu> {
    let mut gpus: Vec<&Gpu> = model.ranks().map(|rank| rank.gpu).collect();
    gpus.dedup_by(|a, b| std::ptr::eq(*a, *b));
    gpus
}

/// A model under measurement.
pub(super) struct Bench {
    model: Gemma4,
    random: u64,
}

impl Bench {
    pub(super) fn new(model: Gemma4) -> Self {
        Bench { model, random: 1 }
    }

    pub(super) fn model(&self) -> &Gemma4 {
        &self.model
    }

    /// Runs a token and chooses the next one.
    ///
    /// # Errors
    /// Those of [`Gemma4::step`].
    pub(super) fn first_token(&mut self) -> Result<()> {
        self.prefill(0, 1, true)?;
        self.model.truncate(0, 0);
        Ok(())
    }

    /// Measures all cases; with a bar where stderr is a terminal.
    ///
    /// # Errors
    /// Those of [`Gemma4::step`].
    pub(super) fn run_all(
        &mut self,
        cases: &[Case],
        repeats: usize,
        timestamps: Option<Timestamps>,
    ) -> Result<Vec<Measured>> {
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} runs").expect("a valid template");
        let bar = ProgressBar::new((cases.len() * (repeats + 1)) as u64).with_style(style);
        let mut rows = Vec::new();
        for case in cases {
            bar.set_message(case.name());
            let mut rates = Vec::new();
            for repeat in 0..=repeats {
                let seconds = self.run(case)?;
                bar.inc(1);
                // The first run warms up.
                if repeat > 0 {
                    rates.push((case.tokens * case.batch) as f64 / seconds);
                }
            }
            let Sample { mean: tokens_per_second, deviation: spread } = mean_and_deviation(&rates);
            let step_bytes = (case.test == Test::Decode)
                .then(|| self.model.traffic(case.step()).iter().map(|traffic| traffic.bytes).sum());
            let profile = timestamps.map(|kind| self.profile(case, kind)).transpose()?;
            rows.push(Measured { case: *case, tokens_per_second, spread, step_bytes, profile });
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    /// Seconds that a case takes, its depth not counted.
    fn run(&mut self, case: &Case) -> Result<f64> {
        self.prepare(case)?;
        let start = Instant::now();
        match case.test {
            Test::Prefill => self.prefill(0, case.tokens, true)?,
            Test::Decode => self.decode(case.batch, case.tokens)?,
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Brings the slots to the depth of a case.
    fn prepare(&mut self, case: &Case) -> Result<()> {
        for slot in 0..case.batch {
            let kept = self.model.truncate(slot, case.depth);
            self.prefill(slot, case.depth - kept, false)?;
        }
        distinct(&self.model).into_iter().try_for_each(Gpu::wait)
    }

    /// Random tokens behind what the slot holds; `answer` waits for the first id that follows, as a generator does.
    fn prefill(&mut self, slot: usize, tokens: usize, answer: bool) -> Result<()> {
        let mut left = tokens;
        while left > 0 {
            let (first, count) = (self.model.len(slot), left.min(self.model.next_chunk_rows()));
            left -= count;
            let rows: Vec<Row> = (0..count).map(|i| Row { slot, position: first + i, token: self.id() }).collect();
            let last = [count - 1];
            let want = if answer && left == 0 { Want::Greedy(&last) } else { Want::Nothing };
            self.model.step(&rows, want)?;
        }
        Ok(())
    }

    /// Greedy choices in the first `batch` slots, each fed to its next step.
    fn decode(&mut self, batch: usize, tokens: usize) -> Result<()> {
        let mut ids: Vec<u32> = (0..batch).map(|_| self.id()).collect();
        if self.model.runs_ahead(batch) {
            return self.decode_ahead(&ids, tokens);
        }
        let wanted: Vec<usize> = (0..batch).collect();
        for _ in 0..tokens {
            let row = |(slot, &token)| Row { slot, position: self.model.len(slot), token };
            let rows: Vec<Row> = ids.iter().enumerate().map(row).collect();
            ids = self.model.step(&rows, Want::Greedy(&wanted))?.ids;
        }
        Ok(())
    }

    /// The same as a generator does it: a step is under way before the ids of the one before are read.
    fn decode_ahead(&mut self, ids: &[u32], tokens: usize) -> Result<()> {
        let mut submitted = 0;
        for _ in 0..tokens {
            let next = |(slot, &id)| Next { slot, token: (submitted == 0).then_some(id), draw: None };
            let mut rows: Vec<Next> = ids.iter().enumerate().map(next).collect();
            while submitted < tokens && self.model.submit(&rows, &[])? {
                submitted += 1;
                rows.iter_mut().for_each(|row| row.token = None);
            }
            self.model.next_ids()?;
        }
        Ok(())
    }

    /// A random token of the model, the same in every run of the program.
    fn id(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.random >> 33) % self.model.config().vocab_size as u64) as u32
    }

    /// One more run of a case with timestamps, by label in the order of first use.
    fn profile(&mut self, case: &Case, timestamps: Timestamps) -> Result<Profile> {
        let (steps, tokens) = match case.test {
            Test::Prefill => (1, case.tokens),
            Test::Decode => (case.tokens.min(PROFILED_STEPS), case.tokens.min(PROFILED_STEPS)),
        };
        let case = Case { tokens, ..*case };
        // What brings the slots to their depth is run before the profile starts, and not again.
        self.prepare(&case)?;
        distinct(&self.model).into_iter().try_for_each(|gpu| gpu.start_profile(timestamps))?;
        self.run(&case)?;
        let mut times = Vec::new();
        for gpu in distinct(&self.model) {
            times.extend(gpu.finish_profile()?);
        }
        let traffic = self.model.traffic(case.step());
        let mut kernels: Vec<Kernel> = Vec::new();
        for Timing { label, nanoseconds } in times {
            let label = label.name;
            match kernels.iter_mut().find(|kernel| kernel.label == label) {
                Some(kernel) => {
                    kernel.count += 1;
                    kernel.seconds += nanoseconds * 1e-9;
                }
                None => {
                    let work = traffic.iter().find(|traffic| traffic.label == label);
                    let work = work.map(|work| Work {
                        bytes: work.bytes * steps as f64,
                        operations: work.operations * steps as f64,
                    });
                    kernels.push(Kernel { label, count: 1, seconds: nanoseconds * 1e-9, work });
                }
            }
        }
        Ok(Profile { timestamps, steps, kernels })
    }
}

/// What a sample of values says.
#[derive(Debug, PartialEq)]
struct Sample {
    mean: f64,
    deviation: f64,
}

/// The mean, and the standard deviation as estimated from a sample; 0 for a single value.
fn mean_and_deviation(values: &[f64]) -> Sample {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    if values.len() < 2 {
        return Sample { mean, deviation: 0.0 };
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Sample { mean, deviation: (squares / (values.len() - 1) as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations() {
        assert_eq!(mean_and_deviation(&[5.0]), Sample { mean: 5.0, deviation: 0.0 });
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 6.0]), Sample { mean: 4.0, deviation: 2.0 });
    }
}
