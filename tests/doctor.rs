//! `doctor`: its checks pass on an adapter that is right, cover every shader, and see each bug that is planted.

use std::collections::BTreeSet;

use lapidary::doctor::workbench::Bug;
use lapidary::doctor::{Examination, Outcome, Report};
use lapidary::gpu::{Gpu, Mask, Tier};
use lapidary::kernels::SHADERS;

/// Examines kernels alone.
fn examine(without: &str, bug: Option<Bug>) -> Report {
    let without: Mask = without.parse().expect("a mask");
    let open = |without: &Mask| Gpu::open_without(None, 0, without);
    let examination =
        Examination { open: &open, without, most: Tier::Matrix, cache: None, demo: None, bug, progress: &|_, _| () };
    examination.run().expect("an adapter")
}

/// As the device runs them, and where it computes on the CPU also as GPUs do.
#[test]
fn every_shader_is_checked_and_right() {
    let (mut seen, mut has_matrices) = (BTreeSet::new(), false);
    for without in ["", "cpu-kernels"] {
        let report = examine(without, None);
        has_matrices |= !report.adapter.matrices.is_empty();
        assert_eq!((report.rounds.len(), report.is_bad()), (1, false), "{:?}", report.rounds[0].failures().next());
        for finding in &report.rounds[0].findings {
            let (ms, m) = (1e3 * finding.seconds, &finding.measure);
            eprintln!("{ms:5.0} ms {:6} {:40} {:.1e} of {:.1e}", finding.tier.name(), finding.name, m.error, m.bound);
            assert_eq!(finding.outcome, Outcome::Passed, "{}", finding.name);
            seen.extend(finding.shaders.iter().copied());
        }
    }
    for shader in SHADERS {
        let of_matrices = shader.variant.contains("matrix") || shader.stem == "round_rows";
        let seen = seen.contains(&(shader.stem, shader.variant));
        assert!(seen || (of_matrices && !has_matrices), "{} {:?} is not checked", shader.stem, shader.variant);
    }
}
