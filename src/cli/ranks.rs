//! `--tensor-parallel` and its like: over how many ranks a model is spread, and on which adapters.

use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, PlacedRank};
use lapidary::parallel::{Cut, MAX_RANKS, Parallel, Shares, Split};
use lapidary::{Error, Result};

use super::args::KernelArguments;
use super::terminal::{note, size};

/// How the model is cut.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Several ranks, or several adapters")]
pub(super) struct RankArguments {
    /// Cut the model for N ranks, each with its own part of the weights and of the KV cache
    #[arg(long, value_name = "N", value_parser = ranks, allow_hyphen_values = true)]
    tensor_parallel: Option<usize>,
    /// How much each rank takes: 5,3 cuts 5:3
    #[arg(long, value_name = "LIST", value_parser = shares, allow_hyphen_values = true)]
    shares: Option<Shares>,
    /// What is cut: every matrix, or whole experts and everything else
    #[arg(long, value_enum, default_value_t = SplitName::Tensor)]
    split: SplitName,
    /// Where: as the shares say, also inside a quantization group, or at the nearest border of a group
    #[arg(long, value_enum, default_value_t = CutName::Even)]
    cut: CutName,
    /// Adapters that the ranks are spread over, as --adapter names them; alone, one rank each. A name that stands twice
    /// means two equal cards, or one of which two devices are made
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "adapter")]
    adapters: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum SplitName {
    #[default]
    Tensor,
    Expert,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum CutName {
    #[default]
    Even,
    Aligned,
}

fn ranks(text: &str) -> std::result::Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_RANKS).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MAX_RANKS}"))
}

fn shares(text: &str) -> std::result::Result<Shares, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

impl RankArguments {
    /// How the model is spread over ranks.
    ///
    /// # Errors
    /// [`Error::Usage`] where two arguments speak of different numbers of ranks.
    pub(super) fn parallel(&self) -> Result<Parallel> {
        let shares = match (&self.shares, self.tensor_parallel) {
            (Some(shares), Some(ranks)) if shares.ranks() != ranks => {
                let found = shares.ranks();
                return Err(Error::usage(format!(
                    "--shares {shares} is for {found} ranks, --tensor-parallel says {ranks}"
                )));
            }
            (Some(shares), _) => shares.clone(),
            (None, Some(ranks)) => Shares::equal(ranks)?,
            (None, None) => Shares::equal(self.adapters.len().max(1))?,
        };
        let split = match self.split {
            SplitName::Tensor => Split::Tensor,
            SplitName::Expert => Split::Expert,
        };
        let cut = match self.cut {
            CutName::Even => Cut::Even,
            CutName::Aligned => Cut::Aligned,
        };
        Ok(Parallel { shares, split, cut })
    }

    /// Whether `--adapters` chooses the devices.
    pub(super) fn names_adapters(&self) -> bool {
        !self.adapters.is_empty()
    }

    /// The devices: `--adapters`, or the one of `--adapter`.
    ///
    /// # Errors
    /// As [`KernelArguments::open`]; [`Error::Usage`] for an empty name.
    pub(super) fn devices(&self, adapter: Option<&str>, kernels: &KernelArguments) -> Result<Vec<Gpu>> {
        if self.adapters.is_empty() {
            return Ok(vec![kernels.open(adapter, 0)?]);
        }
        if self.adapters.iter().any(|name| name.trim().is_empty()) {
            return Err(Error::usage("--adapters: one of the names is empty, expected a list like amd,intel"));
        }
        let earlier =
            |i: usize| self.adapters[..i].iter().filter(|name| name.trim() == self.adapters[i].trim()).count();
        let open = |(i, name): (usize, &String)| kernels.open(Some(name.trim()), earlier(i));
        self.adapters.iter().enumerate().map(open).collect()
    }
}

/// One line for each of several ranks: what runs where, and what it holds.
pub(super) fn introduce(model: &Gemma4) {
    let ranks: Vec<_> = model.ranks().collect();
    if ranks.len() < 2 {
        return;
    }
    for (number, PlacedRank { gpu, heads, memory }) in ranks.iter().enumerate() {
        note(format_args!(
            "rank {number}: {} | query heads {} to {} | {} of weights, {} of KV cache, {} of activations",
            gpu.adapter().info.name,
            heads.start,
            heads.end - 1,
            size(memory.weights),
            size(memory.kv_cache),
            size(memory.activations),
        ));
    }
    let weights = ranks.iter().map(|rank| rank.memory.weights).sum();
    note(format_args!("{} ranks together hold {} of weights", ranks.len(), size(weights)));
}
