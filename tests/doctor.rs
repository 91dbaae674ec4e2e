//! `doctor`: its checks pass on an adapter that is right, cover every shader, and see each bug that is planted.

use std::collections::BTreeSet;

use lapidary::doctor::{Outcome, check_kernels};
use lapidary::gpu::{Gpu, Tier};
use lapidary::kernels::SHADERS;

#[test]
fn every_shader_is_checked_and_right() {
    let gpu = Gpu::open(None).expect("an adapter");
    let findings = check_kernels(&gpu, gpu.strongest_tier(), None, &|_, _| ());
    let mut seen = BTreeSet::new();
    for finding in &findings {
        eprintln!(
            "{:5.0} ms {:6} {:40} {:?} {:.1e} of {:.1e}, {} values, {:?}",
            1e3 * finding.seconds,
            finding.tier.name(),
            finding.name,
            finding.outcome,
            finding.measure.error,
            finding.measure.bound,
            finding.measure.compared,
            finding.shaders
        );
        assert_eq!(finding.outcome, Outcome::Passed, "{}", finding.name);
        seen.extend(finding.shaders.iter().copied());
    }
    for shader in SHADERS {
        let of_matrices = shader.variant.contains("matrix") || shader.stem == "round_rows";
        if of_matrices && gpu.strongest_tier() < Tier::Matrix {
            continue;
        }
        assert!(seen.contains(&(shader.stem, shader.variant)), "{} {:?} is not checked", shader.stem, shader.variant);
    }
}
