//! The configurations of the released models, whole or cut to fewer layers, experts and tokens.

use serde_json::{Map, Value};

use super::config::FILE;
use super::fields::Config;
use super::json;
use crate::Result;
use crate::error::Usage;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("presets/", $name, ".json")))),*]
    };
}

/// Name and `config.json` of each.
const PRESETS: &[(&str, &[u8])] = presets!["26b-a4b", "31b", "12b", "e4b", "e2b"];

/// How much of a released model is taken; `None` for all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// The first so many layers; the last of them becomes a full one, as in every model.
    pub layers: Option<usize>,
    /// Experts of a layer.
    pub experts: Option<usize>,
    /// Tokens of the vocabulary.
    pub vocab: Option<usize>,
}

impl Config {
    /// The names that [`Config::preset`] knows.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The configuration of the released model `name`, cut to `cut`.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for an unknown name, and for more than the model has or less than it needs.
    pub fn preset(name: &str, cut: Cut) -> Result<Config> {
        Config::parse(Value::Object(Config::preset_json(name, cut)?).to_string().as_bytes())
    }

    /// The `config.json` that [`Config::preset`] reads.
    pub(crate) fn preset_json(name: &str, cut: Cut) -> Result<Map<String, Value>> {
        let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) else {
            let known = Config::presets().map(str::to_owned).collect();
            return Err(Usage::Preset { name: name.to_owned(), known }.into());
        };
        let mut json = json::parse(FILE, text)?;
        let model = json["text_config"].as_object_mut().expect("presets have a text_config");
        if let Some(layers) = checked(name, "layers", cut.layers, 1, number(model, "num_hidden_layers"))? {
            cut_layers(model, layers);
        }
        let (most, least) = (number(model, "num_experts"), number(model, "top_k_experts"));
        if let Some(experts) = checked(name, "experts", cut.experts, least, most)? {
            model["num_experts"] = experts.into();
        }
        if let Some(vocab) = checked(name, "tokens", cut.vocab, 1, number(model, "vocab_size"))? {
            model["vocab_size"] = vocab.into();
            model["vocab_size_per_layer_input"] = vocab.into();
        }
        Ok(json)
    }
}

fn number(model: &Map<String, Value>, key: &str) -> usize {
    model[key].as_u64().map_or(0, |n| n as usize)
}

fn checked(name: &str, what: &'static str, asked: Option<usize>, least: usize, most: usize) -> Result<Option<usize>> {
    match asked {
        Some(asked) if most == 0 => Err(Usage::PresetWithout { model: name.to_owned(), what, asked }.into()),
        Some(asked) if !(least..=most).contains(&asked) => {
            Err(Usage::PresetSize { model: name.to_owned(), what, asked, least, most }.into())
        }
        asked => Ok(asked),
    }
}

/// Which layers have keys and values of their own follows from their number from the front, as in the whole model.
fn cut_layers(model: &mut Map<String, Value>, layers: usize) {
    let own = number(model, "num_hidden_layers") - number(model, "num_kv_shared_layers");
    model["num_hidden_layers"] = layers.into();
    model["num_kv_shared_layers"] = layers.saturating_sub(own).into();
    let kinds = model["layer_types"].as_array_mut().expect("presets name their layers");
    kinds.truncate(layers);
    kinds[layers - 1] = "full_attention".into();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::LayerKind;
    use super::*;

    fn layers(name: &str, layers: usize) -> Config {
        Config::preset(name, Cut { layers: Some(layers), ..Cut::default() }).unwrap()
    }

    #[test]
    fn every_cut_of_every_preset_is_a_configuration() {
        for (name, whole) in Config::presets().map(|name| (name, Config::preset(name, Cut::default()).unwrap())) {
            for n in 1..=whole.num_hidden_layers {
                let cut = layers(name, n);
                assert_eq!((cut.layers.len(), cut.layers[n - 1].kind), (n, LayerKind::Full), "{name}");
                assert_eq!(cut.layers[..n - 1], whole.layers[..n - 1], "{name}, {n} layers");
            }
            assert_eq!(layers(name, whole.num_hidden_layers), whole);
        }
    }

    #[test]
    fn shared_layers_keep_their_sources() {
        let e2b = layers("e2b", 17);
        assert_eq!(e2b.layers[14..].iter().map(|l| l.kv_source).collect::<Vec<_>>(), [None, Some(13), Some(14)]);
        assert_eq!((e2b.num_kv_shared_layers, e2b.layers[16].intermediate_size), (2, 12_288));
        assert_eq!(layers("e2b", 15).num_kv_shared_layers, 0);
    }

    #[test]
    fn faults_say_what_there_is() {
        let fault = |name: &str, cut: Cut| Config::preset(name, cut).unwrap_err().to_string();
        let (layers, experts) =
            (|n| Cut { layers: Some(n), ..Cut::default() }, |n| Cut { experts: Some(n), ..Cut::default() });
        assert_eq!(fault("26b-a4b", layers(31)), "31 layers of 26b-a4b were asked for, expected 1 to 30");
        assert_eq!(fault("26b-a4b", experts(7)), "7 experts of 26b-a4b were asked for, expected 8 to 128");
        assert_eq!(fault("31b", experts(8)), "8 experts were asked for, but 31b has no experts");
        assert!(fault("27b", Cut::default()).contains("one of 26b-a4b, 31b, 12b, e4b, e2b"));
    }
}
