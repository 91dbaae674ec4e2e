//! Every shader through naga's writers as wgpu calls them: SPIR-V for Vulkan, MSL for Metal, HLSL for DX12, with DXC and with
//! the FXC that Windows has of its own, each with parameters in a uniform buffer and with the commands.

use std::collections::HashSet;

use naga::back::hlsl;
use naga::proc::BoundsCheckPolicy;

use super::planned::{self, PLANNED};
use super::texts::{Case, Text, for_each_text, has_matrices, texts};
use super::writers::{has_immediates, least_model, to_hlsl, to_msl, to_spirv};

const MODELS: [hlsl::ShaderModel; 3] = [hlsl::ShaderModel::V5_1, hlsl::ShaderModel::V6_0, hlsl::ShaderModel::V6_6];

/// Texts with parameters in a uniform buffer, as OpenGL and some weak adapters have them, or all other ones. The former
/// with a check of every index, which kernels of software adapters have and such as follow a request, the latter without.
fn translate(immediates: bool) {
    let policy = if immediates { BoundsCheckPolicy::Unchecked } else { BoundsCheckPolicy::Restrict };
    let (mut count, mut used) = (0, 0);
    for text in texts().map(|text| Text { immediates, ..text }) {
        // Sets of constants that leave the same code, of which one is enough.
        let mut seen = HashSet::new();
        for_each_text(&text, planned::of(&PLANNED, &text), |Case { what, module, info, .. }| {
            count += 1;
            if !seen.insert(to_spirv(what, module, info)) {
                return;
            }
            to_msl(what, module, info, policy);
            // DX12 has no cooperative matrices.
            for model in MODELS.into_iter().filter(|model| !has_matrices(&text) && *model >= least_model(&text)) {
                to_hlsl(what, module, info, model, !immediates);
            }
            // Those that are all constants at last may read none.
            used += usize::from(has_immediates(module) == immediates);
        });
    }
    println!("{count} sets of constants, {used} different texts with parameters");
    assert!(used > 300, "{used} texts: nothing was planned");
}

#[test]
fn translates_with_uniforms() {
    translate(false);
}

#[test]
fn translates_with_immediates() {
    translate(true);
}
