//! What the user gives: how much of it is read, in which encodings, and what of it reaches the terminal.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{bare_model, golden, golden_text, here, run, run_with};

const QUESTION: &str = "What does Vec::push do?";

/// The one line of a refusal with exit code 2, for which nothing was loaded.
fn refusal(arguments: &[&str], input: &str) -> String {
    let run = run_with(arguments, input);
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}: {}", run.err);
    assert!(run.err.starts_with("error: ") && run.err.lines().count() == 1, "{arguments:?}: {:.500}", run.err);
    run.err.trim_end().to_owned()
}

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The demo model's tokenizer without its configuration, so that no context is known.
fn text_files(folder: &Path) -> String {
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(here("examples/demo-model").join(name), folder.join(name)).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_no_context_holds_is_refused_by_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a ".repeat(40_000);
    let messages = json!([{"role": "user", "content": long}]).to_string();
    let long_file = file(folder.path(), "long.json", &messages);
    let huge = json!([{"role": "user", "content": "a ".repeat(1 << 20)}]).to_string();
    let huge_file = file(folder.path(), "huge.json", &huge);
    let ids = file(folder.path(), "ids", "2,".repeat(1 << 18));
    let model = text_files(folder.path());
    for (arguments, input, expected) in [
        (
            &["generate", "--prompt", &long][..],
            "",
            "--prompt: found 80000 bytes, expected at most 65536 for a context of 8192",
        ),
        (&["generate", "--raw", &long], "", "--raw: found 80000 bytes, expected at most 65536"),
        (&["generate", "--raw", "-"], &long, "stdin: found more than 65536 bytes, expected at most 65536"),
        (&["generate", "--context", "1000"], &long, "expected at most 8000 for a context of 1000 tokens"),
        (&["generate", "--messages", "-"], &messages, "bytes, more than 65536 of them text, expected at most 65536"),
        (&["generate", "--messages", &long_file], "", "bytes, more than 65536 of them text, expected at most 65536"),
        (
            &["prompt", "--messages", &huge_file],
            "",
            "found 2097182 bytes, expected at most 65536 for a context of 8192 tokens",
        ),
        (
            &["prompt", "--model", &model, "--messages", &huge_file],
            "",
            "more than 2097152 of them text, expected at most 2097152",
        ),
        (&["logits", "--output", "never-written", "--ids-file", &ids], "", "found more than 262144 bytes"),
    ] {
        let line = refusal(arguments, input);
        assert!(line.contains(expected), "{:?}: {line}, expected {expected}", arguments[..2].to_vec());
    }
}

/// A list has a value every two bytes, each of which would take 72 in memory.
#[test]
fn values_count_as_text() {
    let list = format!("[{}0]", "0,".repeat(100_000));
    let line = refusal(&["prompt", "--messages", "-"], &list);
    assert!(line.contains("found 200003 bytes, more than 65536 of them text, expected at most 65536"), "{line}");
    let many = json!(vec![json!({"role": "user", "content": "a"}); 20_000]).to_string();
    assert!(refusal(&["prompt", "--messages", "-"], &many).contains("expected at most 65536"));
    // Escapes are no text.
    let escaped = format!(r#"[{{"role": "user", "content": "{}"}}]"#, r"\u0061".repeat(20_000));
    assert!(run_with(&["prompt", "--messages", "-"], &escaped).ok().contains(&"a".repeat(20_000)));
}

#[cfg(unix)]
#[test]
fn what_does_not_end_is_not_read_to_its_end() {
    let expected = "found more than 393216 bytes, expected at most 65536 for a context of 8192 tokens";
    for command in ["prompt", "generate"] {
        assert_eq!(refusal(&[command, "--messages", "/dev/zero"], ""), format!("error: /dev/zero: {expected}"));
    }
    for arguments in [&["generate"][..], &["chat", "--temperature", "0"]] {
        let zero = fs::File::open("/dev/zero").unwrap();
        let found = crate::process::command(arguments).stdin(zero).output().unwrap();
        let err = String::from_utf8(found.stderr).unwrap();
        assert_eq!((found.status.code(), found.stdout.len()), (Some(2), 0), "{arguments:?}: {err}");
        assert!(err.ends_with("expected at most 65536\n") || err.ends_with("a context of 8192 tokens\n"), "{err}");
    }
}

#[test]
fn a_line_of_a_chat_that_is_too_long_is_passed_over() {
    let (line, block) = ("a".repeat(70_000), "word ".repeat(5_000));
    let input = format!("{line}\n{QUESTION}\n\"\"\"\n{block}\n{block}\n{block}\n\"\"\"\n{QUESTION}\n");
    let run = run_with(&["chat", "--temperature", "0"], &input);
    let errors: Vec<&str> = run.err.lines().filter(|line| line.starts_with("error: ")).collect();
    let expected = ["line", "message"]
        .map(|what| format!("error: stdin: found a {what} of more than 65536 bytes, expected at most 65536"));
    assert_eq!(errors, expected);
    assert_eq!((run.code, run.out.matches("Appends an element").count()), (Some(2), 2), "{}", run.out);
}

#[test]
fn byte_order_marks_say_how_text_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let encoded = |text: &str| {
        let units = || text.encode_utf16();
        [
            text.as_bytes().to_vec(),
            units().flat_map(u16::to_le_bytes).collect(),
            units().flat_map(u16::to_be_bytes).collect(),
        ]
    };
    let messages = json!([{"role": "user", "content": QUESTION}]);
    let expected = run(&["prompt", "--messages", &file(folder.path(), "plain", messages.to_string()), "--ids"]).ok();
    let in_stdin = |arguments: &[&str], bytes: &[u8]| {
        let path = file(folder.path(), "in", bytes);
        let output = crate::process::command(arguments).stdin(fs::File::open(path).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for json in encoded(&format!("\u{FEFF}{messages}")) {
        let marked = file(folder.path(), "marked", &json);
        assert_eq!(run(&["prompt", "--messages", &marked, "--ids"]).ok(), expected);
        assert_eq!(in_stdin(&["prompt", "--messages", "-", "--ids"], &json), expected);
    }
    let answer = format!("{}\n", golden_text(&golden("method")));
    for prompt in encoded(&format!("\u{FEFF}{QUESTION}\r\n")) {
        assert_eq!(in_stdin(&["generate", "--temperature", "0"], &prompt), answer);
        assert!(in_stdin(&["chat", "--temperature", "0"], &prompt).starts_with(&answer));
    }
    let unmarked: String = QUESTION.chars().flat_map(|c| [c, '\0']).collect();
    assert!(refusal(&["generate"], &unmarked).contains("found UTF-16 text without a byte order mark"));
}

#[test]
fn a_key_twice_is_a_fault_of_the_conversation() {
    let call = |arguments: &str| {
        format!(
            r#"[{{"role":"user","content":"a"}},{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}}]"#
        )
    };
    for (json, expected) in [
        (r#"[{"role":"user","content":"a","role":"system"}]"#.to_owned(), "messages[0]: found the key \"role\" twice"),
        (r#"{"messages":[],"messages":[]}"#.to_owned(), "conversation: found the key \"messages\" twice"),
        (call(r#"{"x":1,"x":2}"#), "messages[1].tool_calls[0].function.arguments: found the key \"x\" twice"),
        (call(r#""{\"x\":{\"y\":1,\"y\":2}}""#), "arguments: x: found the key \"y\" twice, expected once"),
        (
            r#"{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","a":1,"a":1}}]}"#
                .to_owned(),
            "tools[0].function: found the key \"a\" twice",
        ),
    ] {
        let line = refusal(&["prompt", "--messages", "-"], &json);
        assert!(line.contains(expected), "{line}, expected {expected}");
    }
}

#[test]
fn an_assistant_may_have_said_nothing() {
    let prompt = |assistant: Value| {
        let messages = json!([{"role": "user", "content": "a"}, assistant, {"role": "user", "content": "b"}]);
        run_with(&["prompt", "--messages", "-"], &messages.to_string()).ok()
    };
    let empty = prompt(json!({"role": "assistant", "content": ""}));
    assert_eq!(prompt(json!({"role": "assistant", "content": null})), empty);
    assert_eq!(prompt(json!({"role": "assistant"})), empty);
    let user = json!([{"role": "user", "content": null}]).to_string();
    assert!(refusal(&["prompt", "--messages", "-"], &user).contains("messages[0].content: found nothing"));
}

#[test]
fn a_raw_text_goes_on_without_a_template() {
    let ids = |arguments: &[&str], input: &str| {
        let limits = ["--temperature", "0", "--max-tokens", "2", "--json"];
        run_with(&[&["generate"], arguments, &limits].concat(), input).json()["prompt_ids"].clone()
    };
    let plain = ids(&["--raw", "What does"], "");
    assert_eq!((plain.as_array().unwrap().len(), &plain[0]), (3, &json!(2)), "<bos> and two tokens");
    assert_eq!(ids(&["--raw", "-"], "What does"), plain, "stdin");
    assert_eq!(ids(&["--raw", "<bos>What does"], ""), plain, "not twice");
    assert_eq!(ids(&["--raw", ""], ""), json!([2]));
    // The ids of a rendered prompt are those of its text.
    let messages = json!([{"role": "user", "content": QUESTION}]).to_string();
    let text = run_with(&["prompt", "--messages", "-"], &messages).ok();
    assert_eq!(ids(&["--raw", &text], ""), ids(&["--prompt", QUESTION], ""), "{text}");
    assert_eq!(ids(&["--raw", "-"], "What does\n").as_array().unwrap().len(), 4, "nothing is trimmed");
    for other in [["--prompt", "a"], ["--ids", "2"], ["--messages", "-"]] {
        assert!(refusal(&[&["generate", "--raw", "x"][..], &other].concat(), "").contains("cannot be used with"));
    }
}

#[test]
fn a_base_model_is_told_of_raw() {
    let folder = tempfile::tempdir().unwrap();
    let model = text_files(folder.path());
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        fs::copy(here("examples/demo-model").join(name), folder.path().join(name)).unwrap();
    }
    fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    let prompted = run(&["generate", "--model", &model, "--prompt", "a"]);
    assert_eq!((prompted.code, prompted.err.lines().count()), (Some(3), 1), "{}", prompted.err);
    assert!(
        prompted.err.contains("chat template: found none") && prompted.err.contains("--raw TEXT"),
        "{}",
        prompted.err
    );
    let raw = ["--raw", "What does", "--temperature", "0", "--max-tokens", "4"];
    let answers = [&["generate", "--model", &model][..], &["generate"]].map(|model| run(&[model, &raw].concat()).ok());
    assert_eq!(answers[0], answers[1]);
    let bare = run(&["generate", "--model", &bare_model(), "--raw", "a"]);
    assert_eq!((bare.code, bare.err.contains("no tokenizer.json")), (Some(3), true), "{}", bare.err);
}

#[test]
fn what_is_quoted_steers_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let evil = "\u{1b}[31mRED\u{1b}]0;title\u{7}\u{202e}\nsecond";
    let conversation = json!([{"role": evil, "content": "a"}]).to_string();
    for (arguments, input) in [
        (&["generate", "--messages", evil][..], ""),
        (&["generate", "--ids", evil], ""),
        (&[evil], ""),
        (&["generate", "--temperature", evil], ""),
        (&["prompt", "--messages", "-"], &conversation),
    ] {
        let line = refusal(arguments, input);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}') && line.contains("RED"), "{line:?}");
    }
    let model = text_files(folder.path());
    file(folder.path(), "chat_template.jinja", format!("{{{{ raise_exception('{evil}') }}}}"));
    let line = refusal(&["prompt", "--model", &model, "--messages", "-"], r#"[{"role": "user", "content": "a"}]"#);
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}') && line.contains("second"), "{line:?}");
    let long = "x".repeat(50_000);
    assert!(refusal(&["generate", "--ids", &long], "").chars().count() < 5_000);
}
