//! Prints the portable shader texts as JSON: those that browsers could run, each with sets of values of its constants.
//!   cargo run --example wgsl
#![expect(clippy::unwrap_used, reason = "for tests")]

#[path = "../fleet/keys.rs"]
mod keys;
#[path = "../shaders/planned.rs"]
mod planned;
#[path = "../shaders/texts.rs"]
mod texts;

use std::collections::BTreeMap;

use lapidary::gpu::Kind;
use lapidary::testing::gpu::Imagined;
use serde_json::json;
use texts::{Text, has_matrices, name, parse, texts, validate};

/// WGSL as browsers want it: naga has subgroups without a line that says so, and does not know the line.
fn portable(text: &Text) -> String {
    if text.subgroups { format!("enable subgroups;\n{}", text.wgsl()) } else { text.wgsl() }
}

fn features(text: &Text) -> Vec<&'static str> {
    let f16 = text.wgsl().starts_with("enable f16;").then_some("shader-f16");
    f16.into_iter().chain(text.subgroups.then_some("subgroups")).collect()
}

/// What presets make of devices as browsers show them, with every table of tunings.
fn browsers() -> planned::All {
    // What the largest devices have; kernels of matrices are left out, but not what prepares their input.
    let large = Imagined { immediate_bytes: 64, matrix_side: Some(16), threads: 256, ..Imagined::default() };
    planned::plan(&[Imagined::FLOOR, planned::BROWSER, large], &Kind::ALL)
}

fn main() {
    let planned = browsers();
    let of = |text: &Text| {
        let module = parse(text);
        let info = validate(text, &module);
        let is_used = |handle: naga::Handle<naga::GlobalVariable>| !info.get_entry_point(0)[handle].is_empty();
        let storage = |variable: &naga::GlobalVariable| matches!(variable.space, naga::AddressSpace::Storage { .. });
        let buffers = module.global_variables.iter().filter(|(handle, v)| storage(v) && is_used(*handle)).count();
        let sets = planned::of(&planned, text);
        let constants: Vec<BTreeMap<_, _>> = sets.iter().map(|one| one.constants.iter().copied().collect()).collect();
        json!({
            "name": name(text), "wgsl": portable(text), "features": features(text), "buffers": buffers,
            "constants": constants,
        })
    };
    let all: Vec<_> = texts().filter(|text| !has_matrices(text)).map(|text| of(&text)).collect();
    println!("{}", serde_json::to_string(&all).unwrap());
}
