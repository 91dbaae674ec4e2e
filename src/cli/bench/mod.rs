//! `lapidary bench`: how fast a model runs here, in the rows of llama-bench; of a model that need not be there.

mod load;
mod measure;
mod show;
mod write;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use lapidary::checkpoint::Checkpoint;
use lapidary::gemma4::{Config, Cut};
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options};
use lapidary::{Error, Result};

use super::args::{KernelArguments, ModelArguments, at_least_one};
use super::model::{Bars, format, introduce_host_experts};
use super::ranks::{self, RankArguments};
use load::Load;
use measure::{Bench, Case, Test, copy_rates, timestamps};
use show::{Rank, Report, devices, tuning};

/// Measure prefill and decode speed, also of models that are not there
///
/// Without --model and --synthetic, of the demo model. ppN is the prefill of N tokens; tgN is the greedy decoding of N
/// tokens in each of --batch sequences, which run together. Both run behind --depth tokens that are there already. Shown
/// are mean and standard deviation of the repeats, after one more run that does not count.
///
/// What a decode step reads is counted from shapes: weights once, of the experts those that it chooses, keys and values
/// of every sequence. Its share of the copy rate, which is measured on the device (bytes read and bytes written), says
/// how far memory bounds the speed. Of several ranks both are sums: what all of them read, what all adapters copy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary bench --model DIR
  lapidary bench --synthetic 26b-a4b              before downloading 14 GB: how fast would it be?
  lapidary bench --synthetic 26b-a4b --layers 6 --profile -d 0,4096 -b 1,8
  lapidary bench --model DIR --adapters amd,intel the model cut for two cards
  lapidary bench --synthetic 26b-a4b --write DIR  the same as 14 GB of files, to measure loading")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Random int4 weights of a released model's shapes, made on the device: there is no file
    #[arg(long, value_name = "NAME", conflicts_with = "model", value_parser = PossibleValuesParser::new(Config::presets()))]
    synthetic: Option<String>,
    /// Take the first N layers of it only, the last of them as a full one
    #[arg(long, value_name = "N", requires = "synthetic", value_parser = at_least_one, allow_hyphen_values = true)]
    layers: Option<usize>,
    /// Take N experts a layer only
    #[arg(long, value_name = "N", requires = "synthetic", value_parser = at_least_one, allow_hyphen_values = true)]
    experts: Option<usize>,
    /// Take N tokens of the vocabulary only
    #[arg(long, value_name = "N", requires = "synthetic", value_parser = at_least_one, allow_hyphen_values = true)]
    vocab: Option<usize>,
    /// Write it into DIR instead, as the files of an AutoRound checkpoint, to measure loading with --model DIR
    #[arg(long, value_name = "DIR", requires = "synthetic")]
    write: Option<PathBuf>,
    /// Adapter to use: a part of its name, driver or API, as `lapidary devices` prints them
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
    /// Tokens of the prefill tests; 0 for none
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', default_value = "512,2048", value_parser = whole, allow_hyphen_values = true)]
    prompt: Vec<usize>,
    /// Tokens of the decode tests; 0 for none
    #[arg(long, short = 'n', value_name = "LIST", value_delimiter = ',', default_value = "128", value_parser = whole, allow_hyphen_values = true)]
    generate: Vec<usize>,
    /// Tokens that the sequences hold before a test
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', default_value = "0", value_parser = whole, allow_hyphen_values = true)]
    depth: Vec<usize>,
    /// Sequences that decode together
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = at_least_one, allow_hyphen_values = true)]
    batch: Vec<usize>,
    /// Runs of each test that count
    #[arg(long, short, value_name = "N", default_value = "3", value_parser = at_least_one, allow_hyphen_values = true)]
    repeats: usize,
    #[command(flatten)]
    kernels: KernelArguments,
    #[command(flatten)]
    ranks: RankArguments,
    /// Time each kernel too, in a run of its own: how often, how long, its share, its rate
    #[arg(long)]
    profile: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Sequences of a batch: a step takes so many rows on every device.
const MOST_SEQUENCES: usize = 256;

fn whole(text: &str) -> std::result::Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number from 0 on".into())
}

/// What is measured: its name and format for people, where its weights come from, its shapes.
struct Subject {
    name: String,
    checkpoint: Option<Checkpoint>,
    config: Config,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    if let (Some(name), Some(directory)) = (&arguments.synthetic, &arguments.write) {
        return write::run(name, arguments.cut(), directory);
    }
    let start = Instant::now();
    let subject = arguments.subject()?;
    let cases = arguments.cases()?;
    let options = arguments.options(&cases, &subject.config)?;
    let gpus = arguments.ranks.devices(arguments.adapter.as_deref(), &arguments.kernels)?;
    let timestamps = arguments.profile.then(|| timestamps(&gpus)).transpose()?;
    let before = Instant::now();
    let copy_rate = copy_rates(&gpus)?;
    let measuring = before.elapsed();
    let mut bench = Bench::new(subject.load(gpus, &options)?);
    bench.first_token()?;
    let first_token_seconds = (start.elapsed() - measuring).as_secs_f64();
    let (times, peak_host_bytes) = (bench.model().load_times(), load::peak_host_bytes());
    let load = arguments.model.model.is_some().then_some(Load { times, first_token_seconds, peak_host_bytes });
    let rows = bench.run_all(&cases, arguments.repeats, timestamps)?;
    let model = bench.model();
    let report = Report {
        device: devices(model),
        ranks: Rank::all(model),
        model: subject.name,
        tiers: model.tiers(),
        tuning: tuning(model),
        context: model.context(),
        memory_bytes: model.allocated_bytes(),
        load,
        copy_rate,
        rows,
    };
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", report.json())?,
        false => write!(out, "{}", report.text())?,
    }
    out.flush()?;
    Ok(0)
}

impl Arguments {
    fn subject(&self) -> Result<Subject> {
        let Some(name) = &self.synthetic else {
            let checkpoint = self.model.open()?;
            let name = format!("{}, {}", self.model.name(), format(&checkpoint));
            return Ok(Subject { name, config: checkpoint.config.clone(), checkpoint: Some(checkpoint) });
        };
        let whole = Config::preset(name, Cut::default())?;
        let config = Config::preset(name, self.cut())?;
        let mut name = format!("{name}, synthetic int4 g128");
        for (what, part, all) in [
            ("layers", config.num_hidden_layers, whole.num_hidden_layers),
            ("experts", config.num_experts, whole.num_experts),
            ("tokens", config.vocab_size, whole.vocab_size),
        ] {
            if part != all {
                name.push_str(&format!(", {part} of {all} {what}"));
            }
        }
        Ok(Subject { name, config, checkpoint: None })
    }

    fn cut(&self) -> Cut {
        Cut { layers: self.layers, experts: self.experts, vocab: self.vocab }
    }

    /// For each depth the prefills, then for each batch the decodes.
    fn cases(&self) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for &depth in &self.depth {
            let prefills = self.prompt.iter().map(|&tokens| (Test::Prefill, tokens, 1));
            let decodes = self
                .batch
                .iter()
                .flat_map(|&batch| self.generate.iter().map(move |&tokens| (Test::Decode, tokens, batch)));
            for (test, tokens, batch) in prefills.chain(decodes).filter(|(_, tokens, _)| *tokens > 0) {
                cases.push(Case { test, tokens, depth, batch });
            }
        }
        if cases.is_empty() {
            return Err(Error::usage("--prompt 0 and --generate 0: nothing to measure, expected one above 0"));
        }
        Ok(cases)
    }

    /// Room for the longest case and the widest.
    fn options(&self, cases: &[Case], config: &Config) -> Result<Options> {
        let most = config.max_position_embeddings;
        if let Some(long) = cases.iter().find(|case| case.depth.saturating_add(case.tokens) > most) {
            return Err(Error::usage(format!(
                "{} at a depth of {} takes a context of {}, but the model's is {most}",
                long.name(),
                long.depth,
                long.depth.saturating_add(long.tokens)
            )));
        }
        let slots = cases.iter().map(|case| case.batch).max().unwrap_or(1);
        if slots > MOST_SEQUENCES {
            return Err(Error::usage(format!("a batch of {slots} was asked for, expected at most {MOST_SEQUENCES}")));
        }
        let longest = cases.iter().map(|case| case.depth + case.tokens).max().unwrap_or(0);
        // A step has no more rows than the context has positions.
        let context = Some(longest.max(slots).min(most));
        let parallel = self.ranks.parallel()?;
        let options = Options { context, slots, parallel, marks: false, ..Options::default() };
        Ok(self.kernels.apply(options))
    }
}

impl Subject {
    fn load(&self, gpus: Vec<Gpu>, options: &Options) -> Result<Gemma4> {
        let bars = Bars::default();
        let model = match &self.checkpoint {
            Some(checkpoint) => Gemma4::load_on(gpus, checkpoint, options, &|progress| bars.show(progress)),
            None => Gemma4::synthetic_on(gpus, self.config.clone(), options, &|progress| bars.show(progress)),
        };
        bars.clear();
        let model = model?;
        ranks::introduce(&model);
        introduce_host_experts(&model);
        Ok(model)
    }
}
