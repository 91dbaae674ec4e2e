//! Arguments that several commands take.

use std::path::PathBuf;
use std::str::FromStr;

use lapidary::doctor;
use lapidary::gpu::{Ability, Gpu, Kind, Mask, Tier};
use lapidary::model::{self, Head, KvDtype, Options};
use lapidary::{Bytes, Error, Result, cache_folder};

use super::fault::said;
use super::terminal::note;

/// Which model.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ModelArguments {
    /// Directory with config.json, tokenizer.json and *.safetensors; without it, the demo model in this program
    #[arg(long, short, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Also open files of the model that are links to outside its directory
    #[arg(long)]
    pub(super) follow_links: bool,
}

/// What the computation runs with.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct KernelArguments {
    /// Precision of the computation; without it, fast, and exact for `lapidary logits`
    #[arg(long, value_enum)]
    pub(super) precision: Option<Precision>,
    /// The strongest kernels for --precision fast; without it, those that suit the device
    #[arg(long, value_enum)]
    pub(super) tier: Option<TierName>,
    /// How the KV cache holds keys and values; without it, f16 for --precision fast and f32 for exact
    #[arg(long, value_enum)]
    pub(super) kv: Option<KvName>,
    /// Requantize a dense head, which is also the embedding where they are tied; without it, int8 for --precision fast
    #[arg(long, value_enum)]
    pub(super) head: Option<HeadName>,
    /// GPU memory that may be taken, on each device: 8G or 7.5GiB, in powers of 1024. What does not fit is refused before it is
    /// read, with what would fit; without it, as much as the device gives
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    pub(super) memory: Option<Bytes>,
    /// Keep the experts of the first N layers in host memory and bring those that a step needs to the GPU: slower, but a model
    /// fits that otherwise would not
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_hyphen_values = true)]
    pub(super) host_experts: Option<usize>,
    #[command(flatten)]
    pub(super) device: DeviceArguments,
}

fn size(text: &str) -> std::result::Result<Bytes, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// What of an adapter is used.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DeviceArguments {
    /// Leave these unused: f16, subgroups, dot, matrix, timestamps, immediates, pipeline-cache, cpu-kernels, kv-f16, kv-int8,
    /// or limit buffers=N, binding=N, buffer=N, threads=N, workgroup=N, immediates=N, lanes=N
    #[arg(long, value_name = "LIST", default_value_t, hide_default_value = true)]
    pub(super) disable: Mask,
    /// Shapes of workgroups for this kind of device, instead of what the adapter is: nvidia, rdna (AMD RX 5000 and later), gcn (AMD
    /// before that, and Instinct), intel, apple, adreno, cpu (software adapters), unknown (every other GPU)
    #[arg(long, value_name = "KIND")]
    pub(super) tuning: Option<Kind>,
    /// Neither keep nor use compiled shaders, and ignore what is known to fail on the adapter; so does the environment's
    /// LAPIDARY_NO_CACHE=1
    #[arg(long)]
    pub(super) no_cache: bool,
}

impl DeviceArguments {
    /// The folder for what can be made again.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { cache_folder() }
    }

    /// Opens an adapter, of several equal ones number `nth`, without `without`, with the shapes that were asked for.
    ///
    /// # Errors
    /// As [`Gpu::open`]; [`Error::Usage`] where kernels for software adapters are asked for and not to be used.
    pub(super) fn open_without(&self, adapter: Option<&str>, nth: usize, without: &Mask) -> Result<Gpu> {
        if self.tuning == Some(Kind::Cpu) && self.disable.has(Ability::CpuKernels) {
            return Err(Error::usage("--tuning cpu asks for the kernels that --disable cpu-kernels leaves unused"));
        }
        Ok(self.shaped(Gpu::open_without(adapter, nth, without)?))
    }

    /// `gpu` with the shapes of workgroups that were asked for.
    pub(super) fn shaped(&self, gpu: Gpu) -> Gpu {
        match self.tuning {
            Some(kind) => gpu.with_kind(kind),
            None => gpu,
        }
    }
}

/// Kernels, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TierName {
    /// f32 only.
    Plain,
    /// int8 activations, integer dot products.
    Dot,
    /// As dot: no kernel uses f16 without matrix units yet.
    F16,
    /// Matrix units too.
    Matrix,
}

/// How the KV cache holds keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KvName {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value.
    F16,
    /// A byte a value, and a scale for each block.
    Int8,
}

impl KernelArguments {
    /// `options` with what was asked for.
    pub(super) fn apply(&self, options: Options) -> Options {
        if self.precision() == Precision::Exact && self.tier.is_some() {
            note("--tier has no effect with --precision exact, which computes in f32");
        }
        let precision = match self.precision() {
            Precision::Exact => model::Precision::Exact,
            Precision::Fast => model::Precision::Fast,
        };
        let kv = self.kv.map(|kv| match kv {
            KvName::F32 => KvDtype::F32,
            KvName::F16 => KvDtype::F16,
            KvName::Int8 => KvDtype::Int8,
        });
        let memory = self.memory.map(|Bytes(bytes)| bytes);
        let host_experts = self.host_experts.unwrap_or(0);
        let tier = self.tier();
        Options { head: self.head(), precision, tier, kv, memory, host_experts, cache: self.device.cache(), ..options }
    }

    fn tier(&self) -> Option<Tier> {
        self.tier.map(|tier| match tier {
            TierName::Plain => Tier::Plain,
            TierName::Dot => Tier::Dot,
            TierName::F16 => Tier::F16,
            TierName::Matrix => Tier::Matrix,
        })
    }

    /// Opens an adapter, of several equal ones number `nth`: without what is not to be used, and what is known to fail. One
    /// that lacks the tier that was asked for is refused before anything is checked on it.
    ///
    /// # Errors
    /// As [`Gpu::open`]; [`Error::Usage`] for a tier that the adapter does not have.
    pub(super) fn open(&self, adapter: Option<&str>, nth: usize) -> Result<Gpu> {
        let asked = Options { tier: self.tier(), ..Options::exact() };
        let open = |without: &Mask| {
            let gpu = self.device.open_without(adapter, nth, without)?;
            asked.tiers(&gpu).map(|_| gpu)
        };
        match self.device.cache() {
            Some(folder) => doctor::open_checked(&open, &self.device.disable, &folder, &|about| note(said(&about))),
            None => open(&self.device.disable),
        }
    }
}

/// Accepted and ignored, so that scripts can pass `--adapter` to every command.
#[derive(Debug, clap::Args)]
pub(super) struct IdleAdapter {
    /// Taken as by every command, but without effect: this one opens no adapter
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
}

/// How exact the computation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Precision {
    /// f32 activations and KV cache.
    Exact,
    /// What is fastest on the device: int8 or f16 activations, f16 KV cache.
    Fast,
}

/// What becomes of a dense head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum HeadName {
    /// 8 bits a weight.
    Int8,
    /// 4 bits a weight.
    Int4,
    /// As the file has it.
    Keep,
}

impl KernelArguments {
    /// How exact the computation is.
    fn precision(&self) -> Precision {
        self.precision.unwrap_or(Precision::Fast)
    }

    /// What becomes of a dense head.
    pub(super) fn head(&self) -> Head {
        match (self.head, self.precision()) {
            (Some(HeadName::Int8), _) | (None, Precision::Fast) => Head::Int8,
            (Some(HeadName::Int4), _) => Head::Int4,
            (Some(HeadName::Keep), _) | (None, Precision::Exact) => Head::Keep,
        }
    }
}

/// How tokens are chosen. What is not given comes from generation_config.json.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Sampling (defaults come from generation_config.json)")]
pub(super) struct SamplingArguments {
    /// Divides the logits; 0 always takes the most probable token
    #[arg(long, value_name = "T", value_parser = number, allow_hyphen_values = true)]
    pub(super) temperature: Option<f32>,
    /// Draw from the K most probable tokens only; 0 is no limit
    #[arg(long, value_name = "K", value_parser = top_k, allow_hyphen_values = true)]
    pub(super) top_k: Option<usize>,
    /// Draw from the most probable tokens that together reach probability P
    #[arg(long, value_name = "P", value_parser = number, allow_hyphen_values = true)]
    pub(super) top_p: Option<f32>,
    /// The same seed gives the same text; without it, a random one
    #[arg(long, value_name = "S", value_parser = seed, allow_hyphen_values = true)]
    pub(super) seed: Option<u64>,
    /// Most tokens of an answer; without it, as many as the context holds
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_hyphen_values = true)]
    pub(super) max_tokens: Option<usize>,
}

pub(super) fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a whole number from 1 on".into()),
    }
}

fn top_k(text: &str) -> std::result::Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number from 0 on; 0 is no limit".into())
}

fn seed(text: &str) -> std::result::Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// Ranges are checked together with those of values from elsewhere.
fn number(text: &str) -> std::result::Result<f32, String> {
    text.parse().map_err(|_| "expected a number".into())
}

/// Token ids: `2,5,9`, `2 5 9` or `[2, 5, 9]`. Behind the last one may be a comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids(pub(super) Vec<u32>);

impl FromStr for Ids {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bare = text.trim();
        let bare = bare.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(bare);
        let bare = bare.trim_end();
        if bare.is_empty() {
            return Err(Error::usage("token ids: found none, expected a list like 2,5,9"));
        }
        let mut ids = Vec::new();
        for part in bare.strip_suffix(',').unwrap_or(bare).split(',') {
            if part.trim().is_empty() {
                let item = ids.len() + 1;
                return Err(Error::usage(format!("token ids: item {item} is empty, expected a number like 17")));
            }
            for word in part.split_whitespace() {
                let wrong = |_| Error::usage(format!("token ids: found {word:?}, expected a number like 17"));
                ids.push(word.parse().map_err(wrong)?);
            }
        }
        Ok(Ids(ids))
    }
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_anywhere() {
        for text in ["2,5,9", "2 5\n9\n", "[2, 5, 9]", " 2,5 , 9,"] {
            assert_eq!(text.parse::<Ids>().unwrap(), Ids(vec![2, 5, 9]), "{text:?}");
        }
        for text in ["", "[]", "[ ]", ",", "2,x", "-1", "2.5", "4294967296", "[2"] {
            assert!(text.parse::<Ids>().is_err(), "{text:?}");
        }
        for (text, item) in [("2,,3", 2), (",2", 1), ("[2 5, , 3]", 3), ("2,3,,", 3)] {
            let error = text.parse::<Ids>().unwrap_err().to_string();
            assert_eq!(error, format!("token ids: item {item} is empty, expected a number like 17"), "{text:?}");
        }
        assert_eq!(Ids(vec![2, 5]).to_string(), "2,5");
    }
}
