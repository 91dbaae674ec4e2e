//! The whole examination: checks, and where some fail the same again without what failed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use web_time::Instant;

use super::checks::{CHECKS, Check};
use super::dot_probe::{DotTimes, probe};
use super::golden::{Demo, check_model};
use super::{Finding, Outcome, of_tier};
use crate::gpu::{Ability, AdapterReport, Gpu, Kind, Mask, Tier, Tiers};
use crate::kernels::{self, KvDtype};
use crate::model::Precision;
use crate::testing::bounds::Measure;
use crate::testing::workbench::{Bug, Workbench};
use crate::{Result, threads};

/// Called with the number of checks that are done, and of all.
pub type Progress<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Called with a check's name when it begins and when it has ended, on the thread that runs it.
pub type Watch<'a> = dyn Fn(&str, Stage) + Sync + 'a;

/// What a [`Watch`] is told of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is about to begin.
    Begins,
    /// It is over, however it went.
    Ended,
}

/// What is done beside the checks, and could end everything as well.
const OPENING: &str = "opening the device";
const TIMING: &str = "timing integer dot products";
pub(super) const PHASES: [&str; 2] = [OPENING, TIMING];

/// Examines an adapter.
pub struct Examination<'a> {
    /// Opens it without something.
    pub open: &'a dyn Fn(&Mask) -> Result<Gpu>,
    /// What it is to do without in any case.
    pub without: Mask,
    /// The strongest tier to check, where the device has it.
    pub most: Tier,
    /// The short form: few shapes, and what is used without being asked for.
    pub brief: bool,
    /// A folder for compiled pipelines, `None` to compile them all.
    pub cache: Option<&'a Path>,
    /// A model to run, `None` for kernels alone.
    pub demo: Option<Demo<'a>>,
    /// A bug that every shader is to have that has its text: how the examination is checked itself.
    pub bug: Option<Bug>,
    /// Whether only one check runs at a time, which takes longer: where one of them may end the process.
    pub one_by_one: bool,
    /// For whoever waits.
    pub progress: &'a Progress<'a>,
    /// For whoever wants to know which checks were under way when the process ended.
    pub watch: &'a Watch<'a>,
}

/// All checks on a device that does without something.
#[derive(Debug, Clone)]
pub struct Round {
    /// What the device did without.
    pub without: Mask,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What an examination has found.
#[derive(Debug)]
pub struct Report {
    /// The adapter, without what failed.
    pub adapter: AdapterReport,
    /// Whose shapes of workgroups the kernels had.
    pub tuning: Kind,
    /// What that follows from.
    pub tuning_reason: String,
    /// The tiers that are left for the fast path.
    pub tiers: Tiers,
    /// How fast integer dot products are, where there is a choice.
    pub dot_times: Option<DotTimes>,
    /// The rounds, each without more than the one before it; the last decides.
    pub rounds: Vec<Round>,
    /// What is to be switched off beside what was asked for.
    pub switched_off: Mask,
    /// How long all of it took.
    pub seconds: f64,
}

impl Report {
    /// Whether something is wrong also without all that can be switched off.
    pub fn is_bad(&self) -> bool {
        self.rounds.last().is_none_or(|round| round.failures().next().is_some())
    }
}

/// A check that failed.
#[derive(Debug, Clone, Copy)]
pub struct FailedCheck<'r> {
    /// The check.
    pub finding: &'r Finding,
    /// Why.
    pub why: &'r str,
}

/// What checks on a device have found, and the device.
struct Checked {
    gpu: Gpu,
    findings: Vec<Finding>,
}

/// How a check has ended.
struct Ended {
    outcome: Outcome,
    measure: Measure,
}

impl Round {
    /// What failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = FailedCheck<'_>> {
        self.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Failed(why) => Some(FailedCheck { finding, why }),
            Outcome::Passed | Outcome::Unused => None,
        })
    }
}

impl Examination<'_> {
    /// Runs all checks; where some fail, again without what these need, down to the plain tier.
    ///
    /// # Errors
    /// Where the adapter cannot be opened.
    pub fn run(&self) -> Result<Report> {
        let (start, mut switched_off, mut rounds) = (Instant::now(), Mask::default(), Vec::new());
        loop {
            let without = self.without.and(&switched_off);
            let Checked { gpu, findings } = self.round(&without)?;
            let round = Round { without, findings };
            let next = weaker(&round, &gpu);
            rounds.push(round);
            match next {
                Some(more) => switched_off = switched_off.and(&more),
                None => {
                    let dot_times = watched(self.watch, TIMING, || probe(&gpu))?;
                    let most = gpu.default_tier();
                    let tiers = dot_times.map_or(Tiers::all(most), |times| times.tiers(most));
                    return Ok(Report {
                        adapter: gpu.adapter().clone(),
                        tuning: gpu.kind(),
                        tuning_reason: gpu.kind_reason().to_owned(),
                        tiers,
                        dot_times,
                        rounds,
                        switched_off,
                        seconds: start.elapsed().as_secs_f64(),
                    });
                }
            }
        }
    }

    fn is_used(&self, check: &Check, gpu: &Gpu) -> bool {
        let is_off = check.kv.and_then(of_format).is_some_and(|ability| gpu.mask().has(ability));
        let is_extra = check.kv == Some(KvDtype::Int8) || check.is_rare;
        let lacks_subgroups = check.of_subgroups && gpu.summing_lanes().is_none();
        let takes_long = check.is_costly && gpu.adapter().is_software();
        !(is_off || lacks_subgroups || self.brief && (is_extra || takes_long))
    }

    fn open(&self, without: &Mask) -> Result<Gpu> {
        let gpu = watched(self.watch, OPENING, || (self.open)(without))?;
        if let Some(folder) = self.cache {
            gpu.use_pipeline_cache(folder, &kernels::version());
        }
        Ok(gpu)
    }

    /// All checks on a device without `without`. A device that fails takes the other checks of a tier with it, but not those
    /// of other tiers: they get a new one.
    fn round(&self, without: &Mask) -> Result<Checked> {
        let mut gpu = self.open(without)?;
        let most = self.most.min(gpu.strongest_tier());
        let used: Vec<&Check> = CHECKS.iter().filter(|check| check.tier <= most && self.is_used(check, &gpu)).collect();
        let models = if self.demo.is_some() { 2 } else { 0 };
        let (done, all) = (AtomicUsize::new(0), used.len() + models);
        let advance = || (self.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, all);
        let mut findings = Vec::new();
        for checks in used.chunk_by(|a, b| a.tier == b.tier) {
            if gpu.check().is_err() {
                gpu = self.open(without)?;
            }
            findings.extend(self.check_kernels(&gpu, checks, &advance));
        }
        gpu.save_pipeline_cache();
        for precision in self.demo.iter().flat_map(|_| [Precision::Exact, Precision::Fast]) {
            let demo = self.demo.expect("there is one");
            findings.push(check_model(self.open(without)?, demo, precision));
            advance();
        }
        Ok(Checked { gpu, findings })
    }

    /// Runs `checks` on `gpu`. `done` is called after each.
    fn check_kernels(&self, gpu: &Gpu, checks: &[&Check], done: &(dyn Fn() + Sync)) -> Vec<Finding> {
        let (brief, bug, watch) = (self.brief, self.bug, self.watch);
        let work = |(): &mut (), check: &&Check| {
            let finding = watched(watch, check.name, || run(gpu, check, brief, bug));
            done();
            Ok(finding)
        };
        let threads = if self.one_by_one { 1 } else { threads::available().min(MAX_THREADS) };
        threads::map_in_order(checks, threads, || (), work).expect("findings are no errors")
    }
}

/// What is switched off where a format of the cache fails.
fn of_format(kv: KvDtype) -> Option<Ability> {
    match kv {
        KvDtype::F32 => None,
        KvDtype::F16 => Some(Ability::KvF16),
        KvDtype::Int8 => Some(Ability::KvInt8),
    }
}

/// What can be switched off: all that [`weaker`] gives.
pub(super) const SWITCHES: [Ability; 6] =
    [Ability::Dot, Ability::Matrix, Ability::Subgroups, Ability::Immediates, Ability::KvF16, Ability::KvInt8];

/// What to do without after a round, `None` where nothing failed or nothing is left to do without.
fn weaker(round: &Round, gpu: &Gpu) -> Option<Mask> {
    let suspects: Vec<Option<Ability>> = round.failures().map(|failed| failed.finding.suspect).collect();
    let mut off: BTreeSet<Ability> = suspects.iter().copied().flatten().collect();
    // What all kernels share may be at fault: how parameters reach them, and the memory model that matrices bring along.
    if suspects.contains(&None) && gpu.has_immediates() {
        off.insert(Ability::Immediates);
    } else if suspects.contains(&None) && gpu.matrix_side().is_some() {
        off.insert(Ability::Matrix);
    }
    (!off.is_empty()).then(|| off.into_iter().fold(Mask::default(), Mask::without))
}

fn watched<T>(watch: &Watch, name: &str, work: impl FnOnce() -> T) -> T {
    watch(name, Stage::Begins);
    let done = work();
    watch(name, Stage::Ended);
    done
}

/// Threads that check at a time at most: each compiles pipelines.
const MAX_THREADS: usize = 8;

/// Runs a check, with a bug as if its shaders had it.
fn run(gpu: &Gpu, check: &Check, brief: bool, bug: Option<Bug>) -> Finding {
    let start = Instant::now();
    let mut bench = Workbench::new(gpu, check.tier, bug);
    bench.brief = brief;
    let Ended { outcome, measure } = outcome(check, &bench);
    let mut suspect = check.kv.and_then(of_format).filter(|_| check.tier == Tier::Plain).or(of_tier(check.tier));
    let shaders = bench.seen();
    if matches!(outcome, Outcome::Failed(_)) && shaders.iter().any(|shader| shader.ends_with("subgroups")) {
        let without = self::outcome(check, &bench.tuned(|tuning| tuning.subgroups = false)).outcome;
        suspect = if without == Outcome::Passed { Some(Ability::Subgroups) } else { suspect };
    }
    let (name, tier, kv, seconds) = (check.name.to_owned(), check.tier, check.kv, start.elapsed().as_secs_f64());
    Finding { name, tier, kv, outcome, measure, shaders, suspect, seconds }
}

fn outcome(check: &Check, bench: &Workbench) -> Ended {
    let mut measure = Measure::default();
    let ran = check.run(bench, &mut measure).and_then(|()| bench.gpu().check());
    let outcome = match (ran, measure.result()) {
        (Err(error), _) => Outcome::Failed(error.to_string()),
        (Ok(()), Err(difference)) => Outcome::Failed(difference),
        (Ok(()), Ok(())) if measure.compared == 0 => Outcome::Unused,
        (Ok(()), Ok(())) => Outcome::Passed,
    };
    Ended { outcome, measure }
}
