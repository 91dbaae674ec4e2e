//! What was compiled for a GPU: written by one run of the program, read by another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::statistics::Figures;

/// What was compiled for one GPU.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Its name in the fleet.
    pub(crate) gpu: String,
    /// As its driver calls it.
    pub(crate) device: String,
    /// Driver and version.
    pub(crate) driver: String,
    /// The table that the device gets.
    pub(crate) table: String,
    /// Each pipeline once, whichever table it comes from.
    pub(crate) pipelines: Vec<Compiled>,
}

/// A pipeline that was compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Compiled {
    pub(crate) name: String,
    pub(crate) kernel: String,
    /// For each table that makes it, whether decode steps run it there.
    pub(crate) decodes: BTreeMap<String, bool>,
    /// Bytes of workgroup memory that it declares.
    pub(crate) workgroup_bytes: u64,
    /// Why it was rejected.
    pub(crate) fault: Option<String>,
    pub(crate) ms: f64,
    /// What the driver says of it, as the layer writes it.
    pub(crate) executables: Value,
}

/// A kernel of decode steps, or of prefill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kernel {
    /// Decode steps come first.
    pub(crate) prefills: bool,
    pub(crate) name: String,
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.prefills { "prefill" } else { "decode" }, self.name)
    }
}

/// All pipelines of a kernel.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    /// Of the worst.
    pub(crate) figures: Figures,
    pub(crate) workgroup_bytes: u64,
    /// The pipeline with the most spills, of these the one with the fewest waves, and its figures.
    pub(crate) worst: String,
    own: Figures,
}

impl Results {
    /// Reads a file that [`Results::write`] has written.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) {
        let text = serde_json::to_string(self).expect("results are plain data");
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// The driver's version without what says where it was built: `25.0.7` of "Mesa 25.0.7-2".
    pub(crate) fn mesa(&self) -> String {
        let number = self.driver.rsplit("Mesa ").next().unwrap_or(&self.driver);
        number.split(['-', ' ', '~']).next().unwrap_or(number).to_owned()
    }

    /// The tables that pipelines were made with.
    pub(crate) fn tables(&self) -> Vec<String> {
        let mut tables: Vec<String> = self.pipelines.iter().flat_map(|one| one.decodes.keys().cloned()).collect();
        tables.sort_by_key(|table| (*table != self.table, table.clone()));
        tables.dedup();
        tables
    }

    /// Pipelines that were rejected, and why.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pipelines.iter().filter_map(|one| Some((one.name.as_str(), one.fault.as_deref()?)))
    }

    /// The kernels of one table, those that were not rejected.
    pub(crate) fn kernels(&self, table: &str) -> BTreeMap<Kernel, Summary> {
        let mut kernels: BTreeMap<Kernel, Summary> = BTreeMap::new();
        for one in self.pipelines.iter().filter(|one| one.fault.is_none()) {
            let Some(decodes) = one.decodes.get(table) else { continue };
            let (figures, workgroup_bytes) = (Figures::of(&one.executables), one.workgroup_bytes);
            let new = Summary { figures, workgroup_bytes, worst: one.name.clone(), own: figures };
            let kernel = Kernel { prefills: !decodes, name: one.kernel.clone() };
            kernels.entry(kernel).and_modify(|summary| summary.add(&new)).or_insert(new);
        }
        kernels
    }
}

impl Summary {
    fn add(&mut self, other: &Summary) {
        let bad = |figures: Figures| (figures.spills, u64::MAX - figures.waves.unwrap_or(0), figures.registers);
        if bad(other.figures) > bad(self.own) {
            self.worst.clone_from(&other.worst);
            self.own = other.own;
        }
        self.figures = self.figures.worst(other.figures);
        self.workgroup_bytes = self.workgroup_bytes.max(other.workgroup_bytes);
    }
}
