//! The `lapidary` binary: arguments in, exit code out.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use lapidary::error::{LINE_CHARACTERS, harmless};

fn main() -> ExitCode {
    quiet_device_select();
    quiet_contained_panics();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format(|out, record| {
            let line = harmless(&record.args().to_string(), LINE_CHARACTERS);
            writeln!(out, "{}: {line}", record.level().as_str().to_lowercase())
        })
        .init();
    cli::main()
}

/// A panic that becomes an error prints nothing of its own, also where RUST_BACKTRACE is set.
fn quiet_contained_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !lapidary::panics_are_contained() {
            hook(info);
        }
    }));
}

/// Switches off Mesa's device-select layer. It would sort adapters by the desktop's wishes, which is done here by their
/// type, and prints an error about XDG_RUNTIME_DIR on machines without a desktop.
#[expect(unsafe_code, reason = "the layer reads the environment and nothing else")]
fn quiet_device_select() {
    // SAFETY: the first thing that main does: there is no other thread that could read the environment.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
}
