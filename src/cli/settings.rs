//! How answers are sampled: the arguments, `/set`, and one line with all values.

use lapidary::chat::{Asked, Setting, Settings, unsupported};
use lapidary::checkpoint::GenerationConfig;
use lapidary::{Error, Result};

use super::args::SamplingArguments;
use super::terminal::note;

/// What was asked for over the checkpoint's own `defaults`, with lines about what has no effect.
///
/// # Errors
/// Those of [`Settings::new`].
pub(super) fn settings(arguments: &SamplingArguments, defaults: &GenerationConfig) -> Result<Settings> {
    let SamplingArguments { temperature, top_k, top_p, seed, max_tokens } = *arguments;
    let settings = Settings::new(&Asked { temperature, top_k, top_p, seed, max_tokens }, defaults)?;
    let asked = [("--top-k", top_k.is_some()), ("--top-p", top_p.is_some())];
    if let (true, Some((name, _))) = (settings.sampling().temperature == 0.0, asked.iter().find(|(_, asked)| *asked)) {
        note(format_args!("{name} has no effect at temperature 0, which always takes the most probable token"));
    }
    for wish in unsupported(defaults) {
        note(format_args!("generation_config.json asks for {} {}, which is not supported yet", wish.key, wish.value));
    }
    Ok(settings)
}

/// A setting as `/set` takes it.
///
/// # Errors
/// [`Error::Usage`] for a name that there is not, or a value that it cannot have.
pub(super) fn parse(key: &str, value: &str) -> Result<Setting> {
    let wrong = |expected: &str| Error::usage(format!("{key}: found {value:?}, expected {expected}"));
    match key.replace('_', "-").as_str() {
        "temperature" => value.parse().map(Setting::Temperature).map_err(|_| wrong("a number; 0 is greedy")),
        "top-k" => value.parse().map(Setting::TopK).map_err(|_| wrong("a whole number; 0 is no limit")),
        "top-p" => value.parse().map(Setting::TopP).map_err(|_| wrong("a number up to 1")),
        "seed" if value == "random" => Ok(Setting::Seed(None)),
        "seed" => value.parse().map(|seed| Setting::Seed(Some(seed))).map_err(|_| wrong("a whole number, or random")),
        "max-tokens" if value == "none" => Ok(Setting::MaxTokens(None)),
        "max-tokens" => match value.parse() {
            Ok(number @ 1..) => Ok(Setting::MaxTokens(Some(number))),
            _ => Err(wrong("a whole number from 1 on, or none")),
        },
        _ => Err(Error::usage(format!("no setting {key:?}, expected temperature, top-k, top-p, seed or max-tokens"))),
    }
}

/// All values in one line.
pub(super) fn describe(settings: &Settings) -> String {
    let sampling = settings.sampling();
    let seed = settings.seed().map_or("random".to_owned(), |seed| seed.to_string());
    let most = settings.max_tokens().map_or("none".to_owned(), |most| most.to_string());
    let greedy = if sampling.is_greedy() { " (greedy)" } else { "" };
    let (temperature, top_k, top_p) = (sampling.temperature, sampling.top_k, sampling.top_p);
    format!("temperature {temperature}{greedy}, top-k {top_k}, top-p {top_p}, seed {seed}, max-tokens {most}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_their_names() {
        let mut settings = Settings::new(&Asked::default(), &GenerationConfig::default()).unwrap();
        for (key, value) in [
            ("temperature", "warm"),
            ("top-k", "-3"),
            ("top-p", "half"),
            ("max-tokens", "0"),
            ("seed", "x"),
            ("colour", "1"),
        ] {
            let error = parse(key, value).unwrap_err();
            assert!(matches!(error, Error::Usage(_)) && !error.to_string().contains('\n'), "{key} {value}: {error}");
        }
        assert!(settings.set(parse("temperature", "nan").unwrap()).is_err());
        for (key, value) in [("top_k", "5"), ("seed", "7"), ("max-tokens", "12")] {
            settings.set(parse(key, value).unwrap()).unwrap();
        }
        assert_eq!(describe(&settings), "temperature 0 (greedy), top-k 5, top-p 1, seed 7, max-tokens 12");
        for (key, value) in [("seed", "random"), ("max_tokens", "none"), ("top-p", "0.5"), ("temperature", "0.25")] {
            settings.set(parse(key, value).unwrap()).unwrap();
        }
        assert_eq!(describe(&settings), "temperature 0.25, top-k 5, top-p 0.5, seed random, max-tokens none");
    }
}
