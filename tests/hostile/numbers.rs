//! Numbers that JSON has and the computation has not: refused by `inspect` already, with key, what was found and the range.

use super::harness::{Call, Failures, GENERATE, INSPECT};
use super::{Model, Path, Value, fs, json, refused};

/// The dense base's configuration as text, with the value at `key` replaced by `number` as it is written.
fn with_number(config: &Value, key: &str, number: &str) -> String {
    let mut config = config.clone();
    let pointer = format!("/text_config/{}", key.replace('.', "/"));
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[last] = json!("@number@");
    config.to_string().replace("\"@number@\"", number)
}

fn write(dir: &Path, config: &str) {
    fs::write(dir.join("config.json"), config).unwrap();
}

const EPS: &str = "rms_norm_eps";
const THETA: &str = "rope_parameters.full_attention.rope_theta";
const THETA_OF_SLIDING: &str = "rope_parameters.sliding_attention.rope_theta";
const CAP: &str = "final_logit_softcapping";
const FACTOR: &str = "rope_parameters.full_attention.partial_rotary_factor";

#[test]
fn floats_outside_their_ranges() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut failures = Failures::default();
    let every =
        ["1e308", "1e39", "3.5e38", "5e-324", "1e-300", "1e-46", "1e-40", "0", "0.0", "-0.0", "-0", "-1", "-1e308"];
    let of_key = [
        (EPS, &["1e-13", "9e-13", "0.02", "0.011", "1", "1000000", "1e10"][..]),
        (THETA, &["0.5", "0.99", "1e10", "1000000001", "2e9", "1e38"]),
        (THETA_OF_SLIDING, &["0.5", "0.99", "1e10", "1000000001", "2e9", "1e38"]),
        (CAP, &["0.5", "0.99", "1e5", "10001", "2e4", "1e38"]),
        (FACTOR, &["1.5", "2", "1.0001", "1e38"]),
    ];
    for (key, numbers) in of_key {
        // The least of all factors turns nothing, which is no overflow.
        let is_small =
            |number: &str| key == FACTOR && (number.contains("e-") || number.contains("0.0") || number.ends_with('0'));
        for number in every.iter().chain(numbers).filter(|number| !is_small(number) || number.starts_with("-1")) {
            write(dir.path(), &with_number(&model.config, key, number));
            let last = key.rsplit('.').next().unwrap();
            let what = format!("{key} is {number}");
            failures.case(|| {
                let text = refused(&what, dir.path(), &["config.json: ", last, " is "]);
                assert!(text.contains("expected") && text.lines().count() == 1, "{what}: {text}");
            });
        }
    }
    failures.done();
}

/// The ends of the ranges are inside.
#[test]
fn floats_at_the_ends_of_their_ranges() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut failures = Failures::default();
    for (key, numbers) in [
        (EPS, &["1e-12", "1e-6", "1e-2", "0.01"][..]),
        (THETA, &["1", "1.0", "10000", "1e6", "1e9", "1000000000"]),
        (CAP, &["1", "30.0", "30", "1e4", "10000", "null"]),
    ] {
        for number in numbers {
            write(dir.path(), &with_number(&model.config, key, number));
            failures.case(|| INSPECT.accepts(&format!("{key} is {number}"), &Call::inspect(dir.path())));
        }
    }
    failures.done();
}

/// What is no JSON number, and what is a number of another kind.
#[test]
fn what_is_no_float() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut failures = Failures::default();
    let long = "9".repeat(1 << 20);
    let digits = format!("0.{}", "3".repeat(1 << 20));
    for key in [EPS, THETA, CAP] {
        for number in [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e400",
            "\"1e-6\"",
            "true",
            "[1]",
            "{}",
            "0x10",
            "1_000",
            "+1",
            ".5",
            "1.",
            &long,
        ] {
            write(dir.path(), &with_number(&model.config, key, number));
            let what = format!("{key} is {}", &number[..number.len().min(20)]);
            failures.case(|| refused(&what, dir.path(), &["config.json: "]));
        }
        write(dir.path(), &with_number(&model.config, key, &digits));
        failures.case(|| INSPECT.ends(&format!("{key} of a million digits"), &Call::inspect(dir.path())));
    }
    failures.done();
}

/// Integers: sizes, windows, positions, layers. Whatever is accepted is not taken at its word before the tensors are.
#[test]
fn integers_of_all_sizes() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut failures = Failures::default();
    let keys: Vec<String> = model.config["text_config"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| value.is_u64())
        .map(|(key, _)| key.clone())
        .collect();
    assert!(keys.len() > 8, "{keys:?}");
    for key in &keys {
        for number in [
            "0",
            "-1",
            "1",
            "2147483647",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "1e3",
            "96.0",
            "96.5",
            "1e400",
            "\"96\"",
            "null",
            "[]",
            "true",
        ] {
            write(dir.path(), &with_number(&model.config, key, number));
            let what = format!("{key} is {number}");
            failures.case(|| {
                let ended = INSPECT.ends(&what, &Call::inspect(dir.path()));
                assert!(matches!(ended.code, Some(0 | 3)), "{what}: {:?} {}", ended.code, ended.text());
            });
        }
    }
    failures.done();
}

/// The same values reach the run of a model no more than they reach `inspect`.
#[test]
fn a_run_refuses_them_too() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut failures = Failures::default();
    for (key, number) in [(EPS, "1e308"), (THETA, "1e308"), (CAP, "1e308"), (CAP, "5e-324")] {
        write(dir.path(), &with_number(&model.config, key, number));
        let last = key.rsplit('.').next().unwrap();
        failures.case(|| {
            GENERATE.refuses(&format!("{key} is {number}"), &Call::generate(dir.path()), 3, &["config.json: ", last])
        });
    }
    failures.done();
}

/// generation_config.json: what `inspect` does not use does not end it, unless it is no JSON; and what a run uses, it checks.
#[test]
fn hostile_generation_configs() {
    let dir = Model::read("dense-gptq-desc-act").write();
    let path = dir.path().join("generation_config.json");
    let mut failures = Failures::default();
    let sampling = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_new_tokens"];
    for key in sampling {
        for number in [
            "-1",
            "0",
            "64.0",
            "1e308",
            "5e-324",
            "1e400",
            "NaN",
            "null",
            "\"x\"",
            "[]",
            "{}",
            "18446744073709551616",
            "true",
        ] {
            fs::write(&path, format!("{{\"do_sample\": true, \"{key}\": {number}}}")).unwrap();
            let what = format!("{key} is {number}");
            let broken = ["NaN", "1e400"].contains(&number);
            failures.case(|| {
                let ended = INSPECT.ends(&what, &Call::inspect(dir.path()));
                assert!(
                    ended.code == Some(0) || (broken && ended.code == Some(3)),
                    "{what}: {:?} {}",
                    ended.code,
                    ended.text()
                );
            });
        }
    }
    for key in ["eos_token_id", "bos_token_id", "pad_token_id", "suppress_tokens"] {
        for value in [
            json!(-1),
            json!([1, -1]),
            json!(4_294_967_296u64),
            json!([[1]]),
            json!("1"),
            json!({}),
            json!(1.5),
            json!([]),
            json!((0..200_000).collect::<Vec<u32>>()),
        ] {
            fs::write(&path, json!({key: value}).to_string()).unwrap();
            let shown: String = format!("{key} is {value}").chars().take(50).collect();
            failures.case(|| {
                let ended = INSPECT.ends(&shown, &Call::inspect(dir.path()));
                assert!(matches!(ended.code, Some(0 | 3)), "{shown}: {:?} {}", ended.code, ended.text());
            });
        }
    }
    for (what, text) in [
        ("half", "{"),
        ("a list", "[]"),
        ("twice", r#"{"top_k": 1, "top_k": 2}"#),
        ("a number", "5"),
        ("zeros", "\0\0\0\0"),
    ] {
        fs::write(&path, text).unwrap();
        // Who only looks needs none of it; who runs the model does.
        failures.case(|| INSPECT.accepts(what, &Call::inspect(dir.path())));
        failures.case(|| GENERATE.refuses(what, &Call::generate(dir.path()), 3, &["generation_config.json"]));
    }
    failures.done();
}

/// Every token an end of the text, or none to be chosen: a run says so or ends at once, and does not run for ever.
#[test]
fn lists_of_all_tokens() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let path = dir.path().join("generation_config.json");
    let all: Vec<u32> = (0..512).collect();
    let mut failures = Failures::default();
    for (what, value) in [
        ("all suppressed", json!({"suppress_tokens": all})),
        ("beyond the vocabulary suppressed", json!({"suppress_tokens": [4_294_967_295u32, 600]})),
        ("all are ends", json!({"eos_token_id": all})),
    ] {
        fs::write(&path, value.to_string()).unwrap();
        failures.case(|| GENERATE.ends(what, &Call::generate(dir.path())));
    }
    failures.done();
}
