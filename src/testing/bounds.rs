//! Comparison with bounds that follow from lengths and epsilon, one for each element.

/// f32's epsilon: an operation rounds by at most half of it.
pub const EPS: f64 = f32::EPSILON as f64;

/// What comparing results with their twins has found so far.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    /// Values that were compared.
    pub compared: usize,
    /// Those beyond their bounds.
    pub bad: usize,
    /// The largest share of its bound that an error took up; infinite where a bound of 0 was missed, or by a NaN.
    pub share: f64,
    /// That error.
    pub error: f64,
    /// Its bound.
    pub bound: f64,
    /// The first value beyond its bound, for people.
    pub first: Option<String>,
}

impl Measure {
    /// Compares floats. Equal infinities and NaNs have equal bits; -0 is 0.
    pub fn close(&mut self, what: &str, expected: &[f32], actual: &[f32], bound: impl Fn(usize) -> f64) {
        if expected.len() != actual.len() {
            self.note(what, f64::INFINITY, 0.0, || format!("{} values, expected {}", actual.len(), expected.len()));
            return;
        }
        for (i, (&wanted, &found)) in expected.iter().zip(actual).enumerate() {
            let same = wanted.to_bits() == found.to_bits();
            let error = if same { 0.0 } else { (f64::from(wanted) - f64::from(found)).abs() };
            let bound = bound(i);
            self.note(what, error, bound, || {
                format!("at {i}: expected {wanted:e}, actual {found:e}, tolerance {bound:e}")
            });
        }
    }

    /// Compares floats that must be the same, save that 0 and -0 are.
    pub fn exact(&mut self, what: &str, expected: &[f32], actual: &[f32]) {
        self.close(what, expected, actual, |_| 0.0);
    }

    /// Compares words that must be the same.
    pub fn words(&mut self, what: &str, expected: &[u32], actual: &[u32]) {
        self.holds(what, expected.len() == actual.len(), || {
            format!("{} values, expected {}", actual.len(), expected.len())
        });
        for (i, (wanted, found)) in expected.iter().zip(actual).enumerate() {
            self.holds(what, wanted == found, || format!("at {i}: expected {wanted:#x}, actual {found:#x}"));
        }
    }

    /// Notes something that is true or false.
    pub fn holds(&mut self, what: &str, is_true: bool, otherwise: impl FnOnce() -> String) {
        self.note(what, if is_true { 0.0 } else { f64::INFINITY }, 0.0, otherwise);
    }

    fn note(&mut self, what: &str, error: f64, bound: f64, otherwise: impl FnOnce() -> String) {
        self.compared += 1;
        let is_within = error <= bound; // Never with a NaN.
        let share = match (is_within, error == 0.0) {
            (true, true) => 0.0,
            (true, false) => error / bound,
            (false, _) if bound > 0.0 && error.is_finite() => error / bound,
            (false, _) => f64::INFINITY,
        };
        if share > self.share || self.compared == 1 {
            (self.share, self.error, self.bound) = (share, error, bound);
        }
        if !is_within {
            self.bad += 1;
            let name = if what.is_empty() { String::new() } else { format!("{what}: ") };
            self.first.get_or_insert_with(|| name + &otherwise());
        }
    }

    /// What is wrong, if anything: the first bad value, and how many there are.
    ///
    /// # Errors
    /// That text.
    pub fn result(&self) -> Result<(), String> {
        match &self.first {
            None => Ok(()),
            Some(first) => Err(format!("{} of {} elements differ; the first {first}", self.bad, self.compared)),
        }
    }
}

/// Normalized mean square error of `actual`, summed in f64.
pub fn nmse(expected: &[f32], actual: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let error: f64 = expected.iter().zip(actual).map(|(&e, &a)| square(f64::from(e) - f64::from(a))).sum();
    let size: f64 = expected.iter().map(|&e| square(f64::from(e))).sum();
    if error == 0.0 { 0.0 } else { error / size }
}

/// Gate for f32 products: the noise of a sequential f32 sum is below 1e-12.
pub const MAX_NMSE: f64 = 1e-10;

/// Bound of `rms_norm` of one row whose elements may be off by `x_bound`. The sum of squares goes through
/// `width / threads` additions and a tree; the root halves its relative error; root, division and three products round.
pub fn norm(x: &[f32], x_bound: &[f64], y: &[f32], weight: impl Fn(usize) -> f32, eps: f32, threads: u32) -> Vec<f64> {
    let abs = |v: f32| f64::from(v).abs();
    // More than 256 lanes add up 32 columns of 32 in sequence, not as trees.
    let tree = if threads > 256 { 64.0 } else { f64::from(threads).log2() };
    let additions = x.len().div_ceil(threads.min(256) as usize) as f64 + tree;
    let squares: f64 = x.iter().map(|&v| abs(v) * abs(v)).sum();
    let root = (squares / x.len() as f64 + f64::from(eps)).sqrt();
    let shift: f64 = x.iter().zip(x_bound).map(|(&v, t)| abs(v) * t).sum::<f64>() / squares.max(1e-30);
    let relative = additions * EPS / 2.0 + 8.0 * EPS + shift;
    (0..x.len())
        .map(|i| abs(y[i]) * relative + abs(weight(i)) / root * x_bound[i] + f64::from(f32::MIN_POSITIVE))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_keeps_the_worst_and_the_first() {
        let mut measure = Measure::default();
        measure.close("a", &[1.0, 2.0, 4.0], &[1.0, 2.5, 4.25], |_| 0.5);
        assert_eq!((measure.compared, measure.bad, measure.share, measure.error), (3, 0, 1.0, 0.5));
        assert_eq!(measure.result(), Ok(()));
        measure.close("b", &[1.0, 1.0], &[3.0, 9.0], |_| 1.0);
        assert_eq!((measure.bad, measure.share, measure.error, measure.bound), (2, 8.0, 8.0, 1.0));
        let text = measure.result().expect_err("two are off");
        assert_eq!(text, "2 of 5 elements differ; the first b: at 0: expected 1e0, actual 3e0, tolerance 1e0");
    }

    #[test]
    fn nothing_but_a_number_within_its_bound_passes() {
        let is_bad = |expected: f32, actual: f32, bound: f64| {
            let mut measure = Measure::default();
            measure.close("", &[expected], &[actual], |_| bound);
            measure.result().is_err()
        };
        assert!(is_bad(1.0, f32::NAN, 1e30) && is_bad(f32::NAN, 1.0, 1e30) && is_bad(1.0, f32::INFINITY, 1e30));
        assert!(is_bad(f32::INFINITY, 1.0, f64::INFINITY).eq(&false), "an unbounded error is no error");
        assert!(!is_bad(f32::NAN, f32::NAN, 0.0) && !is_bad(0.0, -0.0, 0.0) && is_bad(1.0, 1.5, 0.0));
        let mut measure = Measure::default();
        measure.exact("", &[1.0], &[]);
        measure.words("", &[1, 2], &[1, 3]);
        assert_eq!((measure.bad, measure.share), (2, f64::INFINITY));
    }
}
