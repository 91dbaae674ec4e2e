//! Prints the portable shader texts as JSON: those that browsers could run, each with sets of values of its constants.
//!   cargo run --example wgsl
#![expect(clippy::unwrap_used, reason = "for tests")]

#[path = "../shaders/constants.rs"]
mod constants;
#[path = "../shaders/texts.rs"]
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use constants::{combinations, is_possible};
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

/// Sets of values in which each value of each constant stands once at least.
fn few_sets(all: BTreeSet<Vec<(String, u32)>>) -> Vec<BTreeMap<String, u32>> {
    let mut seen = BTreeSet::new();
    let possible = all.into_iter().filter(|set| is_possible(set));
    // A set without constants is one too.
    let is_new =
        |set: &Vec<(String, u32)>| set.iter().filter(|pair| seen.insert((*pair).clone())).count() > 0 || set.is_empty();
    possible.filter(is_new).map(|set| set.into_iter().collect()).collect()
}

fn main() {
    let of = |text: &Text| {
        let module = parse(text);
        let info = validate(text, &module);
        let is_used = |handle: naga::Handle<naga::GlobalVariable>| !info.get_entry_point(0)[handle].is_empty();
        let storage = |variable: &naga::GlobalVariable| matches!(variable.space, naga::AddressSpace::Storage { .. });
        let buffers = module.global_variables.iter().filter(|(handle, v)| storage(v) && is_used(*handle)).count();
        let constants = few_sets(combinations(&module));
        json!({
            "name": name(text), "wgsl": portable(text), "features": features(text), "buffers": buffers,
            "constants": constants,
        })
    };
    let all: Vec<_> = texts().filter(|text| !has_matrices(text)).map(|text| of(&text)).collect();
    println!("{}", serde_json::to_string(&all).unwrap());
}
