//! Opening an adapter that was checked: what failed is left unused, and where nothing is known the short form runs first.

use std::path::Path;
use std::time::Duration;

use super::begun::{Asked, Fatal, Turn};
use super::checks::CHECKS;
use super::examine::{Examination, Watch};
use super::note::{Examines, Note};
use super::record::Record;
use crate::Result;
use crate::error::Remedy;
use crate::gpu::{Gpu, Mask, Tier};

/// Another start that checks the same is waited for, but not longer than this for its next check to begin or end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an adapter is opened that is to be checked first.
pub struct Start<'a> {
    /// Opens it without something.
    pub open: &'a dyn Fn(&Mask) -> Result<Gpu>,
    /// What it is to do without. Where there is something, nothing is checked: it would say nothing of the rest.
    pub without: &'a Mask,
    /// Where what is known of adapters is kept.
    pub folder: &'a Path,
    /// Called with lines for people: what is left unused, what was checked, who is waited for.
    pub note: &'a dyn Fn(Note),
    /// Told of each check.
    pub watch: &'a Watch<'a>,
}

/// Opens an adapter with `open`, without `without` and what is known in `folder` to fail on it: [`Start::run`] with nobody
/// who watches.
///
/// # Errors
/// As [`Start::run`].
pub fn open_checked(
    open: &dyn Fn(&Mask) -> Result<Gpu>,
    without: &Mask,
    folder: &Path,
    note: &dyn Fn(Note),
) -> Result<Gpu> {
    Start { open, without, folder, note, watch: &|_, _| () }.run()
}

impl Start<'_> {
    /// Opens the adapter without what is known to fail on it. At the first start it is checked; of starts at the same time
    /// one checks, and the others wait for what it finds.
    ///
    /// # Errors
    /// Those of [`Start::open`], and where no check can run.
    pub fn run(&self) -> Result<Gpu> {
        let gpu = (self.open)(self.without)?;
        let record = match Record::find(self.folder, gpu.adapter(), gpu.kind()) {
            Some(record) => record,
            None if !self.without.is_empty() => return Ok(gpu),
            None => match self.first(&gpu)? {
                Some(record) => record,
                None => return Ok(gpu),
            },
        };
        self.without_failures(gpu, &record)
    }

    fn say(&self, text: String) {
        (self.note)(text.into());
    }

    /// The adapter without what `record` says.
    fn without_failures(&self, gpu: Gpu, record: &Record) -> Result<Gpu> {
        let off = record.switched_off();
        let name = gpu.adapter().info.name.clone();
        if record.is_bad() {
            let failed = record.failures().last().map_or("", |failure| failure.check.as_str());
            let text = format!(
                "\"{name}\" computes wrongly, also with plain kernels (\"{failed}\"): its answers may be wrong"
            );
            (self.note)(Note::with_doctor(text, Examines::More));
        }
        let all = self.without.and(&off);
        let gpu = if all == *self.without { gpu } else { (self.open)(&all)? };
        if !off.is_empty() {
            let first = record.failures().first().map_or("", |failure| failure.check.as_str());
            let text = format!("\"{name}\" is used without {off}, which failed a check (\"{first}\")");
            (self.note)(Note::with_doctor(text, Examines::More).or(Remedy::IgnoreRecord));
        }
        record.apply(&gpu);
        Ok(gpu)
    }

    /// What the checks of a first start find, run here or by another start. `None` where one of them has ended two starts: it
    /// would do so again.
    fn first(&self, gpu: &Gpu) -> Result<Option<Record>> {
        let (path, name) = (Record::path(self.folder, gpu.adapter(), gpu.kind()), &gpu.adapter().info.name);
        let known = || Record::find(self.folder, gpu.adapter(), gpu.kind());
        let wait = || self.say(format!("waiting for the checks of another start on \"{name}\""));
        let turn = match Turn::ask(&path, PATIENCE, &known, &wait) {
            Asked::Answer(record) => return Ok(Some(record)),
            Asked::Turn(turn) => Some(turn),
            Asked::Alone => None,
        };
        if let Some(Fatal { check, count }) = turn.as_ref().and_then(Turn::fatal_check) {
            let text =
                format!("\"{name}\" is used unchecked: {count} starts ended in the middle of the check \"{check}\"");
            (self.note)(Note::with_doctor(text, Examines::Again));
            return Ok(None);
        }
        self.check(gpu, turn).map(Some)
    }

    /// Runs the short form and keeps what it finds.
    fn check(&self, gpu: &Gpu, turn: Option<Turn>) -> Result<Record> {
        if gpu.adapter().lacks_dxc() {
            let name = &gpu.adapter().info.name;
            self.say(format!("first start on \"{name}\": it is checked, and FXC takes a minute for the shaders"));
        }
        let one_by_one = turn.as_ref().is_some_and(Turn::has_suspects);
        let running = turn.and_then(|turn| {
            let note = |error| log::info!("{}: {error}: checks are not noted", self.folder.display());
            turn.begin().map_err(note).ok()
        });
        let examination = Examination {
            open: self.open,
            without: Mask::default(),
            most: gpu.default_tier(),
            brief: true,
            cache: Some(self.folder),
            demo: None,
            bug: None,
            one_by_one,
            progress: &|_, _| (),
            watch: &|check, stage| {
                if let Some(running) = &running {
                    running.note(check, stage);
                }
                (self.watch)(check, stage);
            },
        };
        let report = examination.run()?;
        let record = Record::new(&report, true);
        // Before others get their turn.
        record.keep(self.folder, &report);
        let checks = report.rounds.last().map_or(0, |round| round.findings.len());
        let text = format!(
            "first start on \"{}\" ({}): {checks} of {} checks in {:.1} s, {}",
            report.adapter.info.name,
            report.adapter.driver(),
            CHECKS.iter().filter(|check| check.tier <= gpu.strongest_tier().max(Tier::Plain)).count(),
            report.seconds,
            if record.failures().is_empty() { "all passed" } else { "not all passed" },
        );
        (self.note)(Note::with_doctor(text, Examines::All));
        Ok(record)
    }
}
