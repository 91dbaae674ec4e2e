//! What was measured, as tables and as JSON.

use std::collections::BTreeSet;

use lapidary::gpu::{Gpu, Recognized, Tiers, Timestamps};
use lapidary::model::{Gemma4, PlacedRank};
use serde_json::{Value, json};

use super::super::terminal::{plural, size, table};
use super::load::Load;
use super::measure::{Kernel, Measured, Profile, Test, Work, distinct};

/// All that is printed.
pub(super) struct Report {
    pub(super) device: String,
    /// Where there are several.
    pub(super) ranks: Vec<Rank>,
    pub(super) model: String,
    pub(super) tiers: Tiers,
    /// Whose shapes of workgroups the kernels have, and why.
    pub(super) tuning: Vec<Recognized>,
    pub(super) context: usize,
    pub(super) memory_bytes: u64,
    /// Of a model of files.
    pub(super) load: Option<Load>,
    /// Bytes that a copy reads and writes in a second.
    pub(super) copy_rate: f64,
    pub(super) rows: Vec<Measured>,
}

/// One of several ranks.
pub(super) struct Rank {
    adapter: String,
    heads: std::ops::Range<usize>,
    weights_bytes: u64,
}

impl Rank {
    /// All ranks of a model that is cut; none of one that is not.
    pub(super) fn all(model: &Gemma4) -> Vec<Rank> {
        let rank = |PlacedRank { gpu, heads, memory }| Rank {
            adapter: gpu.adapter().info.name.clone(),
            heads,
            weights_bytes: memory.weights,
        };
        let ranks: Vec<Rank> = model.ranks().map(rank).collect();
        if ranks.len() > 1 { ranks } else { Vec::new() }
    }

    fn text(&self) -> String {
        format!("heads {} to {} on {}", self.heads.start, self.heads.end - 1, self.adapter)
    }

    fn json(&self) -> Value {
        json!({ "adapter": self.adapter, "query_heads": [self.heads.start, self.heads.end], "weights_bytes": self.weights_bytes })
    }
}

/// The devices, each once.
pub(super) fn devices(model: &Gemma4) -> String {
    let mut all: Vec<String> = distinct(model).into_iter().map(device).collect();
    all.dedup();
    all.join("; ")
}

/// Whose shapes of workgroups the devices' kernels have, and why, each once.
pub(super) fn tuning(model: &Gemma4) -> Vec<Recognized> {
    let all = distinct(model).into_iter().map(|gpu| (gpu.kind(), gpu.kind_reason().to_owned()));
    let each = all.collect::<BTreeSet<_>>().into_iter();
    each.map(|(kind, reason)| Recognized { kind, reason }).collect()
}

/// Name, API and driver.
fn device(gpu: &Gpu) -> String {
    let adapter = gpu.adapter();
    let software = if adapter.is_software() { " | software, computes on the CPU" } else { "" };
    format!("{} | {} | {}{software}", adapter.info.name, adapter.api(), adapter.driver())
}

impl Report {
    pub(super) fn text(&self) -> String {
        let tuning: Vec<String> = self.tuning.iter().map(|one| format!("{}: {}", one.kind, one.reason)).collect();
        let fact = |key: &str, value: String| vec![key.to_owned(), value];
        let mut facts = vec![
            fact("device", self.device.clone()),
            fact("model", self.model.clone()),
            fact("memory", format!("{} used, context {}", size(self.memory_bytes), self.context)),
            fact("copy rate", format!("{:.1} GB/s, read and written", self.copy_rate / 1e9)),
            fact("kernels", self.tiers.to_string()),
            fact("tuning", tuning.join("; ")),
        ];
        if !self.ranks.is_empty() {
            let ranks: Vec<String> = self.ranks.iter().map(Rank::text).collect();
            facts.insert(2, fact("ranks", format!("{}: {}", ranks.len(), ranks.join("; "))));
        }
        if let Some(load) = &self.load {
            facts.insert(2, fact("start", load.text()));
        }
        let heading = ["test", "depth", "batch", "tokens/s", "spread", "read a step", "GB/s", "of copy rate"];
        let rows = std::iter::once(heading.map(str::to_owned).to_vec()).chain(self.rows.iter().map(|row| {
            let mut cells = vec![
                row.case.name(),
                row.case.depth.to_string(),
                row.case.batch.to_string(),
                format!("{:.2}", row.tokens_per_second),
                format!("± {:.2}", row.spread),
            ];
            if let (Some(bytes), Some(rate), Some(share)) = (row.step_bytes, row.rate(), self.share(row)) {
                cells.push(format!("{:.1} MB", bytes / 1e6));
                cells.push(format!("{:.1}", rate / 1e9));
                cells.push(format!("{:.1} %", share * 100.0));
            }
            cells
        }));
        let right = [1, 2, 3, 4, 5, 6, 7];
        let mut text = format!("{}\n{}", table(&facts, 0, &[]), table(&rows.collect::<Vec<_>>(), 0, &right));
        for row in &self.rows {
            if let Some(profile) = &row.profile {
                let (name, depth, batch) = (row.case.name(), row.case.depth, row.case.batch);
                text.push_str(&format!("\nkernels of {name}, depth {depth}, batch {batch}"));
                if row.case.test == Test::Decode {
                    text.push_str(&format!(", {}", plural(profile.steps, "step")));
                }
                if profile.timestamps == Timestamps::PassEach {
                    text.push_str("; each in a pass of its own, since this device cannot time inside one");
                }
                text.push('\n');
                text.push_str(&kernels(&profile.kernels, row.case.test));
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let mut json = json!({
                "test": row.case.name(),
                "depth": row.case.depth,
                "batch": row.case.batch,
                "tokens_per_second": row.tokens_per_second,
                "spread": row.spread,
                "bytes_per_step": row.step_bytes,
                "bandwidth_share": self.share(row),
            });
            if let Some(Profile { kernels, .. }) = &row.profile {
                json["profile"] = kernels.iter().map(|kernel| kernel.json(kernels)).collect();
            }
            json
        });
        let mut json = json!({
            "device": self.device,
            "model": self.model,
            "tier": self.tiers.many.name(),
            "decode_tier": self.tiers.few.name(),
            "tuning": self.tuning.iter().map(|one| one.kind.name()).collect::<Vec<_>>().join(","),
            "context": self.context,
            "memory_bytes": self.memory_bytes,
            "copy_bytes_per_second": self.copy_rate,
            "rows": rows.collect::<Vec<_>>(),
        });
        if !self.ranks.is_empty() {
            json["ranks"] = self.ranks.iter().map(Rank::json).collect();
        }
        if let Some(load) = &self.load {
            json["load"] = load.json();
        }
        json
    }

    fn share(&self, row: &Measured) -> Option<f64> {
        Some(row.rate()? / self.copy_rate)
    }
}

impl Measured {
    /// Bytes that decode steps read in a second.
    fn rate(&self) -> Option<f64> {
        Some(self.step_bytes? * self.tokens_per_second / self.case.batch as f64)
    }
}

/// Kernels, the slowest first: how fast they read where rows are few, how fast they compute where rows are many.
fn kernels(kernels: &[Kernel], test: Test) -> String {
    let all: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    let count: usize = kernels.iter().map(|kernel| kernel.count).sum();
    let mut sorted: Vec<_> = kernels.iter().collect();
    sorted.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let unit = if test == Test::Decode { "GB/s" } else { "TFLOP/s" };
    let mut rows = vec![["kernel", "count", "µs", "µs each", "share", unit].map(str::to_owned).to_vec()];
    let line = |label: &str, count: usize, seconds: f64| {
        let each = seconds * 1e6 / count.max(1) as f64;
        let share = 100.0 * seconds / all.max(f64::MIN_POSITIVE);
        let time = [format!("{:.1}", seconds * 1e6), format!("{each:.1}"), format!("{share:.1} %")];
        [vec![label.to_owned(), count.to_string()], time.to_vec()].concat()
    };
    for kernel in sorted {
        let mut cells = line(&kernel.label, kernel.count, kernel.seconds);
        if let Some(Work { bytes, operations }) = kernel.work.filter(|_| kernel.seconds > 0.0) {
            cells.push(match test {
                Test::Decode => format!("{:.1}", bytes / kernel.seconds / 1e9),
                Test::Prefill => format!("{:.3}", operations / kernel.seconds / 1e12),
            });
        }
        rows.push(cells);
    }
    rows.push(line("all", count, all));
    table(&rows, 2, &[1, 2, 3, 4, 5])
}

impl Kernel {
    fn json(&self, kernels: &[Kernel]) -> Value {
        let all: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
        let rate = |work: f64| if self.seconds > 0.0 { json!(work / self.seconds) } else { Value::Null };
        json!({
            "kernel": self.label,
            "count": self.count,
            "microseconds": self.seconds * 1e6,
            "share": if all > 0.0 { self.seconds / all } else { 0.0 },
            "bytes_per_second": self.work.map_or(Value::Null, |work| rate(work.bytes)),
            "operations_per_second": self.work.map_or(Value::Null, |work| rate(work.operations)),
        })
    }
}
