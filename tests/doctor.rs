//! `doctor`: its checks pass on an adapter that is right, cover every shader, and see each bug that is planted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use lapidary::doctor::bounds::Measure;
use lapidary::doctor::checks::CHECKS;
use lapidary::doctor::workbench::{Bug, Workbench};
use lapidary::doctor::{Examination, Outcome, Record, Report, Stage, Start, Watch, open_checked};
use lapidary::gpu::{Gpu, Mask, Tier, Tiers};
use lapidary::kernels::SHADERS;

/// Examines kernels alone.
fn examine(without: &str, brief: bool, bug: Option<Bug>) -> Report {
    let without: Mask = without.parse().expect("a mask");
    let open = |without: &Mask| Gpu::open_without(None, 0, without);
    let examination = Examination {
        open: &open,
        without,
        most: Tier::Matrix,
        brief,
        cache: None,
        demo: None,
        bug,
        one_by_one: false,
        progress: &|_, _| (),
        watch: &|_, _| (),
    };
    examination.run().expect("an adapter")
}

/// For each check a bug that it must see, also in its short form.
const BUGS: &[(&str, Tier, &str, &str)] = &[
    ("quantized products, few rows", Tier::Plain, "params.groups - 1u)", "max(params.groups, 2u) - 2u)"),
    ("dense products, few rows", Tier::Plain, "LANES + i * LANES < n_places", "LANES + i * LANES + 1u < n_places"),
    ("quantized products, many rows", Tier::Plain, "vec4(0u, 4u, 8u, 12u)", "vec4(4u, 0u, 12u, 8u)"),
    ("dense products, many rows", Tier::Plain, "packed >> vec4(16u)", "packed & vec4(0xffffu)"),
    ("gated product", Tier::Plain, "gelu(sums[r]) * sums[r + n_outputs]", "sums[r] * gelu(sums[r + n_outputs])"),
    ("gated products of experts", Tier::Plain, "ids[p] - params.first_matrix;", "(ids[p] + 1u) % 3u;"),
    ("sums of experts", Tier::Plain, "factor *= factor_of(slot);", "factor *= factor_of(p * SLOTS);"),
    ("grouped experts", Tier::Plain, "Tile(matrix, tile.y, tile.z)", "Tile(matrix, tile.y, tile.z - 1u)"),
    ("grouped dense experts", Tier::Plain, "packed >> vec4(16u)", "packed & vec4(0xffffu)"),
    ("groups of rows", Tier::Plain, "l < lane)", "l <= lane)"),
    ("sums of grouped experts", Tier::Plain, "weights[slot] * products", "weights[s] * products"),
    ("router", Tier::Plain, "expert_scales[e];", "expert_scales[slot];"),
    ("rms_norm", Tier::Plain, "params.weight * quads", "0u * quads"),
    ("add_norm", Tier::Plain, "params.post * quads", "params.pre * quads"),
    ("moe_combine", Tier::Plain, "rms_factor(both.y)", "rms_factor(both.x)"),
    ("per-layer inputs", Tier::Plain, "0.70710678118654752", "0.7071"),
    ("gelu_mul", Tier::Plain, "0.044715", "0.0447"),
    (
        "attention, few rows, f32 cache",
        Tier::Plain,
        "max(position + 1u, window) - window",
        "max(position, window) - window",
    ),
    (
        "attention, few rows, f16 cache",
        Tier::Plain,
        "half_pair(lo.zw), half_pair(hi.xy)",
        "half_pair(hi.xy), half_pair(lo.zw)",
    ),
    ("attention, few rows, int8 cache", Tier::Plain, "packed.b[o / 4u % 4u]", "packed.b[0]"),
    ("attention, many rows, f32 cache", Tier::Plain, "position + 1u);", "position);"),
    ("attention, many rows, f16 cache", Tier::Plain, "segment = last + 1u;", "segment = end_row;"),
    ("attention, many rows, int8 cache", Tier::Plain, "+ params.rotary_offset;", ";"),
    ("ring of keys and values", Tier::Plain, "row.position % params.capacity", "row.position"),
    ("embedding", Tier::Plain, "let row = token - params.first_token;", "let row = token;"),
    ("capped logits", Tier::Plain, "if params.softcap == 0.0", "if true"),
    ("chosen rows", Tier::Plain, "chosen[group.y] *", "min(chosen[group.y], group.y) *"),
    ("greedy choice", Tier::Plain, "let closer = b.index <", "let closer = b.index >"),
    ("drawn choice", Tier::Plain, "draw.random * kept", "draw.random * total"),
    ("suppressed ids", Tier::Plain, "suppressed[lane] < params.width", "suppressed[lane] < params.stride"),
    ("made-up weights, copies", Tier::Plain, "pcg(params.seed + i)", "pcg(i)"),
    ("values that are no numbers", Tier::Plain, "words[i] & 0x7f800000u", "words[i] & 0x3f800000u"),
    ("quantized products in subgroups", Tier::Dot, "params.groups - 1u)", "max(params.groups, 2u) - 2u)"),
    ("dense products in subgroups", Tier::Dot, "LANES + i * LANES < n_places", "LANES + i * LANES + 1u < n_places"),
    ("rms_norm in subgroups", Tier::Dot, "params.weight * quads", "0u * quads"),
    ("add_norm in subgroups", Tier::Dot, "params.post * quads", "params.pre * quads"),
    ("moe_combine in subgroups", Tier::Dot, "rms_factor(both.y)", "rms_factor(both.x)"),
    ("per-layer inputs in subgroups", Tier::Dot, "0.70710678118654752", "0.7071"),
    ("heads in subgroups", Tier::Dot, "+ params.rotary_offset;", ";"),
    ("int8 products, few rows", Tier::Dot, "dot(sums, c.scales.xy)", "dot(sums, c.scales.xx)"),
    ("int8 products, many rows", Tier::Dot, "quad[block % 4u]", "quad[0]"),
    ("int8 gated product", Tier::Dot, "p < ids[0]", "p + 1u < ids[0]"),
    ("int8 gated products of experts", Tier::Dot, "ids[p] - params.first_matrix;", "(ids[p] + 1u) % 3u;"),
    ("int8 sums of experts", Tier::Dot, "(packed >> vec2(4u))", "(packed >> vec2(0u))"),
    ("int8 grouped experts", Tier::Dot, "if INTERLEAVED {", "if false {"),
    ("router beside products", Tier::Dot, "(group.x - BESIDE + group.z", "(group.x + group.z"),
    ("rms_norm, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("add_norm, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("moe_combine, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("attention, f32 cache, rounded", Tier::Dot, "max(max(m.x, m.y), max(m.z, m.w))", "max(m.x, m.y)"),
    ("attention, f16 cache, rounded", Tier::Dot, "vec4(ia.yw, ib.yw)", "vec4(ib.yw, ia.yw)"),
    ("quantized products of matrices", Tier::Matrix, "factors[row_of[t]]", "factors[row_of[0]]"),
    (
        "dense products of matrices",
        Tier::Matrix,
        "(block % BLOCKS_N * ACROSS + j) * SIDE",
        "(block % BLOCKS_N * ACROSS) * SIDE",
    ),
    ("grouped experts of matrices", Tier::Matrix, "read.packed[i].x >> 16u", "read.packed[i].x >> 12u"),
    ("grouped dense experts of matrices", Tier::Matrix, "factors[row_of[t]]", "factors[row_of[0]]"),
];

#[test]
fn every_check_sees_a_bug() {
    let gpu = Gpu::open(None).expect("an adapter");
    for check in CHECKS {
        let is_of = |(name, tier, ..): &&(&str, Tier, &str, &str)| (*name, *tier) == (check.name, check.tier);
        let &(name, _, from, to) = BUGS.iter().find(is_of).unwrap_or_else(|| panic!("no bug for \"{}\"", check.name));
        assert!(
            SHADERS.iter().any(|shader| [false, true].iter().any(|&subgroups| shader.wgsl(subgroups).contains(from))),
            "\"{name}\": no shader has \"{from}\""
        );
        if check.tier > gpu.strongest_tier() {
            continue;
        }
        let mut bench = Workbench::new(&gpu, check.tier, Some(Bug { name, from, to }));
        bench.brief = true;
        let mut measure = Measure::default();
        let result = check.run(&bench, &mut measure);
        gpu.check().expect("a bug that breaks no device");
        let seen = result.err().map(|e| e.to_string()).or(measure.result().err());
        println!("{name}: {}", seen.unwrap_or_else(|| panic!("\"{name}\" does not see \"{to}\" for \"{from}\"")));
    }
}

/// As the device runs them, and where it computes on the CPU also as GPUs do.
#[test]
fn every_shader_is_checked_and_right() {
    let (mut seen, mut has_matrices) = (BTreeSet::new(), false);
    for (without, brief) in [("", false), ("cpu-kernels", true)] {
        let report = examine(without, brief, None);
        has_matrices |= !report.adapter.matrices.is_empty();
        assert_eq!((report.rounds.len(), report.is_bad()), (1, false), "{:?}", report.rounds[0].failures().next());
        for finding in &report.rounds[0].findings {
            let (ms, m) = (1e3 * finding.seconds, &finding.measure);
            eprintln!("{ms:5.0} ms {:6} {:40} {:.1e} of {:.1e}", finding.tier.name(), finding.name, m.error, m.bound);
            assert_eq!(finding.outcome, Outcome::Passed, "{}", finding.name);
            seen.extend(finding.shaders.iter().cloned());
        }
    }
    // lavapipe has subgroups; an adapter without them cannot run those variants.
    let has_subgroups = seen.iter().any(|name: &String| name.ends_with("subgroups"));
    for shader in SHADERS {
        let of_matrices = shader.variant.contains("matrix") || shader.stem == "round_rows";
        let name = format!("{} {}", shader.stem, shader.variant).trim_end().to_owned();
        if of_matrices && !has_matrices {
            continue;
        }
        assert!(seen.contains(&name) || seen.contains(&format!("{name} subgroups")), "{name} is not checked");
        if shader.has_subgroups() && has_subgroups {
            assert!(seen.contains(&format!("{name} subgroups")), "{name} is not checked in subgroups");
        }
    }
}

/// Text of the kernels for rounded activations alone, of lanes that add up within subgroups, and of what all kernels have.
const OF_DOT: (&str, &str) = ("dot(sums, c.scales.xy)", "dot(sums, c.scales.xx)");
const SUBGROUP_BUG: (&str, &str) = ("sum += subgroupShuffleXor(sum, mask);", "sum += subgroupShuffleXor(sum, 1u);");
const OF_ALL: (&str, &str) = ("params.weight * quads", "0u * quads");

fn bug((from, to): (&'static str, &'static str)) -> Option<Bug> {
    Some(Bug { name: from, from, to })
}

/// A variant that is wrong is found, switched off, and left unused at the next start.
#[test]
fn a_wrong_variant_is_switched_off() {
    let report = examine("", true, bug(OF_DOT));
    assert_eq!((report.switched_off.to_string().as_str(), report.is_bad()), ("dot", false));
    assert_eq!((report.tiers, report.rounds.len()), (Tiers::all(Tier::Plain), 2));
    let (finding, why) = report.rounds[0].failures().next().expect("it is wrong");
    assert!(finding.name.starts_with("int8 ") && why.contains("elements differ"), "{}: {why}", finding.name);
    assert!(report.rounds[1].failures().next().is_none());

    let folder = tempfile::tempdir().expect("a folder");
    Record::new(&report, false).keep(folder.path(), &report);
    let lines = Mutex::new(Vec::new());
    let note = |line| lines.lock().expect("a lock").push(line);
    let open = |without: &Mask| Gpu::open_without(None, 0, without);
    let gpu = open_checked(&open, &Mask::default(), folder.path(), &note).expect("an adapter");
    assert_eq!((gpu.strongest_tier(), gpu.mask().to_string().as_str()), (Tier::Plain, "dot"));
    let lines = lines.into_inner().expect("a lock");
    assert!(lines.len() == 1 && lines[0].contains("is used without dot, which failed a check (\"int8 "), "{lines:?}");
}

/// Says which check a child of [`crashes_are_counted`] is to crash in, and where records are kept.
const CRASH: &str = "LAPIDARY_TEST_CRASH";
const FOLDER: &str = "LAPIDARY_TEST_FOLDER";

/// A start in `folder` that is told of each check; what it noted.
fn start(folder: &Path, watch: &Watch) -> Vec<String> {
    let lines = Mutex::new(Vec::new());
    let note = &|line| lines.lock().expect("a lock").push(line);
    let open = &|without: &Mask| Gpu::open_without(None, 0, without);
    Start { open, without: &Mask::default(), folder, note, watch }.run().expect("an adapter");
    lines.into_inner().expect("a lock")
}

/// Does nothing by itself.
#[test]
#[ignore = "a child of crashes_are_counted"]
fn a_start_that_crashes() {
    let (Ok(check), Some(folder)) = (std::env::var(CRASH), std::env::var_os(FOLDER)) else { return };
    let crash = |name: &str, stage| {
        if name == check && stage == Stage::Begins {
            std::process::abort();
        }
    };
    start(Path::new(&folder), &crash);
}

/// A driver that takes the program down: only the check that did so twice is named, and nothing is run again until `doctor`
/// has.
#[test]
fn crashes_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let crash = |check: &str| {
        let mut child = Command::new(std::env::current_exe().expect("this test"));
        child.args(["--exact", "a_start_that_crashes", "--ignored"]).env(CRASH, check).env(FOLDER, folder.path());
        let output = child.output().expect("a child");
        assert!(!output.status.success() && output.status.code() != Some(101), "{output:?}");
    };
    let quiet: &Watch = &|_, _| ();
    let (one, other) = (CHECKS[0].name, "suppressed ids");
    crash(one);
    crash(other);
    // Two starts ended, each in another check, and the third checks them one by one.
    let under_way = Mutex::new((0, 0));
    let count = |_: &str, stage| {
        let (now, most) = &mut *under_way.lock().expect("a lock");
        *now = if stage == Stage::Begins { *now + 1 } else { *now - 1 };
        *most = *now.max(most);
    };
    let lines = start(folder.path(), &count);
    assert!(
        lines.len() == 1 && lines[0].starts_with("first start on ") && lines[0].contains("all passed"),
        "{lines:?}"
    );
    assert_eq!(*under_way.lock().expect("a lock"), (0, 1));

    let gpu = Gpu::open(None).expect("an adapter");
    std::fs::remove_file(Record::path(folder.path(), gpu.adapter(), gpu.kind())).expect("a record");
    crash(one);
    crash(one);
    let why = format!(
        "is used unchecked: 2 starts ended in the middle of the check \"{one}\"; lapidary doctor runs it again"
    );
    for _ in 0..2 {
        let lines = start(folder.path(), &|name, _| panic!("{name} is run again"));
        assert!(lines.len() == 1 && lines[0].ends_with(&why), "{lines:?}");
    }
    // As doctor keeps it.
    let report = examine("", true, None);
    Record::new(&report, false).keep(folder.path(), &report);
    assert_eq!(start(folder.path(), quiet), [""; 0]);
    std::fs::remove_file(Record::path(folder.path(), gpu.adapter(), gpu.kind())).expect("a record");
    let lines = start(folder.path(), quiet);
    assert!(lines.len() == 1 && lines[0].starts_with("first start on "), "{lines:?}");
}

/// Sums within subgroups are told from what they are a part of.
#[test]
fn wrong_subgroups_are_told_from_wrong_products() {
    let texts: Vec<String> = SHADERS.iter().filter(|s| s.has_subgroups()).map(|s| s.wgsl(true)).collect();
    let from = SUBGROUP_BUG.0;
    assert!(texts.iter().any(|text| text.contains(from)), "no shader has \"{from}\"");
    let report = examine("", true, bug(SUBGROUP_BUG));
    if report.rounds[0].findings.iter().any(|finding| finding.name.ends_with("in subgroups")) {
        assert_eq!((report.switched_off.to_string().as_str(), report.is_bad()), ("subgroups", false));
        assert_eq!(report.adapter.features & wgpu::Features::SUBGROUP, wgpu::Features::empty());
    }
}

/// Nothing is left to switch off but how parameters reach shaders, which does not help.
#[test]
fn wrong_plain_kernels_are_bad() {
    let report = examine("dot", true, bug(OF_ALL));
    assert!(report.is_bad());
    let last = report.rounds.last().expect("a round");
    assert!(last.without.to_string().contains("immediates"), "{}", last.without);
    assert!(last.failures().any(|(finding, _)| finding.name == "rms_norm"));
}
