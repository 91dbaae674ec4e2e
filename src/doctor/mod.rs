//! Checks on the user's own adapter: does it compute what the reference does?
//!
//! `checks` runs each kernel that an adapter would use on shapes that hurt, and compares what comes out with
//! [`crate::reference::ops`] within bounds that are derived ([`crate::testing::twins`], [`crate::testing::bounds`]). The tests of kernels use the same twins,
//! and plant bugs in shaders to see that checks see them ([`crate::testing::workbench`]). [`Examination`] runs all of it, and a model, and
//! where something fails again without what that needs.

mod begun;
pub(crate) mod checks;
pub(crate) mod dot_probe;
mod examine;
mod golden;
mod note;
mod opening;
mod record;
pub(crate) mod start;

use crate::gpu::{Ability, Tier};
use crate::kernels::KvDtype;

pub use crate::testing::bounds::Measure;
pub use begun::withdraw;
pub use dot_probe::{DotTimes, Race};
pub use examine::{Examination, FailedCheck, Progress, Report, Round, Stage, Watch};
pub use golden::Demo;
pub use note::Note;
pub use opening::open;
pub use record::{Failure, Record};
pub use start::open_checked;

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
    /// The shaders that ran.
    pub shaders: Vec<String>,
    /// What a device can do without if it failed; `None` where all kernels share what is wrong.
    pub suspect: Option<Ability>,
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

/// What the kernels of a tier need that those of weaker ones do not.
fn of_tier(tier: Tier) -> Option<Ability> {
    match tier {
        Tier::Plain => None,
        Tier::Dot => Some(Ability::Dot),
        Tier::F16 | Tier::Matrix => Some(Ability::Matrix),
    }
}
