//! What tests/fleet.sh compiles, and how it compares: what is planned is what a model compiles, and what is worse than recorded
//! is seen.
#![expect(clippy::unwrap_used, reason = "for tests")]

#[path = "common/device.rs"]
mod device;
#[path = "fleet/expected.rs"]
mod expected;
#[path = "fleet/gpus.rs"]
mod gpus;
#[path = "fleet/keys.rs"]
mod keys;
#[path = "fleet/results.rs"]
mod results;
#[path = "fleet/statistics.rs"]
mod statistics;
#[path = "fleet/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use expected::Expected;
use keys::Keys;
use lapidary::gemma4::{Config, Cut, LayerKind};
use lapidary::gpu::{Gpu, Kind};
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, Options, Precision, Row, Want};
use lapidary::testing::gpu::{Imagined, PipelineKey};
use results::{Compiled, Results};
use serde_json::json;

/// A real model compiles what was planned for it, and nothing more in any step.
#[test]
fn models_compile_what_is_planned() {
    let mut kinds = BTreeSet::new();
    for (name, layers, experts) in [("26b-a4b", 2, Some(8)), ("e2b", 2, None)] {
        let config = Config::preset(name, Cut { layers: Some(layers), experts, vocab: Some(600) }).unwrap();
        for (precision, kv, mask) in
            [(Precision::Fast, KvDtype::F16, "cpu-kernels"), (Precision::Exact, KvDtype::F32, "")]
        {
            let options =
                Options { precision, kv: Some(kv), head: Head::Int8, context: Some(64), slots: 2, ..Options::exact() };
            let gpu = device::open_without(&mask.parse().unwrap());
            kinds.insert(gpu.kind());
            let mut planned = Keys::new();
            keys::add(&mut planned, &Arc::new(device::open_without(gpu.mask())), &config, None, &options);
            let planned: BTreeSet<String> = planned.into_keys().collect();
            let mut model = Gemma4::synthetic(gpu, config.clone(), &options, &|_| ()).unwrap();
            run(&mut model);
            let compiled: BTreeSet<String> =
                lapidary::testing::gpu::pipeline_keys(model.gpu()).iter().map(keys::name).collect();
            // Its weights are made where they lie.
            let more: Vec<&String> = compiled.difference(&planned).collect();
            assert_eq!(more, ["fill_random"], "{name} {precision:?}: compiled, but not planned");
            assert_eq!(compiled.len(), planned.len() + 1, "{name} {precision:?}: planned, but not compiled");
        }
    }
    assert!(kinds.len() == 2 || !kinds.contains(&Kind::Cpu), "{kinds:?}: with both tables of a software adapter");
}

/// Steps of each kind: one row, two, several, many.
fn run(model: &mut Gemma4) {
    for (start, rows) in [(0, 1), (1, 2), (3, 5), (8, 40)] {
        let rows: Vec<Row> = (start..start + rows).map(|position| Row { slot: 0, position, token: 7 }).collect();
        let all: Vec<usize> = (0..rows.len().min(3)).collect();
        model.step(&rows, if start == 3 { Want::Logits(&all) } else { Want::Greedy(&all) }).unwrap();
    }
}

/// Caches and heads do not meet in a kernel: all pairs of them make nothing that [`keys::choices`] does not.
#[test]
fn choices_leave_nothing_out() {
    let gpu = Arc::new(Imagined { matrix_side: Some(16), ..Imagined::default() }.open().unwrap());
    let known = keys::planned(&gpu, None);
    let mut all = Keys::new();
    for config in Config::presets().map(keys::short) {
        for options in keys::choices(&gpu) {
            for head in [Head::Keep, Head::Int8, Head::Int4] {
                keys::add(&mut all, &gpu, &config, None, &Options { head, ..options.clone() });
            }
            // A cache that is there at once is as large as it ever becomes.
            keys::add(&mut all, &gpu, &config, None, &Options { memory: Some(1 << 50), slots: 3, ..options.clone() });
        }
    }
    let unknown: Vec<&String> = all.keys().filter(|name| !known.contains_key(*name)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    assert!(known.values().any(|used| used.decodes) && known.values().any(|used| !used.decodes));
}

/// The cuts of presets have every sort of layer, and attention of each width in each cache.
#[test]
fn every_sort_of_layer_is_there() {
    let layers: Vec<_> = Config::presets().flat_map(|name| keys::short(name).layers).collect();
    assert!([LayerKind::Sliding, LayerKind::Full].iter().all(|kind| layers.iter().any(|layer| layer.kind == *kind)));
    assert!(layers.iter().any(|layer| layer.k_eq_v) && layers.iter().any(|layer| layer.kv_source.is_some()));
    let gpu = Arc::new(Gpu::imagined().unwrap());
    let keys = keys::planned(&gpu, None);
    let value = |key: &PipelineKey, wanted: &str| key.constants.iter().find(|(name, _)| *name == wanted).map(|c| c.1);
    let attention = keys.values().map(|used| &used.key).filter(|key| key.stem == "attention");
    let met: BTreeSet<_> = attention.map(|key| (value(key, "HEAD_DIM"), value(key, "KV_DTYPE"))).collect();
    for head_dim in [256, 512] {
        for kv in 0..3 {
            assert!(met.contains(&(Some(head_dim), Some(kv))), "heads of {head_dim}, cache {kv}: {met:?}");
        }
    }
}

fn pipeline(kernel: &str, executable: serde_json::Value) -> Compiled {
    Compiled {
        name: format!("{kernel} WIDTH=1"),
        kernel: kernel.to_owned(),
        decodes: [("rdna".to_owned(), true)].into(),
        workgroup_bytes: 0,
        fault: None,
        ms: 1.0,
        executables: json!([executable]),
    }
}

fn results(pipelines: Vec<Compiled>) -> Results {
    let driver = "radv Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)".to_owned();
    Results { gpu: "gfx1100".into(), device: "a card".into(), driver, table: "rdna".into(), pipelines }
}

fn amd(spilled: u32, waves: u32, lanes: u32) -> serde_json::Value {
    json!({ "Subgroup size": lanes, "VGPRs": 96, "Spilled VGPRs": spilled, "Scratch size": 0, "Subgroups per SIMD": waves })
}

#[test]
fn what_is_worse_than_recorded_is_a_fault() {
    let recorded = results(vec![pipeline("matvec", amd(4, 10, 32))]);
    let mut expected = Expected::default();
    expected.record(&recorded);
    let compare = |pipelines| expected.compare(&results(pipelines));
    assert_eq!(compare(recorded.pipelines.clone()), expected::Findings::default());
    for (worse, what) in [
        (amd(5, 10, 32), "5 spills, recorded 4"),
        (amd(4, 9, 32), "9 waves, recorded 10"),
        (amd(4, 10, 16), "16 lanes, recorded 32"),
    ] {
        let found = compare(vec![pipeline("matvec", worse.clone())]);
        assert!(found.faults.len() == 1 && found.faults[0].contains(what), "{found:?}");
        // Also where one of two pipelines alone is worse.
        let found = compare(vec![pipeline("matvec", amd(4, 10, 32)), pipeline("matvec", worse)]);
        assert!(found.faults.len() == 1 && found.faults[0].contains(what), "{found:?}");
    }
    let found = compare(vec![pipeline("matvec", amd(0, 12, 32))]);
    assert_eq!((found.faults.len(), found.gains.len()), (0, 2), "{found:?}");
    let found = compare(vec![pipeline("matvec", amd(4, 10, 32)), pipeline("embed", amd(0, 10, 32))]);
    assert!(found.faults.len() == 1 && found.faults[0].contains("nothing is recorded"), "{found:?}");
    let rejected = Compiled { fault: Some("no".into()), ..pipeline("matvec", serde_json::Value::Null) };
    let found = compare(vec![rejected]);
    assert!(found.faults.len() == 1 && found.faults[0].contains("was rejected: no"), "{found:?}");
    // Another compiler's figures say nothing about these.
    let newer = Results { driver: "radv Mesa 26.2.6-1".into(), ..results(vec![pipeline("matvec", amd(9, 1, 32))]) };
    let found = expected.compare(&newer);
    assert_eq!((found.faults.len(), found.gains.len()), (0, 1), "{found:?}");
}

/// What is recorded can be read again, and says what the musts say.
#[test]
fn the_file_is_read_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("expected.json");
    let found = results(vec![pipeline("matvec", amd(4, 10, 32)), pipeline("embed", amd(0, 6, 32))]);
    let mut expected = Expected::default();
    expected.record(&found);
    expected.write(&path);
    assert_eq!(Expected::read(&path).compare(&found), expected::Findings::default());
    // So is what one run leaves for the next.
    found.write(&path);
    assert_eq!(expected.compare(&Results::read(&path)), expected::Findings::default());
    let missed = tables::missed(&found);
    assert!(missed.len() == 2 && missed[0].contains("6 waves of 8") && missed[1].contains("4 spills"), "{missed:?}");
    let recorded = Expected::read("tests/fleet/expected.json".as_ref());
    assert!(gpus::FLEET.iter().all(|member| recorded.gpus.contains_key(member.name)), "every GPU is recorded");
}

/// The words of each vendor's driver.
#[test]
fn figures_of_all_drivers_are_read() {
    let of = |executable: serde_json::Value| statistics::Figures::of(&json!([executable]));
    let intel = of(json!({
        "Subgroup size": 16, "Spills": 3, "Fills": 4, "Scratch Memory Size": 1024, "Max dispatch width": 16,
        "Max live registers": 90, "GRF registers": 0
    }));
    assert_eq!((intel.spills, intel.scratch, intel.registers, intel.waves, intel.width), (7, 1024, 90, None, 16));
    let adreno = of(json!({
        "Subgroup size": 128, "Max Waves Per Core": 12, "Registers used": 8, "STP Count": 1, "LDP Count": 2
    }));
    assert_eq!((adreno.spills, adreno.registers, adreno.waves, adreno.width), (3, 8, Some(12), 128));
    let apple = of(json!({ "Subgroup size": 32, "GPRs": 104, "Scratch": 0, "Threads": 896, "Spills": 0, "Fills": 0 }));
    assert_eq!((apple.spills, apple.registers, apple.waves, apple.width), (0, 104, Some(28), 32));
    let both: BTreeMap<_, _> =
        results(vec![pipeline("x", amd(1, 9, 64)), pipeline("x", amd(0, 8, 64))]).kernels("rdna");
    let worst = both.values().next().unwrap();
    assert_eq!((worst.figures.spills, worst.figures.waves, worst.worst.as_str()), (1, Some(8), "x WIDTH=1"));
}
