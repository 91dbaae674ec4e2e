//! What is known of an adapter with its driver and this program's shaders, in a small file beside the compiled pipelines.
//!
//! The file is never needed: one that cannot be read, or is not what was written, is as good as none.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dot_probe::DotTimes;
use super::examine::Report;
use crate::gpu::{AdapterReport, Gpu, Mask};
use crate::kept::{self, checksum};
use crate::kernels;

/// The file's form.
const FORMAT: u32 = 1;
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
            round.failures().map(|(finding, message)| Failure {
                check: finding.name.clone(),
                without: round.without.to_string(),
                message: message.to_owned(),
            })
        });
        Record {
            format: FORMAT,
            adapter: info.name.clone(),
            driver: report.adapter.driver(),
            api: report.adapter.api().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            switched_off: report.switched_off.to_string(),
            failures: failures.collect(),
            is_bad: report.is_bad(),
            brief,
            dot_times: report.dot_times,
        }
    }

    /// The file in `folder` for an adapter, its driver and this program's shaders.
    pub fn path(folder: &Path, adapter: &AdapterReport) -> PathBuf {
        let info = &adapter.info;
        let numbers = format!("{:08x}{:08x}", info.vendor, info.device);
        let version = kernels::version();
        let key = [&info.name, &info.driver, &info.driver_info, adapter.api(), &numbers, &version].join("\0");
        folder.join(format!("doctor-{:016x}.json", checksum(key.as_bytes())))
    }

    /// What is kept in `folder` of an adapter; `None` where nothing is, or nothing that was written so.
    pub fn find(folder: &Path, adapter: &AdapterReport) -> Option<Record> {
        let mut text = String::new();
        let file = fs::File::open(Self::path(folder, adapter)).ok()?;
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        (record.format == FORMAT && record.switched_off.parse::<Mask>().is_ok()).then_some(record)
    }

    /// Keeps it in `folder`; that it cannot be is logged and no error.
    pub fn keep(&self, folder: &Path, adapter: &AdapterReport) {
        let path = Self::path(folder, adapter);
        let text = serde_json::to_string_pretty(self).expect("text and numbers") + "\n";
        if let Err(error) = kept::write(&path, text.as_bytes()) {
            log::info!("{}: {error}: what was checked is not kept", path.display());
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::doctor::Race;

    fn record(switched_off: &str) -> Record {
        Record {
            format: FORMAT,
            adapter: "a card".into(),
            driver: "1.2".into(),
            api: "Vulkan".into(),
            version: "0".into(),
            switched_off: switched_off.into(),
            failures: vec![Failure { check: "one".into(), without: String::new(), message: "wrong".into() }],
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
        assert_eq!(Record::find(&folder, gpu.adapter()), None);
        let kept = record("dot,kv-f16");
        kept.keep(&folder, gpu.adapter());
        assert_eq!(Record::find(&folder, gpu.adapter()), Some(kept));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing half written");
        let path = Record::path(&folder, gpu.adapter());
        let text = fs::read_to_string(&path).unwrap();
        let cut = text[..text.len() / 2].to_owned();
        let garbage = ["", "{", "[]", "null", &cut, &text.replace("dot,", "dots,"), &text.replace(": 1,", ": 2,")];
        for bytes in garbage.map(str::as_bytes).into_iter().chain([&b"\xff\xfe"[..]]) {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Record::find(&folder, gpu.adapter()), None, "{}", String::from_utf8_lossy(bytes));
        }
        // A folder that cannot be made is no error.
        fs::write(dir.path().join("file"), "").unwrap();
        record("").keep(&dir.path().join("file/lapidary"), gpu.adapter());
    }

    #[test]
    fn another_driver_has_another_file() {
        let gpu = Gpu::open(None).unwrap();
        let mut other = gpu.adapter().clone();
        let path = |adapter: &AdapterReport| Record::path(Path::new("x"), adapter);
        assert_eq!(path(&other), path(gpu.adapter()));
        other.info.driver_info.push('1');
        assert_ne!(path(&other), path(gpu.adapter()));
        let mut other = gpu.adapter().clone();
        other.features = wgpu::Features::empty();
        assert_eq!(path(&other), path(gpu.adapter()), "what a mask takes away is no other adapter");
    }
}
