//! `lapidary generate`.

use std::process::Stdio;

use serde_json::Value;

use crate::process::{bare_model, collect, command, golden, golden_text, id_list, messages, run, run_with, wait};

const QUESTION: &str = "What does Vec::push do?";

#[test]
fn a_prompt_gets_the_golden_answer() {
    let run = run(&["generate", "--prompt", QUESTION, "--temperature", "0"]);
    assert!(run.err.contains("demo model (built in) | int4 g32 sym | "), "{}", run.err);
    assert_eq!(run.ok(), format!("{}\n", golden_text(&golden("method"))));
}

#[test]
fn json_has_what_it_promises_and_nothing_else() {
    let (case, folder) = (golden("method"), tempfile::tempdir().unwrap());
    let file = messages(&case, folder.path());
    let object = run(&["generate", "--messages", &file, "--temperature", "0", "--json"]).json();
    let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["prompt_ids", "ids", "text", "thinking", "finish_reason", "timings"]);
    assert_eq!(object["prompt_ids"], case["prompt_ids"]);
    assert_eq!(object["ids"], case["greedy_ids"]);
    assert_eq!(object["text"], golden_text(&case));
    assert_eq!(object["thinking"], Value::Null);
    assert_eq!(object["finish_reason"], "stop");
    let timings = object["timings"].as_object().unwrap();
    let keys: Vec<&String> = timings.keys().collect();
    assert_eq!(keys, ["prompt_tokens", "prompt_seconds", "decode_tokens", "decode_seconds"]);
    assert_eq!(timings["prompt_tokens"], case["prompt_ids"].as_array().unwrap().len());
    assert_eq!(timings["decode_tokens"], case["greedy_ids"].as_array().unwrap().len() - 1);
    assert!(timings["prompt_seconds"].as_f64().unwrap() > 0.0 && timings["decode_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn thinking_is_kept_apart() {
    let (case, folder) = (golden("thinking"), tempfile::tempdir().unwrap());
    let file = messages(&case, folder.path());
    let object = run(&["generate", "--messages", &file, "--temperature", "0", "--json"]).json();
    assert_eq!(object["ids"], case["greedy_ids"]);
    let (thought, answer) = golden_text(&case).split_once("<channel|>").unwrap();
    let thought = thought.strip_prefix("<|channel>thought\n").unwrap();
    assert_eq!((object["thinking"].as_str().unwrap(), object["text"].as_str().unwrap()), (thought, answer));
}

#[test]
fn a_tool_call_is_no_text() {
    let (case, folder) = (golden("tool-call"), tempfile::tempdir().unwrap());
    let run = run(&["generate", "--messages", &messages(&case, folder.path()), "--temperature", "0"]);
    assert!(run.err.contains("the model calls a tool: call:"), "{}", run.err);
    assert_eq!(run.ok(), "");
}

#[test]
fn ids_are_taken_as_they_are_and_answers_are_cut_at_max_tokens() {
    let case = golden("method");
    let ids = id_list(&case, "prompt_ids");
    let object = run(&["generate", "--ids", &ids, "--temperature", "0", "--max-tokens", "5", "--json"]).json();
    assert_eq!(object["prompt_ids"], case["prompt_ids"]);
    assert_eq!(object["ids"].as_array().unwrap(), &case["greedy_ids"].as_array().unwrap()[..5]);
    assert_eq!(object["finish_reason"], "length");
    assert!(golden_text(&case).starts_with(object["text"].as_str().unwrap()));
}

/// Both lists name `<eos>` alone, as converters write them: turns end by their tokens' names, with `--ids` too.
#[test]
fn turns_end_where_the_lists_of_ends_leave_them_out() {
    let folder = tempfile::tempdir().unwrap();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model");
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"] {
        std::fs::copy(demo.join(name), folder.path().join(name)).unwrap();
    }
    for name in ["config.json", "generation_config.json"] {
        let mut json: Value = serde_json::from_slice(&std::fs::read(demo.join(name)).unwrap()).unwrap();
        json["eos_token_id"] = 1.into();
        if json.get("text_config").is_some() {
            json["text_config"]["eos_token_id"] = 1.into();
        }
        std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    }
    let model = folder.path().to_str().unwrap();
    for name in ["method", "tool-call"] {
        let case = golden(name);
        let ids = id_list(&case, "prompt_ids");
        let object = run(&["generate", "--model", model, "--ids", &ids, "--temperature", "0", "--json"]).json();
        assert_eq!((&object["ids"], &object["finish_reason"]), (&case["greedy_ids"], &"stop".into()), "{name}");
    }
    // Without a tokenizer nobody knows the names.
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let (case, most) = (golden("method"), 40);
    let (ids, most) = (id_list(&case, "prompt_ids"), most.to_string());
    let arguments =
        ["generate", "--model", model, "--ids", &ids, "--temperature", "0", "--json", "--max-tokens", &most];
    let object = run(&arguments).json();
    assert!(object["ids"].as_array().unwrap().contains(&6.into()), "{object}");
    assert_ne!(object["ids"].as_array().unwrap().last(), Some(&6.into()), "{object}");
}

#[test]
fn a_model_without_a_tokenizer_answers_in_ids() {
    let model = bare_model();
    let arguments = ["generate", "--model", &model, "--ids", "2 5 6", "--max-tokens", "3"];
    let object = run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&object["text"], &object["thinking"]), (&Value::Null, &Value::Null));
    let plain = run(&arguments).ok();
    assert_eq!(format!("[{}]", plain.trim_end()), object["ids"].to_string());
}

#[test]
fn stdin_is_a_prompt_too() {
    let answer = run_with(&["generate", "--temperature", "0"], &format!("{QUESTION}\n")).ok();
    assert_eq!(answer, format!("{}\n", golden_text(&golden("method"))));
    // Line ends of Windows' files are no part of the text.
    let ids = |prompt| run_with(&["generate", "--json", "--max-tokens", "1"], prompt).json()["prompt_ids"].clone();
    assert_eq!(ids("a\r\nb\r\n"), ids("a\nb\n"));
    assert_ne!(ids("a\rb"), ids("a\nb"));
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let drawn = |seed: &str| {
        let sampling = ["--temperature", "5", "--top-k", "0", "--top-p", "1", "--max-tokens", "12", "--seed", seed];
        run(&[&["generate", "--prompt", QUESTION, "--json"], &sampling[..]].concat()).json()["ids"].clone()
    };
    let first = drawn("7");
    assert_eq!(first, drawn("7"));
    assert_ne!(first, drawn("8"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&["generate", "--prompt", QUESTION, "--temperature", "0"][..], &["inspect"], &["--help"]] {
        let mut child = command(arguments).stdin(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        let err = collect(child.stderr.take().unwrap());
        assert_eq!(wait(&mut child), Some(0), "{arguments:?}");
        let err = err.join().unwrap();
        assert!(!err.contains("panicked") && !err.contains("error"), "{arguments:?}: {err}");
    }
}
