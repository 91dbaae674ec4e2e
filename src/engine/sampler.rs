//! Choosing a token from logits.

use crate::error::{Failure, NotFinite, Usage};
use crate::kernels::choice::sample;
use crate::kernels::choice::sample::Draw;
use crate::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Only the `top_k` most probable tokens stay; 0 keeps all.
    pub top_k: usize,
    /// Of those, the fewest whose probabilities reach `top_p` together stay; 1 keeps all.
    pub top_p: f32,
    /// Start of the counter that the draws come from: the same seed gives the same text.
    pub seed: u64,
}

impl Sampling {
    /// Always the most probable token.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

    /// True where no draw is made.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value out of its range.
    pub fn check(&self) -> Result<()> {
        let wrong = |name, found, expected| Error::Usage(Usage::Sampling { name, found, expected });
        if !(self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature)) {
            return Err(wrong("temperature", self.temperature, "0 (greedy) to 100"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(wrong("top-p", self.top_p, "more than 0, at most 1"));
        }
        Ok(())
    }
}

/// A token that may be drawn, and how probable it is beside the first.
struct Candidate {
    id: usize,
    weight: f64,
}

/// Draws tokens; one draw a token, numbered, so that a text depends on the seed alone.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    draws: u64,
}

impl Sampler {
    /// A sampler before its first draw.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value out of its range.
    pub fn new(sampling: Sampling) -> Result<Self> {
        sampling.check()?;
        Ok(Sampler { sampling, draws: 0 })
    }

    /// A sampler after `draws` draws.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value out of its range.
    pub fn after(sampling: Sampling, draws: usize) -> Result<Self> {
        Ok(Sampler { draws: draws as u64, ..Sampler::new(sampling)? })
    }

    /// True where the most probable token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.sampling.is_greedy()
    }

    /// True where a device can choose: greedily, or among few enough tokens.
    pub fn fits_device(&self) -> bool {
        self.is_greedy() || (1..=sample::MAX_TOP_K).contains(&self.sampling.top_k)
    }

    /// The next draw as a device makes it, for [`crate::model::Next`]; [`Sampler::advance`] counts it. `None` where the choice is
    /// greedy.
    ///
    /// # Errors
    /// [`Error::Usage`] where [`Sampler::fits_device`] is false.
    pub fn draw(&self) -> Result<Option<Draw>> {
        if !self.fits_device() {
            let (found, most) = (self.sampling.top_k, sample::MAX_TOP_K);
            return Err(Usage::OnDevice { what: "as top-k", found, least: 1, most }.into());
        }
        Ok((!self.is_greedy()).then(|| Draw {
            top_k: self.sampling.top_k as u32,
            top_p: self.sampling.top_p,
            // A temperature near 0 has no finite one.
            inverse_temperature: (1.0 / f64::from(self.sampling.temperature)).min(f64::from(f32::MAX)) as f32,
            random: self.uniform() as f32,
        }))
    }

    /// Counts a draw that was made.
    pub fn advance(&mut self) {
        self.draws = self.draws.wrapping_add(1);
    }

    /// The next token for `logits`. On a tie the lower id comes first. A logit of minus infinity is never chosen.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a logit is NaN or plus infinity, [`Error::Run`] where none is left: never a token from
    /// garbage.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        if let Some(token) = logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY) {
            return Err(NotFinite::Logit { token, found: logits[token] }.into());
        }
        let best = argmax(logits);
        if logits.get(best).is_none_or(|l| *l == f32::NEG_INFINITY) {
            return Err(Failure::NoChoice.into());
        }
        if self.sampling.is_greedy() {
            return Ok(best as u32);
        }
        let candidates = self.candidates(logits, logits[best]);
        let total: f64 = candidates.iter().map(|one| one.weight).sum();
        let mut left = self.uniform() * total;
        self.advance();
        for one in &candidates {
            left -= one.weight;
            if left < 0.0 {
                return Ok(one.id as u32);
            }
        }
        Ok(candidates[candidates.len() - 1].id as u32) // Rounding left a crumb.
    }

    /// The tokens that may be drawn, most probable first, with weights relative to the first.
    fn candidates(&self, logits: &[f32], largest: f32) -> Vec<Candidate> {
        let temperature = f64::from(self.sampling.temperature);
        let weight = |l: f32| (f64::from(l - largest) / temperature).exp();
        let all = logits.iter().enumerate().map(|(id, &l)| Candidate { id, weight: weight(l) });
        let mut all: Vec<Candidate> = all.filter(|one| one.weight > 0.0).collect();
        // By logits: weights of two that differ may be equal.
        let logit = |id: usize| logits[id] + 0.0; // 0 and -0 are equal.
        let order = |a: &Candidate, b: &Candidate| logit(b.id).total_cmp(&logit(a.id)).then(a.id.cmp(&b.id));
        let keep = if self.sampling.top_k == 0 { all.len() } else { self.sampling.top_k.min(all.len()) };
        if keep < all.len() {
            all.select_nth_unstable_by(keep, order);
            all.truncate(keep);
        }
        all.sort_unstable_by(order);
        let total: f64 = all.iter().map(|one| one.weight).sum();
        let mut reached = 0.0;
        let enough = all.iter().position(|one| {
            reached += one.weight;
            reached >= f64::from(self.sampling.top_p) * total
        });
        all.truncate(enough.map_or(all.len(), |last| last + 1));
        all
    }

    /// The next draw's number of [0, 1): splitmix64 (Steele, Lea, Flood 2014) of seed and counter.
    fn uniform(&self) -> f64 {
        let number = self.draws.wrapping_add(1);
        let mut z = self.sampling.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(sampling: Sampling, logits: &[f32], n: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling).expect("valid");
        (0..n).map(|_| sampler.choose(logits).expect("finite")).collect()
    }

    /// Equal chances, but for what a test changes; other draws in each run.
    fn fresh(number: u64) -> Sampling {
        Sampling { seed: crate::seed::seed(number), ..HALF }
    }

    const HALF: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let logits: Vec<f32> = (0..100).map(|i| (i as f32 * 0.37).sin()).collect();
        assert_eq!(draw(HALF, &logits, 50), draw(HALF, &logits, 50));
        assert_ne!(draw(HALF, &logits, 50), draw(Sampling { seed: 8, ..HALF }, &logits, 50));
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        assert_eq!(draw(Sampling::GREEDY, &[0.0, 2.0, 2.0, 1.0], 1), [1]);
        assert_eq!(draw(Sampling { top_k: 1, ..HALF }, &[0.0, 2.0, 2.0, 1.0], 3), [1, 1, 1]);
    }

    #[test]
    fn top_k_comes_before_top_p() {
        // Probabilities 0.4, 0.3, 0.2, 0.1. Of the best two, renormalized 0.571 and 0.429, top-p 0.5 keeps one; top-p
        // over all four would keep two.
        let logits = [0.4f32.ln(), 0.3f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let ids = draw(Sampling { top_k: 2, top_p: 0.5, ..fresh(101) }, &logits, 200);
        assert!(ids.iter().all(|&id| id == 0));
        let ids = draw(Sampling { top_p: 0.5, ..fresh(102) }, &logits, 200);
        assert!(ids.contains(&1) && !ids.contains(&2));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let p = [0.4, 0.25, 0.15, 0.1, 0.06, 0.04];
        let logits = p.map(|p: f64| p.ln() as f32);
        let n = 100_000;
        for (number, (temperature, top_k, top_p)) in
            [0.5, 1.0, 2.0].into_iter().flat_map(|t| [(t, 0, 1.0), (t, 3, 1.0), (t, 0, 0.77), (t, 4, 0.9)]).enumerate()
        {
            // By the definition, one after the other: temperature, the best k of them, the fewest that reach top-p.
            let mut kept = p.map(|p| p.powf(1.0 / f64::from(temperature)));
            kept[if top_k == 0 { p.len() } else { top_k }..].fill(0.0);
            let (sum, mut before) = (kept.iter().sum::<f64>(), 0.0);
            for p in &mut kept {
                let is_enough = before >= f64::from(top_p) * sum;
                before += *p;
                *p = if is_enough { 0.0 } else { *p };
            }
            let sum: f64 = kept.iter().sum();
            let ids = draw(Sampling { temperature, top_k, top_p, ..fresh(number as u64) }, &logits, n);
            let mut chi_square = 0.0;
            for (id, p) in kept.iter().enumerate() {
                let seen = ids.iter().filter(|&&i| i as usize == id).count() as f64;
                let expected = n as f64 * p / sum;
                chi_square += if expected > 0.0 { (seen - expected).powi(2) / expected } else { 1e9 * seen };
            }
            let degrees = kept.iter().filter(|p| **p > 0.0).count() - 1;
            let setting = format!("temperature {temperature}, top-k {top_k}, top-p {top_p}");
            let most = CHI_SQUARE[degrees];
            assert!(
                chi_square < most,
                "{setting}: chi square {chi_square} with {degrees} degrees of freedom has p < 1e-9"
            );
        }
    }

    /// What chance exceeds once in a billion runs, by degrees of freedom.
    const CHI_SQUARE: [f64; 6] = [1e-9, 37.3, 41.4, 44.8, 47.9, 50.7];

    #[test]
    fn temperature_sharpens() {
        let logits = [1.0, 0.0];
        let share = |temperature| {
            let ids = draw(Sampling { temperature, ..fresh(100) }, &logits, 20_000);
            ids.iter().filter(|&&id| id == 0).count() as f64 / 20_000.0
        };
        assert!((share(1.0) - 0.731).abs() < 0.02 && (share(0.5) - 0.881).abs() < 0.02);
    }

    #[test]
    fn garbage_is_never_sampled() {
        for bad in [f32::NAN, f32::INFINITY] {
            for sampling in [HALF, Sampling::GREEDY] {
                let e = Sampler::new(sampling).expect("valid").choose(&[0.0, bad]).expect_err("garbage");
                assert!(e.to_string().starts_with("the logit of token 1 is"), "{e}");
            }
        }
        let none = [f32::NEG_INFINITY; 3];
        assert!(Sampler::new(HALF).expect("valid").choose(&none).is_err());
        assert!(draw(HALF, &[f32::NEG_INFINITY, 0.0], 100).iter().all(|&id| id == 1));
    }

    #[test]
    fn a_device_s_draws_are_the_sampler_s() {
        let sampling = Sampling { top_k: 2, temperature: 0.5, ..HALF };
        let mut sampler = Sampler::new(sampling).expect("valid");
        for _ in 0..20 {
            let draw = sampler.draw().expect("few tokens").expect("not greedy");
            assert_eq!((draw.top_k, draw.top_p, draw.inverse_temperature), (2, 1.0, 2.0));
            assert_eq!(sampler.draw().expect("few tokens"), Some(draw), "looking does not count");
            // Two equal tokens: the first half of the numbers draws the first.
            assert_eq!(sampler.choose(&[1.0, 1.0]).expect("finite"), u32::from(draw.random >= 0.5));
            assert_ne!(sampler.draw().expect("few tokens"), Some(draw));
        }
        assert!(
            Sampler::new(Sampling { temperature: 1e-42, ..sampling })
                .expect("valid")
                .draw()
                .expect("few tokens")
                .is_some_and(|draw| { draw.inverse_temperature.is_finite() })
        );
        assert_eq!(Sampler::new(Sampling::GREEDY).expect("valid").draw().expect("no draw"), None);
        for (top_k, fits) in [(0, false), (1, true), (128, true), (129, false)] {
            let sampler = Sampler::new(Sampling { top_k, ..HALF }).expect("valid");
            assert_eq!((sampler.fits_device(), sampler.draw().is_ok()), (fits, fits), "{top_k}");
        }
    }

    #[test]
    fn order_is_that_of_logits() {
        // Both are 10 below the largest once that is taken from them in f32.
        let logits = [1e-10, 2e-10, 10.0];
        let ids = draw(Sampling { top_k: 2, temperature: 100.0, ..HALF }, &logits, 100);
        assert!(ids.contains(&1) && !ids.contains(&0));
    }

    #[test]
    fn ranges_are_checked() {
        for bad in [
            Sampling { temperature: -1.0, ..HALF },
            Sampling { temperature: f32::NAN, ..HALF },
            Sampling { top_p: 0.0, ..HALF },
            Sampling { top_p: 1.5, ..HALF },
        ] {
            assert!(Sampler::new(bad).is_err(), "{bad:?}");
        }
    }
}
