//! Timestamps: each dispatch of a profile has its label and a time, in one pass and with a pass each.

#![expect(clippy::unwrap_used, reason = "tests")]

use lapidary::gpu::{Gpu, Timestamps};
use lapidary::testing::gpu::{Dispatch, Recorder};
use lapidary::testing::kernels::Planner;
use lapidary::testing::kernels::rows::fill_random;
use lapidary::testing::kernels::rows::fill_random::Bits;

/// Fills of a buffer of its own each.
fn fills(gpu: &Gpu, count: usize) -> Vec<Dispatch> {
    let planner = Planner::new(gpu);
    let planned: Vec<_> = (0..count)
        .map(|i| {
            let buffer = gpu.storage("filled", 64).unwrap();
            fill_random::plan(&planner, &format!("fill.{i}"), &buffer, 1, Bits::ALL).unwrap()
        })
        .collect();
    planner.bind_all(&planned).unwrap()
}

fn record(gpu: &Gpu, dispatches: &[Dispatch]) {
    let mut recorder = Recorder::new(gpu);
    dispatches.iter().for_each(|dispatch| recorder.dispatch(dispatch, 1));
    recorder.submit();
}

#[test]
fn every_dispatch_has_a_time() {
    let gpu = Gpu::open(None).unwrap();
    // More than one set of timestamps holds: 4096.
    let many = fills(&gpu, 4200);
    let best = gpu.timestamps().unwrap();
    let kinds = if best == Timestamps::InPass { vec![best, Timestamps::PassEach] } else { vec![best] };
    for kind in kinds {
        gpu.start_profile(kind).unwrap();
        record(&gpu, &many);
        record(&gpu, &many[..3]);
        let times = gpu.finish_profile().unwrap();
        let expected = (0..4200).chain(0..3).map(|i| format!("fill.{i}"));
        assert!(times.iter().map(|timing| timing.label.to_string()).eq(expected), "{kind:?}: labels in order");
        let total: f64 = times.iter().map(|timing| timing.nanoseconds).sum();
        assert!(total > 0.0 && total < 60e9, "{kind:?}: {total} ns");
    }
    record(&gpu, &many[..1]);
    assert_eq!(gpu.finish_profile().unwrap(), [], "no profile runs any more");
}
