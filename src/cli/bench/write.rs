//! `--write DIR`: a made-up checkpoint instead of measurements.

use std::io::Write;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use lapidary::Error;
use lapidary::checkpoint::write_random;
use lapidary::gemma4::Cut;
use lapidary::paths::check_no_device;

use super::super::terminal::{plural, size};

/// Writes the model and says what is there now.
pub(super) fn run(name: &str, cut: Cut, directory: &Path) -> anyhow::Result<u8> {
    check_no_device(directory).map_err(|error| Error::usage(format!("--write {}: {error}", directory.display())))?;
    let style = ProgressStyle::with_template("writing {bar:30} {binary_bytes}/{binary_total_bytes} {eta}");
    let bar = ProgressBar::new(0).with_style(style.expect("a valid template"));
    let written = write_random(directory, name, cut, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let written = written?;
    let (files, bytes) = (plural(written.files, "file"), size(written.size_bytes));
    writeln!(std::io::stdout(), "{name}, random weights: {bytes} in {files} in {}", directory.display())?;
    Ok(0)
}
