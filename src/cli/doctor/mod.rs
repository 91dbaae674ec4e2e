//! `lapidary doctor`: does this adapter compute what the reference does?

mod show;

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::doctor::{Demo, Examination};
use lapidary::gpu::{Gpu, Mask, Tier};

use super::cache;
use super::model::{DEMO, DEMO_GOLDEN};

/// Check that an adapter computes what it should
///
/// Runs every kernel that the adapter would use on small shapes that hurt, and the demo model's golden chats, and compares all
/// of it with the reference on the CPU. Where something fails, it is tried again without what that needs: matrix units,
/// integer dot products, a format of the KV cache. The last lines are meant for a bug report. The exit code is 4 where
/// something is wrong also with plain kernels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary doctor                  the default adapter
  lapidary doctor --adapter intel --json
  lapidary doctor --disable dot    as if it had no integer dot products")]
pub(super) struct Arguments {
    /// Adapter to check: a part of its name, driver or API, as `lapidary devices` prints them
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
    /// What to do without: f16, subgroups, dot, matrix, timestamps, immediates, pipeline-cache, kv-f16, kv-int8, ...
    #[arg(long, value_name = "LIST", default_value_t, hide_default_value = true)]
    disable: Mask,
    /// Compile all shaders anew and keep none; so does the environment's LAPIDARY_NO_CACHE=1
    #[arg(long)]
    no_cache: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The exit code where also plain kernels are wrong.
const BAD: u8 = 4;

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let checkpoint = Checkpoint::open(Source::Embedded(DEMO))?;
    let cache = if arguments.no_cache { None } else { cache::folder() };
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}").expect("the template is valid");
    let bar = ProgressBar::new(0).with_style(style).with_message("checking");
    let examination = Examination {
        open: &|without| Gpu::open_without(arguments.adapter.as_deref(), 0, without),
        without: arguments.disable.clone(),
        most: Tier::Matrix,
        brief: std::env::var_os("BRIEF").is_some(),
        cache: cache.as_deref(),
        demo: Some(Demo { checkpoint: &checkpoint, golden: DEMO_GOLDEN }),
        bug: None,
        progress: &|done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        },
    };
    let report = examination.run();
    bar.finish_and_clear();
    let report = report?;
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", show::json(&report))?,
        false => write!(out, "{}", show::text(&report))?,
    }
    out.flush()?;
    Ok(if report.is_bad() { BAD } else { 0 })
}
