//! `lapidary doctor`: does this adapter compute what the reference does?

mod show;

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::doctor::{Demo, Examination, Record};
use lapidary::gpu::Tier;

use super::args::DeviceArguments;
use super::model::{DEMO, DEMO_GOLDEN};

/// Check that an adapter computes what it should
///
/// Runs every kernel that the adapter would use on small shapes that hurt, and the demo model's golden chats, and compares all
/// of it with the reference on the CPU. Where something fails, it is tried again without what that needs: matrix units,
/// integer dot products, sums within subgroups, parameters sent with the commands, a format of the KV cache. What has to be left unused is kept in the cache folder, and all commands
/// leave it unused; a short form of the same runs by itself at the first start on an adapter or a driver. The last lines are
/// meant for a bug report. The exit code is 4 where something is wrong also with plain kernels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary doctor                  the default adapter
  lapidary doctor --adapter intel --json
  lapidary doctor --disable dot    as if it had no integer dot products
  lapidary doctor --tuning unknown with the shapes of workgroups for GPUs that no table knows")]
pub(super) struct Arguments {
    /// Adapter to check: a part of its name, driver or API, as `lapidary devices` prints them
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Only what runs by itself at a first start: few shapes of few kernels, no model; nothing is kept
    #[arg(long)]
    short: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// The exit code where also plain kernels are wrong.
const BAD: u8 = 4;

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let checkpoint = Checkpoint::open(Source::Embedded(DEMO))?;
    let cache = arguments.device.cache();
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}").expect("the template is valid");
    let bar = ProgressBar::new(0).with_style(style).with_message("checking");
    let examination = Examination {
        open: &|without| arguments.device.open_without(arguments.adapter.as_deref(), 0, without),
        without: arguments.device.disable.clone(),
        most: Tier::Matrix,
        brief: arguments.short,
        cache: cache.as_deref(),
        demo: (!arguments.short).then_some(Demo { checkpoint: &checkpoint, golden: DEMO_GOLDEN }),
        bug: None,
        one_by_one: false,
        progress: &|done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        },
        watch: &|_, _| (),
    };
    let report = examination.run();
    bar.finish_and_clear();
    let report = report?;
    // What was left unused by hand was not checked.
    let kept = cache.filter(|_| arguments.device.disable.is_empty() && !arguments.short);
    if let Some(folder) = &kept {
        Record::new(&report, false).keep(folder, &report);
    }
    let kept = kept.map(|folder| Record::path(&folder, &report.adapter, report.tuning));
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", show::json(&report))?,
        false => write!(out, "{}", show::text(&report, kept.as_deref()))?,
    }
    out.flush()?;
    Ok(if report.is_bad() { BAD } else { 0 })
}
