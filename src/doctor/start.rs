//! Opening an adapter that was checked: what failed is left unused, and where nothing is known the short form runs first.

use std::path::Path;

use super::checks::CHECKS;
use super::examine::Examination;
use super::record::Record;
use crate::gpu::{Gpu, Mask, Tier};
use crate::{Result, kept};

/// Opens an adapter with `open`, without `without` and what is known in `folder` to fail on it. `note` is called with lines
/// for people: what is left unused, and what was checked.
///
/// Where something is left unused by hand, nothing is checked: it would say nothing of the rest.
///
/// # Errors
/// Those of `open`, and where no check can run.
pub fn open_checked(
    open: &dyn Fn(&Mask) -> Result<Gpu>,
    without: &Mask,
    folder: &Path,
    note: &dyn Fn(String),
) -> Result<Gpu> {
    let gpu = open(without)?;
    let record = match Record::find(folder, gpu.adapter()) {
        Some(record) => record,
        None if !without.is_empty() => return Ok(gpu),
        None => match first_start(&gpu, open, folder, note)? {
            Some(record) => record,
            None => return Ok(gpu),
        },
    };
    let off = record.switched_off();
    let name = &gpu.adapter().info.name;
    let failed = record.failures().last().map_or("", |failure| failure.check.as_str());
    if record.is_bad() {
        note(format!(
            "\"{name}\" computes wrongly, also with plain kernels (\"{failed}\"): its answers may be wrong; see lapidary doctor"
        ));
    }
    let all = without.and(&off);
    let gpu = if all == *without { gpu } else { open(&all)? };
    if !off.is_empty() {
        let first = record.failures().first().map_or("", |failure| failure.check.as_str());
        note(format!(
            "\"{}\" is used without {off}, which failed a check (\"{first}\"); see lapidary doctor, or --no-cache to use it",
            gpu.adapter().info.name
        ));
    }
    record.apply(&gpu);
    Ok(gpu)
}

/// Runs the short form and keeps what it finds. `None` where an earlier start never came to the end of it: a check that
/// takes the whole program down would do so again at each start.
fn first_start(
    gpu: &Gpu,
    open: &dyn Fn(&Mask) -> Result<Gpu>,
    folder: &Path,
    note: &dyn Fn(String),
) -> Result<Option<Record>> {
    let begun = Record::path(folder, gpu.adapter()).with_extension("begun");
    if begun.exists() {
        note(format!(
            "\"{}\" is used unchecked: the checks of an earlier start never ended; lapidary doctor runs them again",
            gpu.adapter().info.name
        ));
        return Ok(None);
    }
    if let Err(error) = kept::write(&begun, b"") {
        log::info!("{}: {error}: checks that never end are not noted", begun.display());
    }
    let examination = Examination {
        open,
        without: Mask::default(),
        most: gpu.default_tier(),
        brief: true,
        cache: Some(folder),
        demo: None,
        bug: None,
        progress: &|_, _| (),
    };
    let report = examination.run();
    std::fs::remove_file(&begun).ok();
    let report = report?;
    let record = Record::new(&report, true);
    record.keep(folder, &report.adapter);
    let checks = report.rounds.last().map_or(0, |round| round.findings.len());
    note(format!(
        "first start on \"{}\" ({}): {checks} of {} checks in {:.1} s, {}; lapidary doctor runs them all",
        report.adapter.info.name,
        report.adapter.driver(),
        CHECKS.iter().filter(|check| check.tier <= gpu.strongest_tier().max(Tier::Plain)).count(),
        report.seconds,
        if record.failures().is_empty() { "all passed" } else { "not all passed" },
    ));
    Ok(Some(record))
}
