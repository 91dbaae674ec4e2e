//! How answers are sampled: what is asked for over the checkpoint's own defaults.

use std::hash::{BuildHasher, RandomState};

use web_time::SystemTime;

use crate::checkpoint::GenerationConfig;
use crate::engine::{Request, Sampling};
use crate::error::Usage;
use crate::{Error, Fault, Faults, Result};

/// `top_k` where a checkpoint says nothing: what transformers takes.
const DEFAULT_TOP_K: usize = 50;

/// What is asked of answers; `None` leaves a value to the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Asked {
    /// Divides the logits; 0 always takes the most probable token.
    pub temperature: Option<f32>,
    /// Draw from so many of the most probable tokens only; 0 is no limit.
    pub top_k: Option<usize>,
    /// Draw from the most probable tokens that together reach this probability.
    pub top_p: Option<f32>,
    /// The same seed gives the same text; `None` draws a new one for each answer.
    pub seed: Option<u64>,
    /// Most tokens of an answer; `None` for as many as the context holds.
    pub max_tokens: Option<usize>,
}

/// One value of [`Settings`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    /// As [`Asked::temperature`].
    Temperature(f32),
    /// As [`Asked::top_k`].
    TopK(usize),
    /// As [`Asked::top_p`].
    TopP(f32),
    /// As [`Asked::seed`].
    Seed(Option<u64>),
    /// As [`Asked::max_tokens`].
    MaxTokens(Option<usize>),
}

/// Sampling and length of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// All values but the seed, which stays 0.
    sampling: Sampling,
    seed: Option<u64>,
    max_tokens: Option<usize>,
    /// What is wrong with values of generation_config.json that are used as soon as something is drawn.
    wrong: Vec<Wrong>,
}

/// A value of generation_config.json that cannot be.
#[derive(Debug, Clone, PartialEq)]
struct Wrong {
    key: &'static str,
    faults: Faults,
}

/// A wish of generation_config.json that nothing here fulfils.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unsupported {
    /// Its key.
    pub key: &'static str,
    /// What the file asks for.
    pub value: f32,
}

impl Settings {
    /// What was asked for, and for the rest what the checkpoint's makers want. As in transformers, nothing is drawn
    /// unless they say `do_sample`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value out of its range, [`Error::Model`] where it is the checkpoint's.
    pub fn new(asked: &Asked, defaults: &GenerationConfig) -> Result<Self> {
        let temperature = match asked.temperature {
            Some(temperature) => temperature,
            None => own_temperature(defaults)?,
        };
        let left = [("top_k", asked.top_k.is_none()), ("top_p", asked.top_p.is_none())];
        let left = left.into_iter().filter(|(_, is_left)| *is_left);
        let wrong = left.map(|(key, _)| Wrong { key, faults: defaults.faults_of(&[key]) });
        let wrong = wrong.filter(|wrong| wrong.faults.count() > 0);
        let settings = Settings {
            sampling: Sampling {
                temperature,
                top_k: asked.top_k.or(defaults.top_k).unwrap_or(DEFAULT_TOP_K),
                // The most probable token always stays, also where a file says 0.
                top_p: asked.top_p.or(defaults.top_p.map(|p| p.max(f32::MIN_POSITIVE))).unwrap_or(1.0),
                seed: 0,
            },
            seed: asked.seed,
            max_tokens: asked.max_tokens,
            wrong: wrong.collect(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Fails for values out of their ranges, and if something is drawn and the checkpoint's values for that cannot be.
    fn check(&self) -> Result<()> {
        self.sampling.check()?;
        match self.wrong.first() {
            Some(wrong) if !self.sampling.is_greedy() => wrong.faults.clone().into_result(()),
            _ => Ok(()),
        }
    }

    /// The request for the next answer, with a seed of its own where none was asked for.
    pub fn request(&self) -> Request {
        let seed = self.seed.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            RandomState::new().hash_one(since.ok())
        });
        Request { sampling: Sampling { seed, ..self.sampling }, max_tokens: self.max_tokens }
    }

    /// How tokens are chosen, but for the seed.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// The seed of all answers; `None` for another one each time.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Most tokens of an answer.
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// Sets one value.
    ///
    /// # Errors
    /// As [`Settings::new`]; nothing is changed then.
    pub fn set(&mut self, setting: Setting) -> Result<()> {
        let mut new = self.clone();
        let key = match setting {
            Setting::Temperature(temperature) => {
                new.sampling.temperature = temperature;
                "temperature"
            }
            Setting::TopK(top_k) => {
                new.sampling.top_k = top_k;
                "top_k"
            }
            Setting::TopP(top_p) => {
                new.sampling.top_p = top_p;
                "top_p"
            }
            Setting::Seed(seed) => {
                new.seed = seed;
                "seed"
            }
            Setting::MaxTokens(max_tokens) => {
                new.max_tokens = max_tokens;
                "max_tokens"
            }
        };
        new.wrong.retain(|wrong| wrong.key != key);
        new.check()?;
        *self = new;
        Ok(())
    }
}

/// What generation_config.json asks for and no answer gets.
pub fn unsupported(defaults: &GenerationConfig) -> Vec<Unsupported> {
    let neutral = [("min_p", defaults.min_p, 0.0), ("repetition_penalty", defaults.repetition_penalty, 1.0)];
    let asked = neutral.into_iter().filter_map(|(key, value, neutral)| Some((key, value?, neutral)));
    asked.filter(|(_, value, neutral)| value != neutral).map(|(key, value, _)| Unsupported { key, value }).collect()
}

/// The temperature that the checkpoint's makers want.
fn own_temperature(defaults: &GenerationConfig) -> Result<f32> {
    defaults.check(&["do_sample"])?;
    if defaults.do_sample != Some(true) {
        return Ok(0.0);
    }
    defaults.check(&["temperature"])?;
    let temperature = defaults.temperature.unwrap_or(1.0);
    let own = Sampling { temperature, ..Sampling::GREEDY };
    own.check().map_err(|error| match error {
        Error::Usage(Usage::Sampling { name, found, expected }) => Fault::key("generation_config.json", name)
            .found(found.to_string())
            .expected_in(": expected ", expected, "")
            .into(),
        other => other,
    })?;
    Ok(temperature)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn settings(asked: &Asked, json: &str) -> Settings {
        Settings::new(asked, &GenerationConfig::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_the_checkpoint_s_and_otherwise_those_of_transformers() {
        let none = Asked::default();
        assert!(settings(&none, r#"{"temperature": 0.7}"#).sampling().is_greedy());
        assert!(settings(&none, r#"{"do_sample": false, "temperature": 0.7}"#).sampling().is_greedy());
        let sampled = settings(&none, r#"{"do_sample": true}"#).sampling();
        assert_eq!(sampled, Sampling { temperature: 1.0, top_k: 50, top_p: 1.0, seed: 0 });
        let own = r#"{"do_sample": true, "temperature": 0.7, "top_k": 64, "top_p": 0.95}"#;
        assert_eq!(settings(&none, own).sampling(), Sampling { temperature: 0.7, top_k: 64, top_p: 0.95, seed: 0 });
        let asked = Asked { temperature: Some(0.5), top_k: Some(3), seed: Some(9), ..Default::default() };
        let sampling = settings(&asked, own).request().sampling;
        assert_eq!(sampling, Sampling { temperature: 0.5, top_k: 3, top_p: 0.95, seed: 9 });
    }

    #[test]
    fn a_value_of_the_checkpoint_s_that_is_out_of_range_is_its_fault() {
        let file = GenerationConfig::parse(br#"{"do_sample": true, "temperature": 900}"#).unwrap();
        let error = Settings::new(&Asked::default(), &file).unwrap_err();
        assert!(matches!(error, Error::Model(_)));
        assert_eq!(error.to_string(), "generation_config.json: temperature 900: expected 0 (greedy) to 100");
        let asked = Asked { temperature: Some(1.0), ..Default::default() };
        assert!(Settings::new(&asked, &file).is_ok());
        let asked = Asked { temperature: Some(900.0), ..Default::default() };
        assert!(matches!(Settings::new(&asked, &file), Err(Error::Usage(_))));
    }

    /// What is wrong in the file ends a command only if it would be used.
    #[test]
    fn only_what_is_used_can_be_wrong() {
        let file = |json: &str| GenerationConfig::parse(json.as_bytes()).unwrap();
        let none = Asked::default();
        for json in [
            r#"{"do_sample": true, "top_k": -1, "top_p": 1, "temperature": 1}"#,
            r#"{"do_sample": true, "top_k": 64.0, "top_p": null, "pad_token_id": -1, "bos_token_id": [2, 3]}"#,
            r#"{"do_sample": false, "temperature": "hot", "top_k": "x", "top_p": 1.5}"#,
            r#"{"temperature": -1, "min_p": "x", "repetition_penalty": [], "pad_token_id": "x", "bos_token_id": {}}"#,
        ] {
            Settings::new(&none, &file(json)).unwrap_or_else(|error| panic!("{json}: {error}"));
        }
        let broken = file(r#"{"do_sample": true, "temperature": "hot", "top_k": "x", "top_p": 1.5}"#);
        let all = Asked { temperature: Some(1.0), top_k: Some(5), top_p: Some(0.9), ..Default::default() };
        Settings::new(&all, &broken).unwrap();
        let greedy = Asked { temperature: Some(0.0), ..Default::default() };
        let mut settings = Settings::new(&greedy, &broken).unwrap();
        let fault = |error: Error| match error {
            Error::Model(_) => error.to_string(),
            other => panic!("{other}"),
        };
        assert!(fault(settings.set(Setting::Temperature(1.0)).unwrap_err()).contains("top_k is \"x\""));
        settings.set(Setting::TopK(5)).unwrap();
        assert!(
            fault(settings.set(Setting::Temperature(1.0)).unwrap_err())
                .contains("top_p is 1.5, expected a number from 0 to 1")
        );
        settings.set(Setting::TopP(0.5)).unwrap();
        settings.set(Setting::Temperature(1.0)).unwrap();
        for (asked, key) in [
            (Asked::default(), "temperature is \"hot\""),
            (Asked { temperature: Some(1.0), ..Default::default() }, "top_k is"),
            (Asked { temperature: Some(1.0), top_k: Some(3), ..Default::default() }, "top_p is"),
        ] {
            assert!(fault(Settings::new(&asked, &broken).unwrap_err()).contains(key), "{key}");
        }
        let mixed = file(r#"{"do_sample": "yes"}"#);
        assert!(fault(Settings::new(&none, &mixed).unwrap_err()).contains("do_sample is \"yes\""));
    }

    #[test]
    fn values_out_of_range_are_refused_and_change_nothing() {
        let mut settings = settings(&Asked::default(), "{}");
        let before = settings.clone();
        for setting in [
            Setting::Temperature(-1.0),
            Setting::Temperature(f32::NAN),
            Setting::Temperature(100.5),
            Setting::TopP(0.0),
            Setting::TopP(1.5),
        ] {
            let error = settings.set(setting).unwrap_err();
            assert!(matches!(error, Error::Usage(_)) && !error.to_string().contains('\n'), "{setting:?}: {error}");
        }
        assert_eq!(settings, before);
        settings.set(Setting::TopK(5)).unwrap();
        settings.set(Setting::Seed(Some(7))).unwrap();
        settings.set(Setting::MaxTokens(Some(12))).unwrap();
        let request = settings.request();
        let sampling = Sampling { temperature: 0.0, top_k: 5, top_p: 1.0, seed: 7 };
        assert_eq!((request.sampling, request.max_tokens), (sampling, Some(12)));
    }

    #[test]
    fn what_is_not_supported_is_listed_unless_it_does_nothing() {
        let unsupported = |json: &str| unsupported(&GenerationConfig::parse(json.as_bytes()).unwrap());
        assert_eq!(unsupported(r#"{"min_p": 0, "repetition_penalty": 1.0}"#), []);
        let all = [("min_p", 0.5), ("repetition_penalty", 2.0)].map(|(key, value)| Unsupported { key, value });
        assert_eq!(unsupported(r#"{"min_p": 0.5, "repetition_penalty": 2}"#), all);
    }

    #[test]
    fn a_random_seed_is_another_one_each_time() {
        let settings = settings(&Asked::default(), "{}");
        assert_ne!(settings.request().sampling.seed, settings.request().sampling.seed);
    }
}
