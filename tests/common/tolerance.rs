//! Comparison with tolerances that follow from lengths and epsilon, one for each element: what `doctor` measures with, as
//! assertions.

use lapidary::testing::bounds::Measure;
pub(crate) use lapidary::testing::bounds::{EPS, MAX_NMSE, nmse, norm as norm_tolerance};

/// What is wrong with `actual`, if anything: index, expected, actual, tolerance, and how many elements are bad.
pub(crate) fn check_close(expected: &[f32], actual: &[f32], tolerance: impl Fn(usize) -> f64) -> Result<(), String> {
    let mut measure = Measure::default();
    measure.close("", expected, actual, tolerance);
    measure.result()
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
