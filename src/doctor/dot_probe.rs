//! Whether integer dot products are fast: wgpu cannot be asked, and emulates `dot4I8Packed` where a device has no such
//! instruction. A product of each kind is timed, in int8 and in f32.

use serde::{Deserialize, Serialize};
use web_time::Instant;

use crate::Result;
use crate::gpu::{Dispatch, Gpu, Recorder, Tensor, Tier, Tiers};
use crate::kernels::product::{self, Product, Rows};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::rounding::int8_by_16::Input;
use crate::kernels::{Planned, Planner, Weights};
use crate::quant::Format;

/// Seconds of a product in int8 and in f32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// In int8; of many rows, rounding included.
    pub dot: f64,
    /// In f32.
    pub plain: f64,
}

/// What the probe has measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DotTimes {
    /// Of one row.
    pub few: Race,
    /// Of many rows, `None` where cooperative matrices multiply these.
    pub many: Option<Race>,
}

impl Race {
    /// The tier for such products of a device that has `most`.
    fn tier(self, most: Tier) -> Tier {
        if self.dot < self.plain { most } else { Tier::Plain }
    }

    /// Whether a device may have taken so long: a clock that stands still measures nothing.
    fn is_likely(self) -> bool {
        [self.dot, self.plain].iter().all(|seconds| (SHORTEST..=LONGEST).contains(seconds))
    }
}

impl DotTimes {
    /// Whether a device may have taken so long.
    pub(super) fn is_likely(self) -> bool {
        self.few.is_likely() && self.many.is_none_or(Race::is_likely)
    }

    /// What suits a device whose strongest tier is `most`: the plain one where int8 is not faster.
    pub fn tiers(&self, most: Tier) -> Tiers {
        Tiers { few: self.few.tier(most), many: self.many.map_or(most, |race| race.tier(most)) }
    }
}

/// Seconds of such a product: no device is faster, and none that is slower would have come this far.
const SHORTEST: f64 = 1e-9;
const LONGEST: f64 = 1e3;

/// Shapes as in a model: codes that no small cache holds, and enough rows for tiles.
const IN_FEATURES: usize = 4096;
const FEW_FEATURES: usize = 16384;
const MANY_FEATURES: usize = 2048;
const MANY_ROWS: usize = 64;
/// Seconds that a product may be repeated for, and how often at most.
const BUDGET: f64 = 6e-3;
const MOST_REPEATS: usize = 16;

/// Times both kinds of products on `gpu`; `None` where there is nothing to choose: on software adapters, and without the
/// tier. Takes less than 100 ms on a GPU, pipelines apart.
///
/// # Errors
/// Those of the device.
pub fn probe(gpu: &Gpu) -> Result<Option<DotTimes>> {
    if gpu.default_tier() < Tier::Dot {
        return Ok(None);
    }
    let before = gpu.allocated_bytes();
    let few = race(gpu, 1, FEW_FEATURES)?;
    let many = if gpu.matrix_side().is_none() { Some(race(gpu, MANY_ROWS, MANY_FEATURES)?) } else { None };
    gpu.forget_bytes(gpu.allocated_bytes() - before);
    // Timestamps that stand still or run backwards decide nothing.
    Ok(Some(DotTimes { few, many }).filter(|times| times.is_likely()))
}

fn race(gpu: &Gpu, n_rows: usize, out_features: usize) -> Result<Race> {
    let kind = Format::int(4, 128);
    let shape = [1, out_features, IN_FEATURES];
    let weights = Weights::random(&Planner::new(gpu), "probe", shape, kind, gpu.max_binding_bytes())?;
    let x = Tensor::new(gpu, "probe.x", n_rows, IN_FEATURES)?;
    let y = Tensor::new(gpu, "probe.y", n_rows, out_features)?;
    let words = int8_by_16::tensor(gpu, "probe.rounded", n_rows, IN_FEATURES)?;
    let count = Tensor::compact(gpu, "probe.count", 1, 1)?;
    gpu.write(&count.buffer, 0, &[n_rows as u32])?;
    let rows = if n_rows == 1 { Rows::Few } else { Rows::Many(&count) };
    let time = |planner: &Planner| -> Result<f64> {
        let input = Input { x: &x, rounded: Some(&words) };
        let planned = product::plan(planner, "probe", &Product::new(&weights, rows, input, &y))?;
        time(planner, &planned, n_rows)
    };
    // Few rows add up within subgroups in either case, as they would beside other kernels.
    let f32_only = Tiers { few: Tier::Plain, many: if n_rows == 1 { Tier::Dot } else { Tier::Plain } };
    Ok(Race {
        dot: time(&Planner::new(gpu).with_tier(Tier::Dot))?,
        plain: time(&Planner::new(gpu).with_tiers(f32_only))?,
    })
}

/// Seconds of `planned`, the fastest of some runs behind one that does not count.
fn time(planner: &Planner, planned: &[Planned], n_rows: usize) -> Result<f64> {
    let gpu = planner.gpu;
    let dispatches = planner.bind_all(planned)?;
    run(gpu, &dispatches, n_rows, 1)?;
    let once = run(gpu, &dispatches, n_rows, 1)?.max(1e-6);
    let repeats = ((BUDGET / once) as usize).clamp(1, MOST_REPEATS);
    let mut best = once;
    for _ in 0..3 {
        best = best.min(run(gpu, &dispatches, n_rows, repeats)?);
    }
    Ok(best)
}

/// Seconds of one of `repeats` runs in a submission: by timestamps where the device has them, else by the clock.
fn run(gpu: &Gpu, dispatches: &[Dispatch], n_rows: usize, repeats: usize) -> Result<f64> {
    let profiled = match gpu.timestamps() {
        Ok(kind) => {
            gpu.start_profile(kind)?;
            true
        }
        Err(_) => false,
    };
    let start = Instant::now();
    let mut recorder = Recorder::new(gpu);
    for dispatch in (0..repeats).flat_map(|_| dispatches) {
        recorder.dispatch(dispatch, n_rows);
    }
    recorder.submit();
    let nanoseconds: f64 = match profiled {
        true => gpu.finish_profile()?.iter().map(|timing| timing.nanoseconds).sum(),
        false => {
            gpu.wait()?;
            start.elapsed().as_secs_f64() * 1e9
        }
    };
    Ok(nanoseconds * 1e-9 / repeats as f64)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SLOW: Race = Race { dot: 3e-5, plain: 2e-5 };
    const FAST: Race = Race { dot: 2e-5, plain: 3e-5 };

    #[test]
    fn int8_is_taken_where_it_is_faster() {
        let tiers = |few, many, most| DotTimes { few, many }.tiers(most);
        assert_eq!(tiers(FAST, Some(FAST), Tier::Dot), Tiers::all(Tier::Dot));
        assert_eq!(tiers(SLOW, Some(FAST), Tier::Dot), Tiers { few: Tier::Plain, many: Tier::Dot });
        assert_eq!(tiers(SLOW, Some(SLOW), Tier::Dot), Tiers::all(Tier::Plain));
        assert_eq!(tiers(FAST, Some(SLOW), Tier::Dot), Tiers { few: Tier::Dot, many: Tier::Plain });
        // Matrices multiply many rows, however fast dot products are.
        assert_eq!(tiers(SLOW, None, Tier::Matrix), Tiers { few: Tier::Plain, many: Tier::Matrix });
        assert_eq!(tiers(FAST, None, Tier::Matrix), Tiers::all(Tier::Matrix));
        // Neither is better: the exact one.
        assert_eq!(tiers(Race { dot: 1e-5, plain: 1e-5 }, None, Tier::Matrix).few, Tier::Plain);
    }

    /// Kernels of GPUs run on any adapter; nothing is said about the times.
    #[test]
    fn software_adapters_are_not_probed() {
        let gpu = Gpu::open(None).unwrap();
        let before = gpu.allocated_bytes();
        let times = probe(&gpu).unwrap();
        assert_eq!(times.is_none(), gpu.default_tier() == Tier::Plain);
        assert_eq!(gpu.allocated_bytes(), before);
        let race = race(&gpu, 3, 64).unwrap();
        assert!(race.dot > 0.0 && race.plain > 0.0, "{race:?}");
    }
}
