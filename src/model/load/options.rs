//! How a model is laid out on the device, and how far its loading is.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Remedy, Usage};
use crate::gemma4::Config;
use crate::gpu::{Ability, AdapterReport, Gpu, Tier, Tiers};
use crate::kernels::KvDtype;
use crate::model::kv::cache::largest_position_bytes;
use crate::parallel::Parallel;
use crate::{Error, Result, cache_folder};

/// How a model is laid out on the device.
#[derive(Debug, Clone)]
pub struct Options {
    /// Positions a sequence can have; `None` for the model's own limit, cut to what the device can address.
    pub context: Option<usize>,
    /// Sequences that the KV cache holds side by side.
    pub slots: usize,
    /// Rows of a prefill chunk, at most: software adapters and GPUs that are no cards of their own take fewer.
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

/// Rows of a prefill chunk that `gpu` takes at most. Larger chunks fill the experts' tiles, but a submission must not run so
/// long that a driver thinks the device hangs.
pub(crate) fn most_chunk_rows(gpu: &Gpu) -> usize {
    let adapter = gpu.adapter();
    match (gpu.has_cpu_kernels(), adapter.is_card()) {
        (true, _) => 256,
        (false, true) => usize::MAX,
        (false, false) => 512,
    }
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

impl Options {
    /// The kernels that run on `gpu`.
    ///
    /// # Errors
    /// [`Error::Usage`] where a tier was asked for that the device does not have.
    pub fn tiers(&self, gpu: &Gpu) -> Result<Tiers> {
        let strongest = gpu.strongest_tier();
        // No kernel uses f16 without matrices yet: those of the tier below run.
        let asked = self.tier.map(|tier| if tier == Tier::F16 { Tier::Dot } else { tier });
        match (self.precision, asked) {
            (_, Some(tier)) if tier > strongest => {
                // DX12 has no cooperative matrices with any compiler.
                let dxc_has_it = tier == Tier::Dot && !gpu.mask().has(Ability::Dot);
                Err(too_strong(self.tier.unwrap_or(tier), gpu.adapter(), strongest, dxc_has_it))
            }
            (Precision::Exact, _) => Ok(Tiers::all(Tier::Plain)),
            (Precision::Fast, tier) => Ok(tier.map_or(gpu.default_tiers(), Tiers::all)),
        }
    }

    /// As [`Options::kv`], on a device that may do without some of the formats.
    ///
    /// # Errors
    /// [`Error::Usage`] where one was asked for that `gpu` does without.
    pub(crate) fn kv_on(&self, gpu: &Gpu) -> Result<KvDtype> {
        let is_off = |kv| match kv {
            KvDtype::F32 => false,
            KvDtype::F16 => gpu.mask().has(Ability::KvF16),
            KvDtype::Int8 => gpu.mask().has(Ability::KvInt8),
        };
        match (self.kv(), self.kv) {
            (kv, _) if !is_off(kv) => Ok(kv),
            (_, None) => Ok(KvDtype::F32),
            (_, Some(kv)) => {
                let device = gpu.adapter().info.name.clone();
                Err(Usage::Cache { device, asked: format!("{kv:?}") }.into())
            }
        }
    }

    /// Fails for experts that the model does not have.
    ///
    /// # Errors
    /// [`Error::Usage`] with what was asked for and what there is.
    pub(crate) fn check_host_experts(&self, config: &Config) -> Result<()> {
        let layers = if config.is_moe() { config.num_hidden_layers } else { 0 };
        match self.host_experts {
            asked if asked > layers => Err(Usage::HostExperts { asked, layers }.into()),
            _ => Ok(()),
        }
    }

    /// How the KV cache holds keys and values.
    pub fn kv(&self) -> KvDtype {
        self.kv.unwrap_or(match self.precision {
            Precision::Exact => KvDtype::F32,
            Precision::Fast => KvDtype::F16,
        })
    }
}

/// What is said where `tier` was asked for on an adapter that has at most `strongest`: also why and what would help, where the
/// other compiler has that tier.
fn too_strong(tier: Tier, adapter: &AdapterReport, strongest: Tier, dxc_has_it: bool) -> Error {
    let how = adapter.compiler.as_ref().filter(|_| dxc_has_it).and_then(|compiler| compiler.remedy());
    Error::Usage(Usage::Tier {
        device: adapter.info.name.clone(),
        asked: tier.to_string(),
        strongest: strongest.to_string(),
        remedies: how.into_iter().map(|how| Remedy::Compiler { how }).collect(),
    })
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

/// The context to plan for: what was asked, or the model's own, within what one binding of a full layer can hold.
pub(crate) fn context_length(config: &Config, options: &Options, gpu: &Gpu) -> Result<usize> {
    let position_bytes = largest_position_bytes(config, options.kv_on(gpu)?) * options.slots as u64;
    let fits = (gpu.max_binding_bytes() / position_bytes.max(1)) as usize;
    match options.context {
        None => Ok(config.max_position_embeddings.min(fits)),
        Some(0) => Err(Usage::NoContext.into()),
        Some(asked) if asked > config.max_position_embeddings => {
            Err(Usage::Context { asked, most: config.max_position_embeddings }.into())
        }
        Some(asked) if asked > fits => {
            Err(Usage::ContextOnDevice { device: gpu.adapter().info.name.clone(), asked, most: fits }.into())
        }
        Some(asked) => Ok(asked),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::Compiler;

    #[test]
    fn a_tier_that_fxc_has_not_is_refused_with_a_remedy() {
        let mut adapter = Gpu::imagined().unwrap().adapter().clone();
        let said = |adapter: &AdapterReport| too_strong(Tier::Dot, adapter, Tier::Plain, true).to_string();
        let plain = "tier dot was asked for, but the strongest that \"a GPU\" can run is plain";
        assert_eq!(said(&adapter), plain);
        adapter.compiler = Some(Compiler::Dxc("dxcompiler.dll".into()));
        assert_eq!(said(&adapter), plain);
        adapter.compiler = Some(Compiler::Fxc(None));
        let fxc = said(&adapter);
        assert!(
            fxc.starts_with(plain) && fxc.contains("FXC") && fxc.contains("for DXC: put dxcompiler.dll into "),
            "{fxc}"
        );
        assert!(!fxc.contains('\n'));
        // What no compiler would bring.
        let matrix = too_strong(Tier::Matrix, &adapter, Tier::Plain, false).to_string();
        assert_eq!(matrix, plain.replace("dot", "matrix"));
    }
}
