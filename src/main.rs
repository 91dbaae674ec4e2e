//! The `lapidary` binary: arguments in, exit code out.

mod cli;
#[cfg(test)]
#[path = "../tests/common/not_run.rs"]
mod not_run;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_device_select();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format(|out, record| writeln!(out, "{}: {}", record.level().as_str().to_lowercase(), record.args()))
        .init();
    cli::main()
}

/// Switches off Mesa's device-select layer. It would sort adapters by the desktop's wishes, which is done here by their
/// type, and prints an error about XDG_RUNTIME_DIR on machines without a desktop.
#[expect(unsafe_code, reason = "the layer reads the environment and nothing else")]
fn quiet_device_select() {
    // SAFETY: the first thing that main does: there is no other thread that could read the environment.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
}
