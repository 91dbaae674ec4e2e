//! What is known of an adapter with its driver and this program's shaders, in a small file beside the compiled pipelines.
//!
//! The file is never needed: one that cannot be read, is not what was written, or says what no examination finds, is as good as
//! none. A checksum over all that stands before it is its last value.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::begun;
use super::checks::CHECKS;
use super::dot_probe::DotTimes;
use super::examine::{FailedCheck, Report, SWITCHES};
use super::golden;
use crate::error::harmless;
use crate::gpu::{AdapterReport, Gpu, Kind, Mask};
use crate::kept::{self, checksum};
use crate::kernels;

/// The file's form.
const FORMAT: u32 = 2;
/// Characters of a name or a message.
const MOST_QUOTED: usize = 500;
/// Larger files are not ours.
const MAX_BYTES: u64 = 1 << 20;

/// What an examination has left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// Of which adapter, for whoever reads the file.
    adapter: String,
    driver: String,
    api: String,
    version: String,
    /// What is not used on it, as a [`Mask`] is written.
    switched_off: String,
    /// The checks that failed, the first round's first.
    failures: Vec<Failure>,
    /// Whether some fail also without all that can be switched off.
    is_bad: bool,
    /// Whether this was the short form.
    brief: bool,
    dot_times: Option<DotTimes>,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub check: String,
    /// What the device did without.
    pub without: String,
    /// What was wrong.
    pub message: String,
}

impl Record {
    /// What `report` says.
    pub fn new(report: &Report, brief: bool) -> Self {
        let info = &report.adapter.info;
        let failures = report.rounds.iter().flat_map(|round| {
            round.failures().map(|FailedCheck { finding, why: message }| Failure {
                check: finding.name.clone(),
                without: round.without.to_string(),
                message: harmless(message, MOST_QUOTED),
            })
        });
        Record {
            format: FORMAT,
            adapter: harmless(&info.name, MOST_QUOTED),
            driver: harmless(&report.adapter.driver(), MOST_QUOTED),
            api: report.adapter.api().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            switched_off: report.switched_off.to_string(),
            failures: failures.collect(),
            is_bad: report.is_bad(),
            brief,
            dot_times: report.dot_times,
        }
    }

    /// The file in `folder` for an adapter, its driver and compiler, this program's shaders and the kind of device that they are
    /// shaped for.
    pub fn path(folder: &Path, adapter: &AdapterReport, tuning: Kind) -> PathBuf {
        let info = &adapter.info;
        let numbers = format!("{:08x}{:08x}", info.vendor, info.device);
        let version = kernels::version();
        let mut key =
            [&info.name, &info.driver, &info.driver_info, adapter.api(), &numbers, &version, tuning.name()].join("\0");
        if let Some(compiler) = &adapter.compiler {
            key.push_str(&format!("\0{compiler}"));
        }
        folder.join(format!("doctor-{:016x}.json", checksum(key.as_bytes())))
    }

    /// What is kept in `folder` of an adapter with the kernels of a kind of device; `None` where nothing is, or nothing that
    /// was written so.
    pub fn find(folder: &Path, adapter: &AdapterReport, tuning: Kind) -> Option<Record> {
        let path = Self::path(folder, adapter, tuning);
        let bytes = kept::read(&path, MAX_BYTES).unwrap_or_else(|error| {
            log::info!("{}: {error}: it is as good as none", path.display());
            None
        });
        let record = Self::decode(std::str::from_utf8(&bytes?).ok()?);
        if record.is_none() {
            log::info!("{}: not what was written: it is as good as none", path.display());
        }
        record
    }

    /// Keeps it in `folder` for the adapter of `report`; that it cannot be is logged and no error. Whatever starts have noted
    /// of checks that never ended is forgotten.
    pub fn keep(&self, folder: &Path, report: &Report) {
        self.keep_for(folder, &report.adapter, report.tuning);
    }

    fn keep_for(&self, folder: &Path, adapter: &AdapterReport, tuning: Kind) {
        let path = Self::path(folder, adapter, tuning);
        match kept::write(&path, self.encode().as_bytes()) {
            Ok(()) => begun::forget(&path),
            Err(error) => log::info!("{}: {error}: what was checked is not kept", path.display()),
        }
    }

    /// The file's text.
    fn encode(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("text and numbers");
        let body = text.strip_suffix("\n}").expect("an object of several lines");
        format!("{body}{}", tail(body))
    }

    /// The record of a file's text, if it is whole and says what an examination may find.
    pub(crate) fn decode(text: &str) -> Option<Record> {
        let body = text.get(..text.len().checked_sub(tail("").len())?)?;
        if text[body.len()..] != tail(body) {
            return None;
        }
        serde_json::from_str(text).ok().filter(Record::is_likely)
    }

    /// Whether an examination may have found it.
    fn is_likely(&self) -> bool {
        let is_off_by_us = |mask: &Mask| {
            let all = SWITCHES.into_iter().fold(Mask::default(), Mask::without);
            // Limits are never switched off.
            mask.to_string() == self.switched_off && mask.and(&all) == all
        };
        let is_check = |failure: &Failure| {
            CHECKS.iter().any(|check| check.name == failure.check) || golden::is_check(&failure.check)
        };
        let said = self.failures.iter().flat_map(|failure| [&failure.check, &failure.without, &failure.message]);
        let texts = [&self.adapter, &self.driver, &self.api, &self.version].into_iter().chain(said);
        let has_cause = !self.failures.is_empty() || self.switched_off.is_empty() && !self.is_bad;
        self.format == FORMAT
            && self.switched_off.parse().is_ok_and(|mask| is_off_by_us(&mask))
            && self.failures.iter().all(is_check)
            // One line, without what steers a terminal: so they were written.
            && texts.into_iter().all(|text| *text == harmless(text, usize::MAX))
            && has_cause
            && self.dot_times.is_none_or(DotTimes::is_likely)
    }

    /// What is not to be used on the adapter.
    pub fn switched_off(&self) -> Mask {
        self.switched_off.parse().unwrap_or_default()
    }

    /// The checks that failed.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether some fail also with plain kernels.
    pub fn is_bad(&self) -> bool {
        self.is_bad
    }

    /// Whether only the short form ran.
    pub fn is_brief(&self) -> bool {
        self.brief
    }

    /// Tells `gpu` which tiers were measured to suit it.
    pub fn apply(&self, gpu: &Gpu) {
        if let Some(times) = self.dot_times {
            gpu.set_default_tiers(times.tiers(gpu.default_tier()));
        }
    }
}

/// The end of a file that begins with `body`.
fn tail(body: &str) -> String {
    format!(",\n  \"checksum\": \"{:016x}\"\n}}\n", checksum(body.as_bytes()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::Race;
    use crate::gpu::Compiler;

    fn record(switched_off: &str) -> Record {
        Record {
            format: FORMAT,
            adapter: "a card".into(),
            driver: "1.2".into(),
            api: "Vulkan".into(),
            version: "0".into(),
            switched_off: switched_off.into(),
            failures: vec![Failure { check: "router".into(), without: String::new(), message: "wrong".into() }],
            is_bad: false,
            brief: true,
            dot_times: Some(DotTimes { few: Race { dot: 1.5e-5, plain: 1e-5 }, many: None }),
        }
    }

    #[test]
    fn a_record_comes_back_and_whatever_else_the_file_holds_does_no_harm() {
        let gpu = Gpu::open(None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        // Made on the way, like ~/.cache.
        let folder = dir.path().join("cache/lapidary");
        let find = || Record::find(&folder, gpu.adapter(), Kind::Cpu);
        assert_eq!(find(), None);
        let kept = record("dot,kv-f16");
        kept.keep_for(&folder, gpu.adapter(), Kind::Cpu);
        assert_eq!(find(), Some(kept));
        assert_eq!(Record::find(&folder, gpu.adapter(), Kind::Unknown), None, "another table, another file");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing half written");
        let path = Record::path(&folder, gpu.adapter(), Kind::Cpu);
        let text = fs::read_to_string(&path).unwrap();
        let cut = text[..text.len() / 2].to_owned();
        let garbage =
            ["", "{", "[]", "null", &cut, &text.replace("dot,", ""), &text.replace(": 2,", ": 3,"), &text[1..]];
        for bytes in garbage.map(str::as_bytes).into_iter().chain([&b"\xff\xfe"[..]]) {
            fs::write(&path, bytes).unwrap();
            assert_eq!(find(), None, "{}", String::from_utf8_lossy(bytes));
        }
        // A folder that cannot be made is no error.
        fs::write(dir.path().join("file"), "").unwrap();
        record("").keep_for(&dir.path().join("file/lapidary"), gpu.adapter(), Kind::Cpu);
    }

    /// As if somebody had made it by hand, checksum and all.
    #[test]
    fn a_record_says_what_an_examination_may_find() {
        let finds = |record: &Record| Record::decode(&record.encode()).as_ref() == Some(record);
        for off in ["", "dot", "kv-f16", "immediates,kv-int8", "subgroups,dot,matrix,immediates,kv-f16,kv-int8"] {
            assert!(finds(&record(off)), "{off}");
        }
        let never = "binding=1 threads=0 dot,buffers=1 timestamps cpu-kernels pipeline-cache f16 matrix,dot dot,dot dot, nothing";
        for off in never.split(' ') {
            assert!(!finds(&record(off)), "{off}");
        }
        let with = |change: &dyn Fn(&mut Record)| {
            let mut record = record("dot");
            change(&mut record);
            finds(&record)
        };
        for check in [golden::EXACT, "demo model, fast, tier dot"] {
            assert!(with(&|record| record.failures[0].check = check.into()), "{check}");
        }
        assert!(with(&|record| record.is_bad = true));
        assert!(!with(&|record| record.failures[0].check = "\x1b[2J".into()));
        assert!(!with(&|record| record.failures.clear()));
        assert!(!with(&|record| record.format = 1));
        assert!(!finds(&Record { is_bad: true, failures: vec![], ..record("") }));
        for seconds in [0.0, -1.0, 1e-12, 1e5, f64::NAN, f64::INFINITY] {
            let few = Race { dot: seconds, plain: 1e-5 };
            assert!(!with(&|record| record.dot_times = Some(DotTimes { few, many: None })), "{seconds}");
            let (few, many) = (Race { dot: 1e-5, plain: 1e-5 }, Some(Race { dot: 1e-5, plain: seconds }));
            assert!(!with(&|record| record.dot_times = Some(DotTimes { few, many })), "{seconds}");
        }
        let text = record("dot").encode();
        assert!(text.contains("0.000015"));
        for number in ["1e999", "NaN", "null", "\"1\"", "-0.0"] {
            let text = text.replace("0.000015", number);
            let body = &text[..text.len() - tail("").len()];
            assert_eq!(Record::decode(&format!("{body}{}", tail(body))), None, "{number}");
        }
    }

    #[test]
    fn any_other_byte_is_seen() {
        let text = record("dot").encode();
        assert!(Record::decode(&text).is_some());
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1;
            assert!(String::from_utf8(bytes).is_ok_and(|text| Record::decode(&text).is_none()), "byte {i}");
            assert!(Record::decode(&text[..i]).is_none(), "{i} bytes");
        }
    }

    #[test]
    fn another_driver_has_another_file() {
        let gpu = Gpu::open(None).unwrap();
        let mut other = gpu.adapter().clone();
        let path = |adapter: &AdapterReport| Record::path(Path::new("x"), adapter, Kind::Cpu);
        assert_eq!(path(&other), path(gpu.adapter()));
        other.info.driver_info.push('1');
        assert_ne!(path(&other), path(gpu.adapter()));
        let compiled = |compiler: Option<Compiler>| {
            let mut other = gpu.adapter().clone();
            other.compiler = compiler;
            path(&other)
        };
        let files = [None, Some(Compiler::Fxc(None)), Some(Compiler::Dxc("dxcompiler.dll".into()))].map(compiled);
        assert!(files[0] != files[1] && files[1] != files[2] && files[2] != files[0], "another compiler, another file");
        let mut other = gpu.adapter().clone();
        other.features = wgpu::Features::empty();
        assert_eq!(path(&other), path(gpu.adapter()), "what a mask takes away is no other adapter");
    }
}
