//! How long a model of files takes until it answers, and what that takes of the host's memory.

use lapidary::model::LoadTimes;
use serde_json::{Value, json};

use super::super::terminal::size;

/// What loading took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) times: LoadTimes,
    /// From the start of the program to the first token, without measurements in between.
    pub(super) first_token_seconds: f64,
    /// `None` where the system does not say.
    pub(super) peak_host_bytes: Option<u64>,
}

impl Load {
    pub(super) fn text(&self) -> String {
        let LoadTimes { weights, pipelines } = self.times;
        let (weights, pipelines) = (weights.as_secs_f64(), pipelines.as_secs_f64());
        let memory = self.peak_host_bytes.map(|bytes| format!(", host memory up to {}", size(bytes)));
        format!(
            "{:.2} s to the first token, weights after {weights:.2} s, pipelines after {pipelines:.2} s{}",
            self.first_token_seconds,
            memory.unwrap_or_default()
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "first_token_seconds": self.first_token_seconds,
            "weights_seconds": self.times.weights.as_secs_f64(),
            "pipelines_seconds": self.times.pipelines.as_secs_f64(),
            "peak_host_bytes": self.peak_host_bytes,
        })
    }
}

/// The most memory that this process has had, where the system tells.
pub(super) fn peak_host_bytes() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of Linux, in kB of 1024 bytes.
fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_as_linux_writes_it() {
        assert_eq!(peak_of("Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    512 kB\nVmRSS:\t 1 kB\n"), Some(512 << 10));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }
}
