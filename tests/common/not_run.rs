//! What could not be tested is always said: when it is not run, and by `tests/run.sh` at the end.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the test of this thread did not run, and why, past the test runner's capture. A file that LAPIDARY_NOT_RUN names
/// gets the line too.
pub(crate) fn not_run(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: NOT RUN, {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    if let Some(path) = std::env::var_os("LAPIDARY_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of LAPIDARY_NOT_RUN");
    }
}
