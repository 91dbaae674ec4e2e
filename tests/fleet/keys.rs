//! What a device compiles, of all presets with all that can be chosen: found by planning, so that nothing is listed by hand.
#![allow(dead_code, reason = "each binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lapidary::gemma4::{Config, Cut, LayerConfig};
use lapidary::gpu::{Gpu, Tier};
use lapidary::model::KvDtype;
use lapidary::model::{Head, Options, Precision};
use lapidary::quant::Format;
use lapidary::testing::gpu::PipelineKey;
use lapidary::testing::kernels::{SHADERS, Shader};

/// A pipeline, and what uses it.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    pub(crate) key: PipelineKey,
    /// Whether steps of few rows run it.
    pub(crate) decodes: bool,
}

/// Pipelines by their names.
pub(crate) type Keys = BTreeMap<String, Used>;

/// A name that no other pipeline has.
pub(crate) fn name(key: &PipelineKey) -> String {
    let constants: Vec<_> = key.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {}", kernel(key), constants.join(",")).trim_end().to_owned()
}

/// The name of its shader.
pub(crate) fn kernel(key: &PipelineKey) -> String {
    format!("{} {}", key.stem, key.variant).trim_end().to_owned()
}

/// The layers of a preset up to where each sort of layer was met: kinds of attention, widths, whose keys are read by whom.
pub(crate) fn short(name: &str) -> Config {
    let cut = |layers| Config::preset(name, Cut { layers, ..Cut::default() }).expect("a preset");
    let sorts = |config: &Config| {
        let sources: Vec<_> = config.layers.iter().filter_map(|layer| layer.kv_source).collect();
        let sort = |(l, layer): (usize, &LayerConfig)| {
            let own = (layer.kv_source.is_some(), layer.k_eq_v, sources.contains(&l));
            format!("{:?}", (layer.kind, layer.head_dim, layer.num_key_value_heads, layer.intermediate_size, own))
        };
        config.layers.iter().enumerate().map(sort).collect::<BTreeSet<_>>()
    };
    let whole = cut(None);
    let all = sorts(&whole);
    (1..whole.layers.len()).map(|n| cut(Some(n))).find(|config| sorts(config) == all).unwrap_or(whole)
}

/// All that can be chosen on `gpu`: kernels and precisions, each with every KV cache and every head. Caches and heads are
/// different kernels, so that not every pair of them is needed.
pub(crate) fn choices(gpu: &Gpu) -> Vec<Options> {
    const CACHES: [KvDtype; 3] = [KvDtype::F32, KvDtype::F16, KvDtype::Int8];
    let rest =
        CACHES.map(|kv| (kv, Head::Keep)).into_iter().chain([Head::Int8, Head::Int4].map(|head| (CACHES[0], head)));
    tiers(gpu).into_iter().flat_map(|options| rest.clone().map(move |(kv, head)| with(&options, kv, head))).collect()
}

/// Kernels and precisions.
fn tiers(gpu: &Gpu) -> Vec<Options> {
    let tiers = Tier::ALL.into_iter().filter(|tier| *tier <= gpu.strongest_tier() && *tier != Tier::F16);
    let fast = tiers.map(|tier| (Precision::Fast, Some(tier))).chain([(Precision::Exact, None)]);
    fast.map(|(precision, tier)| Options { precision, tier, ..Options::exact() }).collect()
}

fn with(options: &Options, kv: KvDtype, head: Head) -> Options {
    Options { kv: Some(kv), head, ..options.clone() }
}

/// What all presets make of `gpu`, with layers stored as `linear`, or as synthetic models have them.
pub(crate) fn planned(gpu: &Arc<Gpu>, linear: Option<Format>) -> Keys {
    let mut keys = Keys::new();
    for config in Config::presets().map(short) {
        choices(gpu).iter().for_each(|options| add(&mut keys, gpu, &config, linear, options));
    }
    keys
}

/// Adds what one model makes.
pub(crate) fn add(keys: &mut Keys, gpu: &Arc<Gpu>, config: &Config, linear: Option<Format>, options: &Options) {
    let planned = lapidary::testing::model::synthetic_pipelines(gpu, config, linear, options);
    for pipeline in planned.unwrap_or_else(|e| panic!("{options:?}: {e}")) {
        let new = Used { key: pipeline.key.clone(), decodes: false };
        keys.entry(name(&pipeline.key)).or_insert(new).decodes |= pipeline.decodes;
    }
}

/// What runs beside models: to make weights, to measure a device, to look for a fault. None of it has constants.
pub(crate) fn others(keys: &Keys) -> Keys {
    let met = |stem: &str| keys.values().any(|used| used.key.stem == stem);
    let alone = SHADERS.iter().filter(|shader| !met(shader.stem) && !shader.wgsl(false).contains("override "));
    let key = |shader: &Shader| PipelineKey { stem: shader.stem, variant: shader.variant, constants: Vec::new() };
    alone.map(|shader| (kernel(&key(shader)), Used { key: key(shader), decodes: false })).collect()
}
