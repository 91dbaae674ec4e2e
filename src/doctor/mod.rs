//! Checks on the user's own adapter: does it compute what the reference does?
//!
//! [`checks`] runs each kernel that an adapter would use on shapes that hurt, and compares what comes out with
//! [`crate::reference::ops`] within bounds that are derived ([`twins`], [`bounds`]). The tests of kernels use the same twins,
//! and plant bugs in shaders to see that checks see them ([`workbench`]).

pub mod attention_step;
pub mod bounds;
pub mod checks;
pub mod matrices;
pub mod random;
pub mod twins;
pub mod workbench;

use std::time::Instant;

use crate::gpu::{Gpu, Tier};
use crate::kernels::KvDtype;
use crate::{Result, threads};
use bounds::Measure;
use checks::{CHECKS, Check};
use workbench::{Bug, Workbench};

/// What a check has found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was checked.
    pub name: String,
    /// The weakest tier that has it.
    pub tier: Tier,
    /// The format of the KV cache, where it is about one alone.
    pub kv: Option<KvDtype>,
    /// How it went.
    pub outcome: Outcome,
    /// The errors found.
    pub measure: Measure,
    /// Stem and variant of the shaders that ran.
    pub shaders: Vec<(&'static str, &'static str)>,
    /// How long it took, pipelines included.
    pub seconds: f64,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was within its bounds.
    Passed,
    /// The device does without it.
    Unused,
    /// What is wrong.
    Failed(String),
}

/// Threads that check at a time at most: each compiles pipelines.
const MAX_THREADS: usize = 8;

/// Runs the checks of the kernels that `gpu` would use up to `tier`; with a `bug`, as if their shaders had it. `done` is
/// called with the number of checks that are done and of all.
pub fn check_kernels(gpu: &Gpu, tier: Tier, bug: Option<Bug>, done: &(dyn Fn(usize, usize) + Sync)) -> Vec<Finding> {
    let used: Vec<&Check> = CHECKS.iter().filter(|check| check.tier <= tier).collect();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let work = |(): &mut (), check: &&Check| -> Result<Finding> {
        let finding = run(gpu, check, bug);
        done(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, used.len());
        Ok(finding)
    };
    let threads = threads::available().min(MAX_THREADS);
    threads::map_in_order(&used, threads, || (), work).expect("findings are no errors")
}

fn run(gpu: &Gpu, check: &Check, bug: Option<Bug>) -> Finding {
    let (start, bench, mut measure) = (Instant::now(), Workbench::new(gpu, check.tier, bug), Measure::default());
    let ran = check.run(&bench, &mut measure).and_then(|()| gpu.check());
    let outcome = match (ran, measure.result()) {
        (Err(error), _) => Outcome::Failed(error.to_string()),
        (Ok(()), Err(difference)) => Outcome::Failed(difference),
        (Ok(()), Ok(())) if measure.compared == 0 => Outcome::Unused,
        (Ok(()), Ok(())) => Outcome::Passed,
    };
    let seconds = start.elapsed().as_secs_f64();
    let (name, tier, kv, shaders) = (check.name.to_owned(), check.tier, check.kv, bench.seen());
    Finding { name, tier, kv, outcome, measure, shaders, seconds }
}
