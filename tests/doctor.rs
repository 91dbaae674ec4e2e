//! `doctor`: its checks pass on an adapter that is right, cover every shader, and see each bug that is planted.

#[path = "doctor/bugs.rs"]
mod bugs;
#[path = "common/not_run.rs"]
mod not_run;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use lapidary::doctor::{Examination, FailedCheck, Note, Outcome, Record, Report, Stage, Watch, open_checked};
use lapidary::gpu::{Gpu, Mask, Tier, Tiers};
use lapidary::testing::bounds::Measure;
use lapidary::testing::doctor::Start;
use lapidary::testing::doctor::checks::CHECKS;
use lapidary::testing::kernels::SHADERS;
use lapidary::testing::workbench::{Bug, Workbench};

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
    // The short form leaves out what a device with products of int8 seldom runs.
    let gpu = Gpu::open_without(None, 0, &"cpu-kernels".parse().expect("a mask")).expect("an adapter");
    let bench = Workbench::new(&gpu, Tier::Plain, None);
    let check = CHECKS.iter().find(|check| check.name == "dense products, many rows").expect("it is there");
    let mut measure = Measure::default();
    check.run(&bench, &mut measure).expect("it runs");
    measure.result().expect("within its bounds");
    seen.extend(bench.seen());
    // lavapipe has subgroups; an adapter without them cannot run those variants.
    let has_subgroups = seen.iter().any(|name: &String| name.ends_with("subgroups"));
    for shader in SHADERS.iter() {
        let of_matrices = shader.variant.contains("matrix") || shader.stem == "f16_by_row";
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
    let FailedCheck { finding, why } = report.rounds[0].failures().next().expect("it is wrong");
    assert!(finding.name.starts_with("int8 ") && why.contains("elements differ"), "{}: {why}", finding.name);
    assert!(report.rounds[1].failures().next().is_none());

    let folder = tempfile::tempdir().expect("a folder");
    Record::new(&report, false).keep(folder.path(), &report);
    let lines = Mutex::new(Vec::new());
    let note = |line: Note| lines.lock().expect("a lock").push(line.to_string());
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
    let note = &|line: Note| lines.lock().expect("a lock").push(line.to_string());
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
    let why =
        format!("is used unchecked: 2 starts ended in the middle of the check \"{one}\"; the doctor runs it again");
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
    assert!(last.failures().any(|failed| failed.finding.name == "rms_norm"));
}
