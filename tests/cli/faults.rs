//! Faults: one line on stderr, nothing on stdout, the documented exit code.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use crate::harness::{CHAT, Call};
use crate::process::{bare_model, here, run, run_with};

/// The one line that a failing run prints. What is refused is refused within the bounds of hostile input.
fn fault(arguments: &[&str], code: i32) -> String {
    if matches!(code, 2 | 3) {
        let err = CHAT.refuses(&arguments.join(" "), &Call::new(arguments), code, &[]);
        assert!(err.starts_with("error: ") && err.lines().count() == 1, "{arguments:?}: {err:?}");
        return err.trim_end().to_owned();
    }
    let run = run(arguments);
    assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
    assert_eq!(run.out, "", "{arguments:?}");
    assert!(run.err.starts_with("error: ") && run.err.lines().count() == 1, "{arguments:?}: {:?}", run.err);
    run.err.trim_end().to_owned()
}

#[test]
fn wrong_arguments_end_with_2() {
    for (arguments, word) in [
        (&["chat", "--modle", "x"][..], "'--model'"),
        (&["genrate"], "'generate'"),
        (&["generate", "--prompt", "a", "--ids", "1"], "cannot be used with"),
        (&["generate", "--prompt", " "], "the prompt is empty"),
        (&["generate", "--max-tokens", "0", "--prompt", "a"], "at least 1"),
        (&["generate", "--temperature", "-1", "--prompt", "a"], "temperature -1: expected 0"),
        (&["generate", "--top-p", "1.5", "--prompt", "a"], "top-p 1.5"),
        (&["generate", "--ids", "2,x"], "\"x\""),
        (&["generate", "--ids", "2,5000"], "token id 5000 is beyond the vocabulary of 4096"),
        (&["generate", "--messages", "/nowhere.json"], "/nowhere.json: "),
        (&["generate", "--prompt", "a", "--context", "0"], "context"),
        (&["inspect", "--context", "9999"], "a context of 9999 was asked for, but the model's is 8192"),
        (&["logits", "--ids", "1"], "--output"),
        (&["logits", "--output", "x"], "<--ids <LIST>|--ids-file <FILE>>"),
        (&["prompt"], "--messages"),
        (&["generate", "--top-k", "-1", "--prompt", "a"], "expected a whole number from 0 on"),
        (&["generate", "--seed", "-1", "--prompt", "a"], "expected a whole number from 0 to"),
        (&["generate", "--ids", "2,,3"], "item 2 is empty"),
        (&["generate", "--ids", "-1"], "found \"-1\", expected a number like 17"),
        (&["inspect", "--memory", "-1G"], "size: found \"-1G\", expected a number with K, M, G or T"),
        (&["chat", "--context", "-5"], "invalid value '-5' for '--context <N>': expected a whole number from 1 on"),
        (&["generate", "--max-tokens", "-1", "--prompt", "a"], "expected a whole number from 1 on"),
        (&["generate", "--top-p", "-0.5", "--prompt", "a"], "top-p -0.5: expected more than 0, at most 1"),
        (&["generate", "--temperature", "-inf", "--prompt", "a"], "temperature -inf: expected 0"),
        (&["logits", "--tensor-parallel", "-2", "--ids", "2", "--output", "x"], "expected a whole number from 1 to 8"),
        (&["bench", "--host-experts", "-1"], "expected a whole number from 1 on"),
        (&["bench", "--shares", "-1,2"], "found \"-1\", expected whole numbers like 5,3"),
    ] {
        let line = fault(arguments, 2);
        assert!(line.contains(word), "{arguments:?}: {line}");
    }
}

/// A tokenizer of another model could make ids that this one does not have.
#[test]
fn a_tokenizer_that_is_too_large_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(here("tests/golden/moe-autoround-sym").join(name), folder.path().join(name)).unwrap();
    }
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(here("examples/demo-model").join(name), folder.path().join(name)).unwrap();
    }
    let line = fault(&["generate", "--model", folder.path().to_str().unwrap(), "--prompt", "a"], 3);
    let expected = "error: tokenizer.json: 4096 tokens, expected at most the 512 of the model's vocab_size";
    assert_eq!(line, expected);
}

/// `/dev/full` takes nothing; anything else that goes wrong ends with 1.
#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_is_full_ends_with_1() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = crate::process::command(&["inspect"]).stdout(full).output().unwrap();
    let err = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{err}");
    assert!(err.starts_with("error: stdout: ") && err.lines().count() == 1, "{err}");
}

/// Also commands that open none take `--adapter`; a byte order mark before JSON is no fault.
#[test]
fn commands_without_an_adapter_take_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages.json");
    fs::write(&messages, "\u{FEFF}[{\"role\": \"user\", \"content\": \"a\"}]").unwrap();
    let prompt = run(&["prompt", "--adapter", "x", "--messages", messages.to_str().unwrap()]).ok();
    assert!(prompt.starts_with("<bos><|turn>user\na<turn|>"), "{prompt}");
}

#[test]
fn empty_stdin_is_an_empty_prompt() {
    let run = run_with(&["generate"], "\n");
    assert_eq!((run.code, run.err.as_str()), (Some(2), "error: the prompt is empty, expected some text\n"));
}

#[test]
fn a_file_that_is_no_conversation_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.json");
    for (json, word) in
        [("{", "not JSON"), ("[]", "at least one message"), (r#"[{"role": "cat"}]"#, "messages[0].role")]
    {
        fs::write(&file, json).unwrap();
        for command in ["prompt", "generate"] {
            let line = fault(&[command, "--messages", file.to_str().unwrap()], 2);
            assert!(line.contains(word), "{line}");
        }
    }
}

#[test]
fn a_prompt_that_is_too_long_ends_with_2_and_both_numbers() {
    let line = fault(&["generate", "--ids", "2,5,6,7,8", "--context", "4"], 2);
    assert_eq!(line, "error: the prompt has 5 tokens, but the context is 4: expected at most 3");
    let line = fault(&["logits", "--ids", "1,2,3,4", "--context", "3", "--output", "x"], 2);
    assert_eq!(line, "error: found 4 token ids, but the context is 3: expected at most 3");
    let long = "word ".repeat(9000);
    let line = fault(&["generate", "--prompt", &long], 2);
    assert!(line.contains("but the context is 8192"), "{line}");
}

#[test]
fn a_directory_that_is_no_model_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap().to_owned();
    let (missing, file) = (format!("{empty}/missing"), here("Cargo.toml"));
    let file = file.to_str().unwrap();
    for (directory, word) in [(missing.as_str(), "does not exist"), (&empty, "no "), (file, "is a file")] {
        for command in [
            &["chat"][..],
            &["generate", "--prompt", "a"],
            &["inspect"],
            &["logits", "--ids", "2", "--output", "/nowhere/x"],
        ] {
            let line = fault(&[command, &["--model", directory]].concat(), 3);
            assert!(line.contains(word) && line.contains(directory), "{command:?}: {line}");
        }
    }
}

#[test]
fn a_model_without_a_tokenizer_takes_no_text() {
    let model = bare_model();
    for command in [&["chat"][..], &["generate", "--prompt", "a"]] {
        let line = fault(&[command, &["--model", &model]].concat(), 3);
        assert!(line.contains("no tokenizer.json"), "{line}");
    }
}

#[test]
fn an_unknown_adapter_ends_with_4_and_says_what_there_is() {
    for command in [&["chat"][..], &["generate", "--prompt", "a"], &["devices"]] {
        let line = fault(&[command, &["--adapter", "no such card"]].concat(), 4);
        assert!(line.contains("no adapter matches \"no such card\"; there are: \""), "{line}");
    }
}

/// A final norm of 3e38 is a number, but what it makes of the last layer is not.
#[test]
fn a_model_that_computes_no_numbers_ends_with_5() {
    let folder = tempfile::tempdir().unwrap();
    break_final_norm(&here("tests/golden/dense-gptq-desc-act"), folder.path());
    let model = folder.path().to_str().unwrap();
    let run = run(&["generate", "--model", model, "--ids", "2,5,6", "--temperature", "1", "--max-tokens", "4"]);
    assert_eq!((run.code, run.out.as_str()), (Some(5), ""), "{}", run.err);
    assert!(run.err.contains("after_mlp (kernel add_norm) made NaN or infinity at positions 0 to 2"), "{}", run.err);
}

/// `--json` prints an error as one object, with the code that `docs/errors.md` explains; stderr has the line as always.
#[test]
fn programs_get_the_code() {
    let object = |arguments: &[&str], code: i32| -> serde_json::Value {
        let run = run(arguments);
        assert_eq!((run.code, run.out.lines().count()), (Some(code), 1), "{arguments:?}: {} {}", run.out, run.err);
        let mut object: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let error = object["error"].take();
        assert_eq!(run.err, format!("error: {}\n", error["message"].as_str().unwrap()));
        assert_eq!(error["exit_code"], code, "{error}");
        error
    };
    let long = object(&["generate", "--json", "--ids", "2,5,6,7,8", "--context", "4"], 2);
    assert_eq!((&long["code"], &long["faults"]), (&"E-PROMPT-LENGTH".into(), &serde_json::json!([])));
    assert_eq!(object(&["bench", "--json", "--adapter", "no such card"], 4)["code"], "E-NO-MATCH");
    assert_eq!(object(&["doctor", "--json", "--adapter", "no such card"], 4)["code"], "E-NO-MATCH");
    let missing = object(&["generate", "--json", "--prompt", "a", "--model", "/nowhere"], 3);
    assert_eq!((&missing["code"], missing["faults"].as_array().unwrap().len()), (&"E-MODEL".into(), 1));
    let fault = &missing["faults"][0];
    assert_eq!((&fault["code"], &fault["place"]["model"]), (&"E-SOURCE".into(), &"/nowhere".into()));
    assert_eq!((&fault["defect"], &fault["found"]), (&"missing".into(), &"does not exist".into()));
    assert!(fault["expected"].as_str().unwrap().starts_with("a directory with config.json"), "{fault}");
    assert_eq!(fault["message"], missing["message"]);
    let budget = object(&["generate", "--json", "--ids", "2,5", "--memory", "1.5MiB"], 4);
    assert_eq!(budget["code"], "E-BUDGET");
    let remedies: Vec<&str> = budget["remedies"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(remedies.contains(&"--context 256") && remedies.contains(&"--head int4"), "{remedies:?}");
}

fn break_final_norm(from: &Path, to: &Path) {
    let config = fs::read_to_string(from.join("config.json")).unwrap();
    let uncapped = config.replace("\"final_logit_softcapping\": 30.0", "\"final_logit_softcapping\": null");
    assert_ne!(config, uncapped);
    fs::write(to.join("config.json"), uncapped).unwrap();
    let mut bytes = fs::read(from.join("model.safetensors")).unwrap();
    let (at, length) = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let names = file.names();
        let name = names.iter().find(|name| name.ends_with("model.norm.weight")).unwrap();
        let data = file.tensor(name).unwrap().data();
        (data.as_ptr() as usize - bytes.as_ptr() as usize, data.len())
    };
    for number in bytes[at..at + length].chunks_exact_mut(2) {
        number.copy_from_slice(&0x7f61u16.to_le_bytes()); // bf16
    }
    fs::write(to.join("model.safetensors"), bytes).unwrap();
}
