//! What is asked of a model, and how far its loading is. What becomes of it is in `layout.rs`.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache_folder;
use crate::gpu::Tier;
use crate::kernels::KvDtype;
use crate::parallel::Parallel;

/// How a model is to be laid out on its devices.
#[derive(Debug, Clone)]
pub struct Options {
    /// Positions a sequence can have; `None` for the model's own limit, cut to what the device can address.
    pub context: Option<usize>,
    /// Sequences that the KV cache holds side by side.
    pub slots: usize,
    /// Rows of a prefill chunk, at most: software adapters and integrated GPUs use smaller chunks.
    pub chunk_rows: usize,
    /// Bytes of weights that one buffer holds at most; `None` for what the device binds at once.
    pub max_part_bytes: Option<u64>,
    /// How the model is spread over ranks.
    pub parallel: Parallel,
    /// What becomes of a dense head.
    pub head: Head,
    /// Whether products may round activations, and the cache keys and values.
    pub precision: Precision,
    /// The strongest kernels for [`Precision::Fast`]; `None` for those that suit the device.
    pub tier: Option<Tier>,
    /// How the KV cache holds keys and values; `None` for what goes with the precision.
    pub kv: Option<KvDtype>,
    /// Layers, from the first on, whose experts stay in host memory; a step brings those that it needs to the device.
    pub host_experts: usize,
    /// Whether [`crate::model::Gemma4::mark`] copies the rings of sliding layers: as many bytes again as these take.
    pub marks: bool,
    /// Bytes that may be taken on each device; `None` for as many as there are. Within a budget the KV cache of the whole
    /// context is taken at once.
    pub memory: Option<u64>,
    /// A folder for compiled pipelines; `None` to compile them in every run.
    pub cache: Option<PathBuf>,
}

/// How exact the computation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// f32 activations and KV cache. A row's result does not depend on the others in its step, within steps of up to 16 rows
    /// and within larger ones; these two add up in another order.
    Exact,
    /// Activations in int8 or f16 where that is faster, KV cache in f16.
    Fast,
}

/// What becomes of a dense head, which is the embedding too where they are tied: in bf16 it is half of what a token of
/// 26B-A4B reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It stays as the file has it.
    Keep,
    /// Codes of 8 bits in groups of 32.
    Int8,
    /// Codes of 4 bits in groups of 32.
    Int4,
}

impl Head {
    /// Bits of a code; `None` where nothing is requantized.
    pub(crate) fn bits(self) -> Option<u32> {
        match self {
            Head::Keep => None,
            Head::Int8 => Some(8),
            Head::Int4 => Some(4),
        }
    }
}

impl Default for Options {
    /// What `lapidary chat` takes where nothing else is asked for: [`Precision::Fast`], a head of 8 bits, compiled pipelines in
    /// the cache folder ([`crate::cache_folder()`]).
    fn default() -> Self {
        Options {
            context: None,
            slots: 1,
            chunk_rows: 1024,
            max_part_bytes: None,
            parallel: Parallel::default(),
            head: Head::Int8,
            precision: Precision::Fast,
            tier: None,
            kv: None,
            host_experts: 0,
            marks: true,
            memory: None,
            cache: cache_folder(),
        }
    }
}

impl Options {
    /// For comparing numbers: [`Precision::Exact`], the head as the file has it, nothing copied that a chat would need, and
    /// nothing kept in files.
    pub fn exact() -> Self {
        Options { head: Head::Keep, precision: Precision::Exact, marks: false, cache: None, ..Options::default() }
    }
}

/// How long loading took. Weights and pipelines come at the same time: both are counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadTimes {
    /// Until all weights were verified and on their devices.
    pub weights: Duration,
    /// Until all pipelines were compiled and bound.
    pub pipelines: Duration,
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of weights on the device.
    Weights {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Compute pipelines compiled.
    Pipelines {
        /// So far.
        done: usize,
        /// In all.
        total: usize,
    },
}
