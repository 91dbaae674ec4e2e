//! How far the fast path is from the exact one: divergence of the predictions and agreement of the most probable token.
//!
//! `cargo bench --bench precision -- --help`. Without `--model` and `--synthetic`, on the demo model. The exact model runs
//! first, and its logits are kept in host memory; then each fast one is loaded alone and fed the same texts, in chunks, in
//! steps of 4 rows and row by row, for which there are kernels each.

mod compare;
mod texts;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::gemma4::{Config, Cut};
use lapidary::gpu::{Gpu, Tier};
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, Options, Outliers, Precision};
use lapidary::{Error, Result};

use compare::{Difference, Sequence, Summary, differences, entropy};

/// Measure how far the fast path is from the exact one
///
/// Without --kv and --head: for each tier the default (f16 cache, int8 head) and then each ingredient alone. With one of
/// them: all combinations. A synthetic model's head is made in its format, not requantized: the exact one has the same.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory of the model; without it, the demo model
    #[arg(long, value_name = "DIR", conflicts_with = "synthetic")]
    model: Option<PathBuf>,
    /// Random int4 weights of a released model's shapes, fed random ids
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Config::presets()))]
    synthetic: Option<String>,
    /// Its first N layers
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// N experts a layer
    #[arg(long, value_name = "N")]
    experts: Option<usize>,
    /// N tokens of the vocabulary
    #[arg(long, value_name = "N")]
    vocab: Option<usize>,
    /// Channels of its residual stream that are 20 to 50 times larger than the others
    #[arg(long, value_name = "N", default_value = "8")]
    outliers: usize,
    /// Kernels: plain, dot, f16 or matrix; without it, what suits the device
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = tier)]
    tier: Vec<Tier>,
    /// KV cache: f32, f16 or int8
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kv)]
    kv: Vec<KvDtype>,
    /// Head: keep, int8 or int4
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = head)]
    head: Vec<Head>,
    /// Tokens in chunks, half of them sampled and half prose; without it, 20000, and 512 of a synthetic model
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// Tokens of these in steps of 4 rows and of one; without it, 2000, and 512 of a synthetic model
    #[arg(long, value_name = "N")]
    decode: Option<usize>,
    /// Adapter: a part of its name, driver or API
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

const KV: [(&str, KvDtype); 3] = [("f32", KvDtype::F32), ("f16", KvDtype::F16), ("int8", KvDtype::Int8)];
const HEAD: [(&str, Head); 3] = [("keep", Head::Keep), ("int8", Head::Int8), ("int4", Head::Int4)];
/// Rows of a step, and what that is called. The first runs all texts.
const PATHS: [(&str, usize); 3] = [("chunk", usize::MAX), ("4 rows", 4), ("1 row", 1)];
/// How many times larger than others the smallest and the largest outlier is.
const OUTLIERS: [f32; 2] = [20.0, 50.0];

fn named<T: Copy>(table: &[(&str, T)], text: &str) -> std::result::Result<T, String> {
    let known = || table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    table
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("expected one of {}", known()))
}

fn tier(text: &str) -> std::result::Result<Tier, String> {
    named(&Tier::ALL.map(|tier| (tier.name(), tier)), text)
}

fn kv(text: &str) -> std::result::Result<KvDtype, String> {
    named(&KV, text)
}

fn head(text: &str) -> std::result::Result<Head, String> {
    named(&HEAD, text)
}

/// What rounds in the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    tier: Tier,
    kv: KvDtype,
    head: Head,
}

impl Variant {
    fn cells(self) -> String {
        let kv = KV.iter().find(|(_, kv)| *kv == self.kv).map_or("?", |(name, _)| name);
        let head = HEAD.iter().find(|(_, head)| *head == self.head).map_or("?", |(name, _)| name);
        format!("{} | {kv} | {head}", self.tier)
    }
}

/// Texts of one kind, with the exact model's logits.
struct Texts {
    name: &'static str,
    sequences: Vec<Sequence>,
    exact: Vec<Vec<f32>>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    if arguments.synthetic.is_some() && arguments.head.len() > 1 {
        return Err(Error::usage("--synthetic with several heads: these are different models, expected one"));
    }
    let mut exact = arguments.load(None)?;
    let (adapter, variants) = (exact.gpu().adapter(), arguments.variants(exact.gpu()));
    println!("{}, {}, {}", adapter.info.name, adapter.api(), adapter.driver());
    let mut texts = arguments.texts(&mut exact)?;
    let vocab = exact.config().vocab_size;
    for Texts { name, sequences, exact: logits } in &mut texts {
        *logits = sequences.iter().map(|text| text.logits(&mut exact, usize::MAX)).collect::<Result<_>>()?;
        let mean = |of: &dyn Fn(&Sequence, &Vec<f32>) -> f64| {
            sequences.iter().zip(logits.iter()).map(|(text, logits)| of(text, logits)).sum::<f64>()
                / sequences.len() as f64
        };
        let surprise = mean(&|text, logits| text.surprise(logits, vocab));
        let (entropy, even) = (mean(&|_, logits| entropy(logits, vocab)), (vocab as f64).ln());
        println!(
            "{name}: to the exact model {surprise:.2} nats a token, where it is undecided by {entropy:.2} (an even guess: {even:.2})"
        );
    }
    println!("\n| tier | kv | head | step | text | tokens | mean KL | 99 % | largest | same top-1 |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    eprintln!("exact logits after {:.0} s", start.elapsed().as_secs_f64());
    // What the order of f32 sums alone makes of it.
    arguments.measure(&mut exact, "exact | f32 | exact", &texts, &PATHS[1..])?;
    drop(exact);
    for variant in variants {
        let mut model = arguments.load(Some(variant))?;
        arguments.measure(&mut model, &variant.cells(), &texts, &PATHS)?;
        eprintln!("{} after {:.0} s", variant.cells(), start.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Arguments {
    /// The default of the fast path and each of its ingredients alone, or all combinations of what was asked for.
    fn variants(&self, gpu: &Gpu) -> Vec<Variant> {
        let tiers = if self.tier.is_empty() { vec![gpu.default_tier()] } else { self.tier.clone() };
        let mut variants = Vec::new();
        let mut add = |tier, kv, head| {
            let variant = Variant { tier, kv, head };
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        };
        if self.kv.is_empty() && self.synthetic.is_some() {
            let head = self.synthetic_head();
            tiers.iter().for_each(|&tier| add(tier, KvDtype::F16, head));
            tiers.iter().for_each(|&tier| add(tier, KvDtype::F32, head));
            [KvDtype::F16, KvDtype::Int8].into_iter().for_each(|kv| add(Tier::Plain, kv, head));
            return variants;
        }
        if self.kv.is_empty() && self.head.is_empty() {
            tiers.iter().for_each(|&tier| add(tier, KvDtype::F16, Head::Int8));
            tiers.iter().for_each(|&tier| add(tier, KvDtype::F32, Head::Keep));
            [KvDtype::F16, KvDtype::Int8].into_iter().for_each(|kv| add(Tier::Plain, kv, Head::Keep));
            [Head::Int8, Head::Int4].into_iter().for_each(|head| add(Tier::Plain, KvDtype::F32, head));
            return variants;
        }
        let kvs = if self.kv.is_empty() { vec![KvDtype::F16] } else { self.kv.clone() };
        let heads = if self.head.is_empty() { vec![Head::Int8] } else { self.head.clone() };
        for &tier in &tiers {
            for &kv in &kvs {
                heads.iter().for_each(|&head| add(tier, kv, head));
            }
        }
        variants
    }

    /// The head of all synthetic models: other formats are other random numbers.
    fn synthetic_head(&self) -> Head {
        self.head.first().copied().unwrap_or(Head::Int8)
    }

    /// The exact model, which also samples, or a fast one.
    fn load(&self, variant: Option<Variant>) -> Result<Gemma4> {
        let common = Options { context: Some(texts::LONGEST), ..Options::exact() };
        let options = match variant {
            None if self.synthetic.is_some() => Options { head: self.synthetic_head(), ..common },
            None => Options { slots: texts::SLOTS, ..common },
            Some(Variant { tier, kv, head }) => {
                Options { precision: Precision::Fast, tier: Some(tier), kv: Some(kv), head, ..common }
            }
        };
        let gpu = Gpu::open(self.adapter.as_deref())?;
        let Some(name) = &self.synthetic else {
            return Gemma4::load(gpu, &Checkpoint::open(self.source())?, &options, &|_| ());
        };
        let config = Config::preset(name, Cut { layers: self.layers, experts: self.experts, vocab: self.vocab })?;
        let [smallest, largest] = OUTLIERS;
        let outliers = Outliers { channels: self.outliers, smallest, largest };
        Gemma4::synthetic_with_outliers(gpu, config, outliers, &options, &|_| ())
    }

    fn source(&self) -> Source {
        // Cargo runs benches in the repository's root; a binary that was built elsewhere is to be run there too.
        Source::Directory(self.model.clone().unwrap_or_else(|| "examples/demo-model".into()))
    }

    fn texts(&self, exact: &mut Gemma4) -> Result<Vec<Texts>> {
        let texts = |name, sequences| Texts { name, sequences, exact: Vec::new() };
        if self.synthetic.is_some() {
            let random = texts::random(exact.config().vocab_size, self.tokens.unwrap_or(512));
            return Ok(vec![texts("random", random)]);
        }
        let (half, source) = (self.tokens.unwrap_or(20_000).div_ceil(2), self.source());
        let (text, checkpoint) = (texts::text_model(&source)?, Checkpoint::open(source)?);
        let sampled = texts::sampled(exact, &text, checkpoint.stop_ids(), half)?;
        Ok(vec![texts("sampled", sampled), texts("prose", texts::prose(&text, half)?)])
    }

    /// Prints a row for each way of feeding `texts` and each kind of them.
    fn measure(&self, model: &mut Gemma4, cells: &str, texts: &[Texts], paths: &[(&str, usize)]) -> Result<()> {
        let vocab = model.config().vocab_size;
        let decode = self.decode.unwrap_or(if self.synthetic.is_some() { 512 } else { 2000 }).div_ceil(texts.len());
        for (path, step_rows) in paths {
            let most = if *step_rows == usize::MAX { usize::MAX } else { decode };
            for Texts { name, sequences, exact } in texts {
                let mut all: Vec<Difference> = Vec::new();
                for (sequence, exact) in sequences.iter().zip(exact) {
                    if all.len() < most {
                        all.extend(differences(exact, &sequence.logits(model, *step_rows)?, vocab));
                    }
                }
                if all.is_empty() {
                    return Err(Error::usage(format!("{name}: no tokens to measure on, expected some")));
                }
                let Summary { tokens, mean, percentile_99, largest, same_choice } = Summary::new(&all);
                println!(
                    "| {cells} | {path} | {name} | {tokens} | {mean:.1e} | {percentile_99:.1e} | {largest:.1e} | {:.2} % |",
                    100.0 * same_choice
                );
            }
        }
        Ok(())
    }
}
