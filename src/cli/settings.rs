//! How answers are sampled: arguments over the checkpoint's own defaults, and `/set`.

use std::hash::{BuildHasher, RandomState};

use lapidary::checkpoint::GenerationConfig;
use lapidary::engine::{Request, Sampling};
use lapidary::{Error, Result};

use super::args::SamplingArguments;
use super::terminal::note;

/// `top_k` where a checkpoint says nothing: what transformers takes.
const DEFAULT_TOP_K: usize = 50;

/// Sampling and length of answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    /// `None` draws a new one for each answer.
    seed: Option<u64>,
    max_tokens: Option<usize>,
    /// What is wrong with values of generation_config.json that are used as soon as something is drawn: key and fault.
    wrong: Vec<(&'static str, String)>,
}

impl Settings {
    /// What was asked for, and for the rest what the checkpoint's makers want. As in transformers, nothing is drawn
    /// unless they say `do_sample`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value out of its range, [`Error::Model`] where it is the checkpoint's.
    pub(super) fn new(arguments: &SamplingArguments, defaults: &GenerationConfig) -> Result<Self> {
        let temperature = match arguments.temperature {
            Some(temperature) => temperature,
            None => own_temperature(defaults)?,
        };
        let given = [("top_k", arguments.top_k.is_some()), ("top_p", arguments.top_p.is_some())];
        let wrong = given.iter().filter(|(_, given)| !given);
        let wrong = wrong.filter_map(|&(key, _)| Some((key, defaults.check(&[key]).err()?.to_string()))).collect();
        let settings = Settings {
            temperature,
            top_k: arguments.top_k.or(defaults.top_k).unwrap_or(DEFAULT_TOP_K),
            // The most probable token always stays, also where a file says 0.
            top_p: arguments.top_p.or(defaults.top_p.map(|p| p.max(f32::MIN_POSITIVE))).unwrap_or(1.0),
            seed: arguments.seed,
            max_tokens: arguments.max_tokens,
            wrong,
        };
        settings.sampling(0).check()?;
        settings.check_used()?;
        let asked = [("--top-k", arguments.top_k.is_some()), ("--top-p", arguments.top_p.is_some())];
        if let (true, Some((name, _))) = (settings.temperature == 0.0, asked.iter().find(|(_, asked)| *asked)) {
            note(format_args!("{name} has no effect at temperature 0, which always takes the most probable token"));
        }
        for (name, value, neutral) in
            [("min_p", defaults.min_p, 0.0), ("repetition_penalty", defaults.repetition_penalty, 1.0)]
        {
            if let Some(value) = value.filter(|value| *value != neutral) {
                note(format_args!("generation_config.json asks for {name} {value}, which is not supported yet"));
            }
        }
        Ok(settings)
    }

    /// Fails if something is drawn and the checkpoint's values for that cannot be.
    fn check_used(&self) -> Result<()> {
        match self.wrong.first() {
            Some((_, fault)) if !self.sampling(0).is_greedy() => Err(Error::model(fault)),
            _ => Ok(()),
        }
    }

    /// The request for the next answer.
    pub(super) fn request(&self) -> Request {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(std::time::SystemTime::now()));
        Request { sampling: self.sampling(seed), max_tokens: self.max_tokens }
    }

    /// Most tokens of an answer.
    pub(super) fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// Sets one value by its name.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that there is not, or a value that it cannot have; nothing is changed then.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let mut new = self.clone();
        let wrong = |expected: &str| Error::usage(format!("{key}: found {value:?}, expected {expected}"));
        match key.replace('_', "-").as_str() {
            "temperature" => new.temperature = value.parse().map_err(|_| wrong("a number; 0 is greedy"))?,
            "top-k" => new.top_k = value.parse().map_err(|_| wrong("a whole number; 0 is no limit"))?,
            "top-p" => new.top_p = value.parse().map_err(|_| wrong("a number up to 1"))?,
            "seed" if value == "random" => new.seed = None,
            "seed" => new.seed = Some(value.parse().map_err(|_| wrong("a whole number, or random"))?),
            "max-tokens" if value == "none" => new.max_tokens = None,
            "max-tokens" => match value.parse() {
                Ok(number @ 1..) => new.max_tokens = Some(number),
                _ => return Err(wrong("a whole number from 1 on, or none")),
            },
            _ => {
                return Err(Error::usage(format!(
                    "no setting {key:?}, expected temperature, top-k, top-p, seed or max-tokens"
                )));
            }
        }
        new.wrong.retain(|(wrong, _)| *wrong != key.replace('-', "_"));
        new.sampling(0).check()?;
        new.check_used()?;
        *self = new;
        Ok(())
    }

    /// All values in one line.
    pub(super) fn describe(&self) -> String {
        let seed = self.seed.map_or("random".to_owned(), |seed| seed.to_string());
        let most = self.max_tokens.map_or("none".to_owned(), |most| most.to_string());
        let Settings { temperature, top_k, top_p, .. } = self;
        let greedy = if self.sampling(0).is_greedy() { " (greedy)" } else { "" };
        format!("temperature {temperature}{greedy}, top-k {top_k}, top-p {top_p}, seed {seed}, max-tokens {most}")
    }

    fn sampling(&self, seed: u64) -> Sampling {
        Sampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, seed }
    }
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
    own.check().map_err(|error| Error::model(format!("generation_config.json: {error}")))?;
    Ok(temperature)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn settings(arguments: &SamplingArguments, json: &str) -> Settings {
        Settings::new(arguments, &GenerationConfig::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_the_checkpoint_s_and_otherwise_those_of_transformers() {
        let none = SamplingArguments::default();
        assert!(settings(&none, r#"{"temperature": 0.7}"#).sampling(0).is_greedy());
        assert!(settings(&none, r#"{"do_sample": false, "temperature": 0.7}"#).sampling(0).is_greedy());
        let sampled = settings(&none, r#"{"do_sample": true}"#).sampling(3);
        assert_eq!(sampled, Sampling { temperature: 1.0, top_k: 50, top_p: 1.0, seed: 3 });
        let own = r#"{"do_sample": true, "temperature": 0.7, "top_k": 64, "top_p": 0.95}"#;
        assert_eq!(settings(&none, own).sampling(0), Sampling { temperature: 0.7, top_k: 64, top_p: 0.95, seed: 0 });
        let asked = SamplingArguments { temperature: Some(0.5), top_k: Some(3), seed: Some(9), ..Default::default() };
        let sampling = settings(&asked, own).request().sampling;
        assert_eq!(sampling, Sampling { temperature: 0.5, top_k: 3, top_p: 0.95, seed: 9 });
    }

    #[test]
    fn a_value_of_the_checkpoint_s_that_is_out_of_range_is_its_fault() {
        let file = GenerationConfig::parse(br#"{"do_sample": true, "temperature": 900}"#).unwrap();
        let error = Settings::new(&SamplingArguments::default(), &file).unwrap_err();
        assert!(matches!(error, Error::Model(_)));
        assert_eq!(error.to_string(), "generation_config.json: temperature 900: expected 0 (greedy) to 100");
        let asked = SamplingArguments { temperature: Some(1.0), ..Default::default() };
        assert!(Settings::new(&asked, &file).is_ok());
        let asked = SamplingArguments { temperature: Some(900.0), ..Default::default() };
        assert!(matches!(Settings::new(&asked, &file), Err(Error::Usage(_))));
    }

    /// What is wrong in the file ends a command only if it would be used.
    #[test]
    fn only_what_is_used_can_be_wrong() {
        let file = |json: &str| GenerationConfig::parse(json.as_bytes()).unwrap();
        let none = SamplingArguments::default();
        for json in [
            r#"{"do_sample": true, "top_k": -1, "top_p": 1, "temperature": 1}"#,
            r#"{"do_sample": true, "top_k": 64.0, "top_p": null, "pad_token_id": -1, "bos_token_id": [2, 3]}"#,
            r#"{"do_sample": false, "temperature": "hot", "top_k": "x", "top_p": 1.5}"#,
            r#"{"temperature": -1, "min_p": "x", "repetition_penalty": [], "pad_token_id": "x", "bos_token_id": {}}"#,
        ] {
            Settings::new(&none, &file(json)).unwrap_or_else(|error| panic!("{json}: {error}"));
        }
        let broken = file(r#"{"do_sample": true, "temperature": "hot", "top_k": "x", "top_p": 1.5}"#);
        let all = SamplingArguments { temperature: Some(1.0), top_k: Some(5), top_p: Some(0.9), ..Default::default() };
        Settings::new(&all, &broken).unwrap();
        let greedy = SamplingArguments { temperature: Some(0.0), ..Default::default() };
        let mut settings = Settings::new(&greedy, &broken).unwrap();
        let fault = |error: Error| match error {
            Error::Model(_) => error.to_string(),
            other => panic!("{other}"),
        };
        assert!(fault(settings.set("temperature", "1").unwrap_err()).contains("top_k is \"x\""));
        settings.set("top-k", "5").unwrap();
        assert!(
            fault(settings.set("temperature", "1").unwrap_err())
                .contains("top_p is 1.5, expected a number from 0 to 1")
        );
        settings.set("top_p", "0.5").unwrap();
        settings.set("temperature", "1").unwrap();
        for (arguments, key) in [
            (SamplingArguments::default(), "temperature is \"hot\""),
            (SamplingArguments { temperature: Some(1.0), ..Default::default() }, "top_k is"),
            (SamplingArguments { temperature: Some(1.0), top_k: Some(3), ..Default::default() }, "top_p is"),
        ] {
            assert!(fault(Settings::new(&arguments, &broken).unwrap_err()).contains(key), "{key}");
        }
        let mixed = file(r#"{"do_sample": "yes"}"#);
        assert!(fault(Settings::new(&none, &mixed).unwrap_err()).contains("do_sample is \"yes\""));
    }

    #[test]
    fn values_out_of_range_are_refused_and_change_nothing() {
        let mut settings = settings(&SamplingArguments::default(), "{}");
        let before = settings.clone();
        for (key, value) in [
            ("temperature", "-1"),
            ("temperature", "nan"),
            ("temperature", "warm"),
            ("top-p", "0"),
            ("top-p", "1.5"),
            ("top-k", "-3"),
            ("max-tokens", "0"),
            ("seed", "x"),
            ("colour", "1"),
        ] {
            let error = settings.set(key, value).unwrap_err();
            assert!(matches!(error, Error::Usage(_)) && !error.to_string().contains('\n'), "{key} {value}: {error}");
        }
        assert_eq!(settings, before);
        settings.set("top_k", "5").unwrap();
        settings.set("seed", "7").unwrap();
        settings.set("max-tokens", "12").unwrap();
        assert_eq!(settings.describe(), "temperature 0 (greedy), top-k 5, top-p 1, seed 7, max-tokens 12");
    }

    #[test]
    fn a_random_seed_is_another_one_each_time() {
        let settings = settings(&SamplingArguments::default(), "{}");
        assert_ne!(settings.request().sampling.seed, settings.request().sampling.seed);
    }
}
