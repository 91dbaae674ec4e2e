//! What is recorded of each GPU's kernels, and the comparison with what was compiled now.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::results::{Kernel, Results, Summary};

/// The recorded figures of all GPUs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    pub(crate) gpus: BTreeMap<String, ExpectedGpu>,
}

/// What is recorded of a GPU.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ExpectedGpu {
    /// The version of Mesa whose compiler it was.
    pub(crate) mesa: String,
    /// By table, then by kernel.
    pub(crate) tables: BTreeMap<String, BTreeMap<String, Recorded>>,
}

/// The figures that are compared, of the worst pipeline of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) spills: u64,
    pub(crate) scratch: u64,
    pub(crate) waves: Option<u64>,
    pub(crate) width: u64,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What must not be.
    pub(crate) faults: Vec<String>,
    /// What is better than recorded, or other: to be recorded.
    pub(crate) gains: Vec<String>,
}

impl From<&Summary> for Recorded {
    fn from(summary: &Summary) -> Self {
        let figures = summary.figures;
        Recorded { spills: figures.spills, scratch: figures.scratch, waves: figures.waves, width: figures.width }
    }
}

impl Recorded {
    /// Each figure with its name: now and then, and whether it is worse and better.
    fn differences(self, now: Recorded) -> Vec<(String, bool)> {
        let waves = |of: Recorded| of.waves.unwrap_or(0);
        // More of the first two are worse, fewer of the others.
        let figures = [
            ("spills", self.spills, now.spills, now.spills > self.spills),
            ("bytes of private memory", self.scratch, now.scratch, now.scratch > self.scratch),
            ("waves", waves(self), waves(now), waves(now) < waves(self)),
            ("lanes", self.width, now.width, now.width < self.width),
        ];
        let differs = figures.into_iter().filter(|(_, was, is, _)| was != is);
        differs.map(|(what, was, is, worse)| (format!("{is} {what}, recorded {was}"), worse)).collect()
    }
}

impl Expected {
    /// Reads the file; of one that is not there, nothing is recorded.
    pub(crate) fn read(path: &Path) -> Self {
        let Ok(text) = fs::read_to_string(path) else { return Expected::default() };
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Writes a kernel to a line, so that changes show.
    pub(crate) fn write(&self, path: &Path) {
        let mut text = String::from("{\"gpus\": {");
        for (i, (gpu, expected)) in self.gpus.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(text, "{comma}\n\"{gpu}\": {{\"mesa\": \"{}\", \"tables\": {{", expected.mesa).expect("text grows");
            for (i, (table, kernels)) in expected.tables.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                write!(text, "{comma}\n  \"{table}\": {{").expect("text grows");
                for (i, (kernel, recorded)) in kernels.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    let recorded = serde_json::to_string(recorded).expect("plain data");
                    write!(text, "{comma}\n    \"{kernel}\": {recorded}").expect("text grows");
                }
                text.push('}');
            }
            text.push_str("}}");
        }
        text.push_str("\n}}\n");
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Takes what was compiled as what is expected from now on.
    pub(crate) fn record(&mut self, results: &Results) {
        let kernels = |table: &String| {
            let kernels = results.kernels(table);
            (table.clone(), kernels.iter().map(|(kernel, now)| (kernel.to_string(), now.into())).collect())
        };
        let tables = results.tables().iter().map(kernels).collect();
        self.gpus.insert(results.gpu.clone(), ExpectedGpu { mesa: results.mesa(), tables });
    }

    /// Compares what was compiled with what is recorded. Figures of another Mesa are other figures: only rejected pipelines
    /// count then.
    pub(crate) fn compare(&self, results: &Results) -> Findings {
        let mut findings = Findings::default();
        let gpu = &results.gpu;
        findings.faults.extend(results.faults().map(|(name, why)| format!("{gpu}: {name} was rejected: {why}")));
        let Some(expected) = self.gpus.get(gpu) else {
            findings.faults.push(format!("{gpu}: nothing is recorded"));
            return findings;
        };
        if expected.mesa != results.mesa() {
            let (now, then) = (results.mesa(), &expected.mesa);
            findings.gains.push(format!("{gpu}: Mesa {now}, but recorded with {then}: only rejections are compared"));
            return findings;
        }
        for table in results.tables() {
            let Some(recorded) = expected.tables.get(&table) else {
                findings.faults.push(format!("{gpu}: nothing is recorded of table {table}"));
                continue;
            };
            let kernels = results.kernels(&table);
            for (kernel, now) in &kernels {
                let at = format!("{gpu}, table {table}: {kernel}");
                match recorded.get(&kernel.to_string()) {
                    None => findings.faults.push(format!("{at}: nothing is recorded")),
                    Some(then) => {
                        for (what, worse) in then.differences(now.into()) {
                            match worse {
                                true => findings.faults.push(format!("{at}: {what} ({})", now.worst)),
                                false => findings.gains.push(format!("{at}: {what}")),
                            }
                        }
                    }
                }
            }
            let met: Vec<String> = kernels.keys().map(Kernel::to_string).collect();
            let gone = recorded.keys().filter(|kernel| !met.contains(*kernel));
            findings
                .gains
                .extend(gone.map(|kernel| format!("{gpu}, table {table}: {kernel} is recorded, but not made")));
        }
        findings
    }
}
