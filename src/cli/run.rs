//! Arguments of commands that run a model.

use super::args::{KernelArguments, ModelArguments, at_least_one};
use super::ranks::RankArguments;

/// Which model, on what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) model: ModelArguments,
    /// Adapter to use: a part of its name, driver or API, as `lapidary devices` prints them
    #[arg(long, value_name = "SUBSTRING")]
    pub(super) adapter: Option<String>,
    /// Tokens that prompt and answer may have together; without it, as many as model and device allow
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_hyphen_values = true)]
    pub(super) context: Option<usize>,
    #[command(flatten)]
    pub(super) kernels: KernelArguments,
    #[command(flatten)]
    pub(super) ranks: RankArguments,
}
