//! The command line: the real binary, its text, its exit codes, its manners.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/chat.rs"]
mod chat;
#[path = "cli/claims.rs"]
mod claims;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/faults.rs"]
mod faults;
#[cfg(unix)]
#[path = "cli/first_start.rs"]
mod first_start;
#[path = "cli/generate.rs"]
mod generate;
#[path = "common/harness.rs"]
mod harness;
#[path = "cli/input.rs"]
mod input;
#[path = "cli/load.rs"]
mod load;
#[path = "cli/memory.rs"]
mod memory;
#[path = "common/not_run.rs"]
mod not_run;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/precision.rs"]
mod precision;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/ranks.rs"]
mod ranks;
#[cfg(unix)]
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/tools.rs"]
mod tools;
