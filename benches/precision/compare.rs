//! The logits of a text that a model is fed, and how far those of two models are apart.

use std::thread;

use lapidary::Result;
use lapidary::model::{Gemma4, Row, Want};

/// A text as a model is fed it, whatever it predicts itself.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    /// All of its tokens.
    pub(crate) ids: Vec<u32>,
    /// The first row whose prediction counts: those of a prompt do not.
    pub(crate) counted_from: usize,
}

impl Sequence {
    /// Predictions that count.
    pub(crate) fn counted(&self) -> usize {
        self.ids.len() - self.counted_from
    }

    /// `model`'s logits of all rows that count, `[counted, vocab_size]`, with `step_rows` rows a step.
    ///
    /// # Errors
    /// Those of [`Gemma4::step`].
    pub(crate) fn logits(&self, model: &mut Gemma4, step_rows: usize) -> Result<Vec<f32>> {
        model.truncate(0, 0);
        let mut logits = Vec::with_capacity(self.counted() * model.config().vocab_size);
        for part in self.ids.chunks(step_rows.min(model.chunk_rows())) {
            let first = model.len(0);
            let rows: Vec<Row> =
                part.iter().enumerate().map(|(i, &token)| Row { slot: 0, position: first + i, token }).collect();
            let counted: Vec<usize> = (0..rows.len()).filter(|i| first + i >= self.counted_from).collect();
            logits.extend(model.step(&rows, Want::Logits(&counted))?.logits);
        }
        Ok(logits)
    }

    /// How surprising the text is to a model with these logits of it, in nats a token; that of an even guess is the
    /// logarithm of `vocab_size`.
    pub(crate) fn surprise(&self, logits: &[f32], vocab_size: usize) -> f64 {
        let next = &self.ids[self.counted_from + 1..];
        let of = |(row, id): (&[f32], &u32)| log_sum(row) - f64::from(row[*id as usize]);
        logits.chunks_exact(vocab_size).zip(next).map(of).sum::<f64>() / next.len().max(1) as f64
    }
}

/// How undecided predictions are, in nats.
pub(crate) fn entropy(logits: &[f32], vocab_size: usize) -> f64 {
    let of = |row: &[f32]| -> f64 {
        let sum = log_sum(row);
        row.iter().map(|&l| (f64::from(l) - sum).exp() * (sum - f64::from(l))).sum()
    };
    logits.chunks_exact(vocab_size).map(of).sum::<f64>() / (logits.len() / vocab_size) as f64
}

/// How far two predictions of one token are apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    /// Kullback-Leibler divergence of the second from the first, in nats.
    pub(crate) kl: f64,
    /// Whether both find the same token most probable.
    pub(crate) same_choice: bool,
}

impl Difference {
    fn new(exact: &[f32], fast: &[f32]) -> Self {
        let (of_exact, of_fast) = (log_sum(exact), log_sum(fast));
        let term = |(&a, &b): (&f32, &f32)| {
            let (a, b) = (f64::from(a) - of_exact, f64::from(b) - of_fast);
            a.exp() * (a - b)
        };
        let kl = exact.iter().zip(fast).map(term).sum();
        Difference { kl, same_choice: largest(exact) == largest(fast) }
    }
}

/// The logarithm of the sum of `exp(logits)`.
fn log_sum(logits: &[f32]) -> f64 {
    let most = f64::from(logits[largest(logits)]);
    most + logits.iter().map(|&l| (f64::from(l) - most).exp()).sum::<f64>().ln()
}

/// The place of the largest value, the first on a tie.
fn largest(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// The differences of all rows of two tensors of logits, `[rows, vocab_size]`.
pub(crate) fn differences(exact: &[f32], fast: &[f32], vocab_size: usize) -> Vec<Difference> {
    assert_eq!(exact.len(), fast.len(), "logits of the same rows");
    let rows = exact.len() / vocab_size;
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let part = rows.div_ceil(threads).max(1) * vocab_size;
    thread::scope(|scope| {
        let of_part = |(exact, fast): (&'_ [f32], &'_ [f32])| -> Vec<Difference> {
            let rows = exact.chunks_exact(vocab_size).zip(fast.chunks_exact(vocab_size));
            rows.map(|(exact, fast)| Difference::new(exact, fast)).collect()
        };
        let parts = exact.chunks(part).zip(fast.chunks(part));
        let running: Vec<_> = parts.map(|pair| scope.spawn(move || of_part(pair))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("arithmetic does not panic")).collect()
    })
}

/// What many differences come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    /// How many there are.
    pub(crate) tokens: usize,
    /// Mean divergence, in nats.
    pub(crate) mean: f64,
    /// What 99 of 100 divergences stay within.
    pub(crate) percentile_99: f64,
    /// The largest divergence.
    pub(crate) largest: f64,
    /// The share of tokens with the same most probable token.
    pub(crate) same_choice: f64,
}

impl Summary {
    /// The summary of one difference or more. A divergence that is NaN stays visible in mean and largest.
    pub(crate) fn new(differences: &[Difference]) -> Self {
        let mut kl: Vec<f64> = differences.iter().map(|d| d.kl).collect();
        kl.sort_unstable_by(f64::total_cmp);
        let tokens = kl.len();
        let same = differences.iter().filter(|d| d.same_choice).count();
        Summary {
            tokens,
            mean: kl.iter().sum::<f64>() / tokens as f64,
            percentile_99: kl[(tokens * 99).div_ceil(100) - 1],
            largest: kl[tokens - 1],
            same_choice: same as f64 / tokens as f64,
        }
    }
}
