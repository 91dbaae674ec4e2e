//! Comparison with tolerances that follow from lengths and epsilon, one for each element.

/// f32's epsilon: an operation rounds by at most half of it.
pub(crate) const EPS: f64 = f32::EPSILON as f64;

/// What is wrong with `actual`, if anything: index, expected, actual, tolerance, and how many elements are bad.
pub(crate) fn check_close(expected: &[f32], actual: &[f32], tolerance: impl Fn(usize) -> f64) -> Result<(), String> {
    if expected.len() != actual.len() {
        return Err(format!("{} values, expected {}", actual.len(), expected.len()));
    }
    let is_bad = |i: usize| {
        let error = (f64::from(expected[i]) - f64::from(actual[i])).abs();
        let is_within = error <= tolerance(i); // Never with a NaN; equal infinities and NaNs have equal bits.
        !is_within && expected[i].to_bits() != actual[i].to_bits()
    };
    let bad: Vec<usize> = (0..expected.len()).filter(|&i| is_bad(i)).collect();
    let Some(&i) = bad.first() else { return Ok(()) };
    Err(format!(
        "{} of {} elements differ; the first at {i}: expected {:e}, actual {:e}, tolerance {:e}",
        bad.len(),
        expected.len(),
        expected[i],
        actual[i],
        tolerance(i)
    ))
}

pub(crate) fn assert_close(what: &str, expected: &[f32], actual: &[f32], tolerance: impl Fn(usize) -> f64) {
    if let Err(difference) = check_close(expected, actual, tolerance) {
        panic!("{what}: {difference}");
    }
}

/// Equal bit for bit, save that 0 and -0 are the same.
pub(crate) fn check_exact(expected: &[f32], actual: &[f32]) -> Result<(), String> {
    check_close(expected, actual, |_| 0.0)
}

/// Normalized mean square error of `actual`, summed in f64.
pub(crate) fn nmse(expected: &[f32], actual: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let error: f64 = expected.iter().zip(actual).map(|(&e, &a)| square(f64::from(e) - f64::from(a))).sum();
    let size: f64 = expected.iter().map(|&e| square(f64::from(e))).sum();
    if error == 0.0 { 0.0 } else { error / size }
}

/// Gate for f32 products: the noise of a sequential f32 sum is below 1e-12.
pub(crate) const MAX_NMSE: f64 = 1e-10;

/// Tolerance of `rms_norm` of one row whose elements may be off by `x_tolerance`. The sum of squares goes through
/// `width / threads` additions and a tree; the root halves its relative error; root, division and three products round.
pub(crate) fn norm_tolerance(
    (x, x_tolerance): (&[f32], &[f64]),
    y: &[f32],
    weight: impl Fn(usize) -> f32,
    eps: f32,
    threads: u32,
) -> Vec<f64> {
    let abs = |v: f32| f64::from(v).abs();
    // More than 256 lanes add up 32 columns of 32 in sequence, not as trees.
    let tree = if threads > 256 { 64.0 } else { f64::from(threads).log2() };
    let additions = x.len().div_ceil(threads.min(256) as usize) as f64 + tree;
    let squares: f64 = x.iter().map(|&v| abs(v) * abs(v)).sum();
    let root = (squares / x.len() as f64 + f64::from(eps)).sqrt();
    let shift: f64 = x.iter().zip(x_tolerance).map(|(&v, t)| abs(v) * t).sum::<f64>() / squares.max(1e-30);
    let relative = additions * EPS / 2.0 + 8.0 * EPS + shift;
    (0..x.len())
        .map(|i| abs(y[i]) * relative + abs(weight(i)) / root * x_tolerance[i] + f64::from(f32::MIN_POSITIVE))
        .collect()
}
