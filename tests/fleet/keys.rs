//! What a device compiles, of all presets with all that can be chosen: found by planning, so that nothing is listed by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use lapidary::checkpoint::{Config, Cut};
use lapidary::gpu::{Gpu, PipelineKey, Tier};
use lapidary::kernels::{KvDtype, Random, SHADERS};
use lapidary::model::{Gemma4, Head, Options, Precision};

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
        let sort = |(l, layer): (usize, &lapidary::checkpoint::LayerConfig)| {
            let own = (layer.kv_source.is_some(), layer.k_eq_v, sources.contains(&l));
            format!("{:?}", (layer.kind, layer.head_dim, layer.num_key_value_heads, layer.intermediate_size, own))
        };
        config.layers.iter().enumerate().map(sort).collect::<std::collections::BTreeSet<_>>()
    };
    let whole = cut(None);
    let all = sorts(&whole);
    (1..whole.layers.len()).map(|n| cut(Some(n))).find(|config| sorts(config) == all).unwrap_or(whole)
}

/// All that can be chosen on `gpu`: kernels, KV caches, precisions, heads.
pub(crate) fn choices(gpu: &Gpu) -> Vec<Options> {
    let mut all = Vec::new();
    let tiers = Tier::ALL.into_iter().filter(|tier| *tier <= gpu.strongest_tier() && *tier != Tier::F16);
    let fast = tiers.map(|tier| (Precision::Fast, Some(tier)));
    for (precision, tier) in fast.chain([(Precision::Exact, None)]) {
        for kv in [KvDtype::F32, KvDtype::F16, KvDtype::Int8] {
            for head in [Head::Keep, Head::Int8, Head::Int4] {
                all.push(Options { precision, tier, kv: Some(kv), head, ..Options::default() });
            }
        }
    }
    all
}

/// What all presets make of `gpu`, with layers stored as `linear`, or as synthetic models have them.
pub(crate) fn planned(gpu: &Arc<Gpu>, linear: Option<Random>) -> Keys {
    let mut keys = Keys::new();
    for config in Config::presets().map(short) {
        for options in choices(gpu) {
            let planned = Gemma4::synthetic_pipelines(gpu, &config, linear, &options);
            for pipeline in planned.unwrap_or_else(|e| panic!("{options:?}: {e}")) {
                let new = Used { key: pipeline.key.clone(), decodes: false };
                keys.entry(name(&pipeline.key)).or_insert(new).decodes |= pipeline.decodes;
            }
        }
    }
    keys
}

/// What runs beside models: to make weights, to measure a device, to look for a fault. None of it has constants.
pub(crate) fn others(keys: &Keys) -> Keys {
    let met = |stem: &str| keys.values().any(|used| used.key.stem == stem);
    let alone = SHADERS.iter().filter(|shader| !met(shader.stem) && !shader.wgsl(false).contains("override "));
    let key = |shader: &lapidary::kernels::Shader| PipelineKey {
        stem: shader.stem,
        variant: shader.variant,
        constants: Vec::new(),
    };
    alone.map(|shader| (kernel(&key(shader)), Used { key: key(shader), decodes: false })).collect()
}
