//! What was asked for becomes what will be, once and here: from here on nobody looks at [`Options`] again. What cannot be is
//! refused on the way: here what the devices cannot do, slots, and experts on the host; a context beyond the model's by
//! [`Config::check_context`]; devices, and shares that do not suit the model, in `share.rs`; shares that suit no model where they
//! are made (`parallel/shares.rs`).

use std::path::PathBuf;
use std::sync::Arc;

use super::options::{Head, Options, Precision};
use super::share::{self, PlacedShare, Share};
use crate::checkpoint::Checkpoint;
use crate::error::{Remedy, Usage};
use crate::gemma4::Config;
use crate::gpu::{Ability, AdapterReport, Gpu, Mask, Tier, Tiers};
use crate::kernels::KvDtype;
use crate::kernels::tuning::Tuning;
use crate::model::kv::cache::{KvLayout, largest_position_bytes};
use crate::model::run::step::FEW_ROWS;
use crate::{Error, Result};

/// What a model will be on its devices.
#[derive(Debug, Clone)]
pub(crate) struct ModelLayout {
    /// Positions that a sequence can have.
    pub context: usize,
    /// Rows that a step can have.
    pub chunk_rows: usize,
    /// What becomes of a dense head.
    pub head: Head,
    /// Layers, from the first on, whose experts stay in host memory.
    pub host_experts: usize,
    /// The folder for compiled pipelines, if any.
    pub cache: Option<PathBuf>,
    /// The ranks, each on its device.
    pub ranks: Vec<RankLayout>,
}

/// What a rank will be on its device.
#[derive(Debug, Clone)]
pub(crate) struct RankLayout {
    /// The device, which other ranks may share.
    pub gpu: Arc<Gpu>,
    /// What it holds of each matrix.
    pub share: Share,
    /// The kernels that it runs with.
    pub tiers: Tiers,
    /// The shapes of their workgroups.
    pub tuning: Tuning,
    /// Its KV cache.
    pub kv: KvLayout,
    /// Bytes of weights that one buffer holds at most.
    pub max_part_bytes: u64,
}

impl ModelLayout {
    /// What `options` ask of the model of `checkpoint` on `gpus`.
    ///
    /// # Errors
    /// [`Error::Usage`] for what model or devices cannot do.
    pub(crate) fn files(gpus: &[Arc<Gpu>], checkpoint: &Checkpoint, options: &Options) -> Result<Self> {
        let config = &checkpoint.config;
        let placed = share::place(gpus, checkpoint, &options.parallel)?;
        let layers = if config.is_moe() { config.num_hidden_layers } else { 0 };
        if options.host_experts > layers {
            return Err(Usage::HostExperts { asked: options.host_experts, layers }.into());
        }
        Self::placed(placed, options)
    }

    /// What `options` ask of a model that is made on `gpus`, whose layers all have groups of so many inputs.
    ///
    /// # Errors
    /// As [`ModelLayout::files`].
    pub(crate) fn synthetic(gpus: &[Arc<Gpu>], config: &Config, group_size: usize, options: &Options) -> Result<Self> {
        if options.host_experts > 0 {
            return Err(Usage::SyntheticHostExperts.into());
        }
        Self::placed(share::place_uniform(gpus, config, group_size, &options.parallel)?, options)
    }

    fn placed(placed: Vec<PlacedShare>, options: &Options) -> Result<Self> {
        let slots = options.slots;
        if slots == 0 {
            return Err(Usage::NoSlots.into());
        }
        // Within a budget nothing grows: while it did, old and new buffers would be there together.
        let (is_full, has_marks) = (options.memory.is_some(), options.marks);
        let rank = |PlacedShare { gpu, share }| {
            let dtype = kv_dtype(gpu.mask(), &gpu.adapter().info.name, options)?;
            let context = context(&gpu, &share.config, dtype, options)?;
            Ok(RankLayout {
                tiers: tiers(&gpu, options)?,
                tuning: Tuning::for_device(&gpu),
                kv: KvLayout { slots, context, is_full, dtype, has_marks },
                max_part_bytes: options.max_part_bytes.unwrap_or(u64::MAX).min(gpu.max_binding_bytes()),
                share,
                gpu,
            })
        };
        let mut ranks = placed.into_iter().map(rank).collect::<Result<Vec<_>>>()?;
        // All ranks hold the same positions and take the same steps.
        let context = ranks.iter().map(|rank| rank.kv.context).min().unwrap_or(0);
        ranks.iter_mut().for_each(|rank| rank.kv.context = context);
        let most_rows = ranks.iter().map(|rank| most_chunk_rows(&rank.gpu)).min().unwrap_or(usize::MAX);
        let chunk_rows = options.chunk_rows.min(most_rows).max(FEW_ROWS).min(context.max(FEW_ROWS));
        let Options { head, host_experts, ref cache, .. } = *options;
        Ok(ModelLayout { context, chunk_rows, head, host_experts, cache: cache.clone(), ranks })
    }

    /// The same on devices that only count; also these devices, each once.
    ///
    /// # Errors
    /// As [`Gpu::rehearsal`].
    pub(crate) fn rehearsal(&self) -> Result<Rehearsed> {
        let (mut known, mut devices): (Vec<&Arc<Gpu>>, Vec<Arc<Gpu>>) = (Vec::new(), Vec::new());
        let mut ranks = Vec::new();
        for rank in &self.ranks {
            let number = match known.iter().position(|gpu| Arc::ptr_eq(gpu, &rank.gpu)) {
                Some(number) => number,
                None => {
                    known.push(&rank.gpu);
                    devices.push(Arc::new(rank.gpu.rehearsal()?));
                    devices.len() - 1
                }
            };
            ranks.push(RankLayout { gpu: devices[number].clone(), ..rank.clone() });
        }
        Ok(Rehearsed { layout: ModelLayout { ranks, ..self.clone() }, devices })
    }
}

/// A model on devices that only count.
pub(crate) struct Rehearsed {
    pub layout: ModelLayout,
    /// Each device once, in the order of the ranks.
    pub devices: Vec<Arc<Gpu>>,
}

/// The kernels that run on `gpu`.
fn tiers(gpu: &Gpu, options: &Options) -> Result<Tiers> {
    let strongest = gpu.strongest_tier();
    // No kernel uses f16 without matrices yet: those of the tier below run.
    let asked = options.tier.map(|tier| if tier == Tier::F16 { Tier::Dot } else { tier });
    match (options.precision, asked) {
        (_, Some(tier)) if tier > strongest => {
            // DX12 has no cooperative matrices with any compiler.
            let dxc_has_it = tier == Tier::Dot && !gpu.mask().has(Ability::Dot);
            Err(too_strong(options.tier.unwrap_or(tier), gpu.adapter(), strongest, dxc_has_it))
        }
        (Precision::Exact, _) => Ok(Tiers::all(Tier::Plain)),
        (Precision::Fast, tier) => Ok(tier.map_or(gpu.default_tiers(), Tiers::all)),
    }
}

/// What is said where `tier` was asked for on an adapter that has at most `strongest`: also what would help, where the other
/// compiler has that tier.
fn too_strong(tier: Tier, adapter: &AdapterReport, strongest: Tier, dxc_has_it: bool) -> Error {
    let how = adapter.compiler.as_ref().filter(|_| dxc_has_it).and_then(|compiler| compiler.remedy());
    Error::Usage(Usage::Tier {
        device: adapter.info.name.clone(),
        asked: tier.to_string(),
        strongest: strongest.to_string(),
        remedies: how.into_iter().map(|how| Remedy::Compiler { how }).collect(),
    })
}

/// How the KV cache holds keys and values on `device`, which does without the formats in `mask`: as was asked for, or what
/// goes with the precision, as far as that is there.
fn kv_dtype(mask: &Mask, device: &str, options: &Options) -> Result<KvDtype> {
    let suits = match options.precision {
        Precision::Exact => KvDtype::F32,
        Precision::Fast => KvDtype::F16,
    };
    let wanted = options.kv.unwrap_or(suits);
    let is_off = match wanted {
        KvDtype::F32 => false,
        KvDtype::F16 => mask.has(Ability::KvF16),
        KvDtype::Int8 => mask.has(Ability::KvInt8),
    };
    match options.kv {
        _ if !is_off => Ok(wanted),
        None => Ok(KvDtype::F32),
        Some(kv) => Err(Usage::Cache { device: device.to_owned(), asked: format!("{kv:?}") }.into()),
    }
}

/// The context to plan for: what was asked, or the model's own, within what one binding of a full layer can hold.
fn context(gpu: &Gpu, config: &Config, dtype: KvDtype, options: &Options) -> Result<usize> {
    let position_bytes = largest_position_bytes(config, dtype).saturating_mul(options.slots as u64);
    let most = (gpu.max_binding_bytes() / position_bytes.max(1)) as usize;
    let asked = options.context.unwrap_or(config.max_position_embeddings.min(most.max(1)));
    config.check_context(asked)?;
    if asked > most {
        return Err(Usage::ContextOnDevice { device: gpu.adapter().info.name.clone(), asked, most }.into());
    }
    Ok(asked)
}

/// Rows of a prefill chunk that `gpu` takes at most. Larger chunks fill the experts' tiles, but a submission must not run so
/// long that a driver thinks the device hangs.
fn most_chunk_rows(gpu: &Gpu) -> usize {
    let adapter = gpu.adapter();
    match (gpu.has_cpu_kernels(), adapter.is_card()) {
        (true, _) => 256,
        (false, true) => usize::MAX,
        (false, false) => 512,
    }
}

impl Options {
    /// The kernels that run on `gpu` where these options are asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] where a tier was asked for that the device does not have.
    pub fn tiers(&self, gpu: &Gpu) -> Result<Tiers> {
        tiers(gpu, self)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Source;
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

    /// Everything of `layout` but the devices, whose names stand for them.
    fn described(layout: &ModelLayout) -> String {
        let ranks: Vec<String> = layout.ranks.iter().map(described_rank).collect();
        let ModelLayout { context, chunk_rows, head, host_experts, cache, .. } = layout;
        format!("{context} {chunk_rows} {head:?} {host_experts} {cache:?}\n{}", ranks.join("\n"))
    }

    fn described_rank(rank: &RankLayout) -> String {
        let RankLayout { gpu, share, tiers, tuning, kv, max_part_bytes } = rank;
        format!("{} {share:?} {tiers:?} {tuning:?} {kv:?} {max_part_bytes}", gpu.adapter().info.name)
    }

    /// The plan of memory is of what loading takes: both have one value, and what is asked of devices that only count comes
    /// out as of those that they stand for.
    #[test]
    fn a_plan_and_a_load_resolve_alike() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/moe-autoround-sym");
        let checkpoint = Checkpoint::open(Source::Directory(folder)).unwrap();
        let gpus = [Arc::new(Gpu::imagined().unwrap()), Arc::new(Gpu::imagined().unwrap())];
        let asked = |shares: &str, options: Options| Options {
            parallel: crate::parallel::Parallel { shares: shares.parse().unwrap(), ..Default::default() },
            ..options
        };
        for options in [
            asked("1,1", Options::default()),
            asked("3,1,2", Options { context: Some(100), slots: 3, memory: Some(1 << 30), ..Options::exact() }),
            asked("1,1", Options { kv: Some(KvDtype::Int8), chunk_rows: 40, host_experts: 1, ..Options::default() }),
            asked("1,1", Options { max_part_bytes: Some(60_000), head: Head::Int4, ..Options::default() }),
        ] {
            let layout = ModelLayout::files(&gpus, &checkpoint, &options).unwrap();
            let Rehearsed { layout: planned, devices } = layout.rehearsal().unwrap();
            assert_eq!(described(&planned), described(&layout), "{options:?}");
            assert_eq!(devices.len(), 2);
            let again = ModelLayout::files(&devices, &checkpoint, &options).unwrap();
            assert_eq!(described(&again), described(&layout), "{options:?}");
            let context = options.context.unwrap_or(checkpoint.config.max_position_embeddings);
            assert!(layout.ranks.iter().all(|rank| rank.kv.context == context), "{options:?}");
        }
    }

    /// A format of the cache that a device does without is refused where it was asked for, and replaced where it was not.
    #[test]
    fn a_cache_that_is_switched_off() {
        let on = |without: &str, kv| {
            kv_dtype(&without.parse().unwrap(), "a GPU", &Options { kv, ..Options::default() }).map_err(|e| e.code())
        };
        assert_eq!([on("", None), on("kv-int8", None)], [Ok(KvDtype::F16); 2]);
        assert_eq!([on("kv-f16", None), on("kv-f16", Some(KvDtype::F32))], [Ok(KvDtype::F32); 2]);
        let refused = [on("kv-f16", Some(KvDtype::F16)), on("kv-int8", Some(KvDtype::Int8))];
        assert_eq!(refused, [Err("E-CACHE"); 2]);
    }
}
