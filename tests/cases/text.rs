//! Templates of the kinds that went wrong, against the text that Python's Jinja makes of them, set up as transformers does:
//! `jinja.json` is a list of `[kind, template, conversation, text]`.

use std::fs;
use std::io::Write;

use crate::harness::{Call, Failures, HELLO, IDS, PROMPT, text_folder};

/// What no template of a checkpoint is known to use may be refused; never is it another text.
const MAY_BE_REFUSED: &str = "expressions";

#[test]
fn texts_are_those_of_jinja() {
    let cases: Vec<[String; 4]> = serde_json::from_str(include_str!("jinja.json")).unwrap();
    assert!(cases.len() > 250);
    let dir = text_folder();
    let (mut failures, mut refused) = (Failures::default(), Vec::new());
    for [kind, template, conversation, expected] in &cases {
        fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
        failures.case(|| {
            let ended = PROMPT.ends(template, &Call::prompt(dir.path(), conversation));
            if kind == MAY_BE_REFUSED && ended.code != Some(0) {
                refused.push(template.as_str());
                return;
            }
            let found = String::from_utf8_lossy(&ended.out);
            assert!(
                ended.code == Some(0) && found == expected.as_str(),
                "{kind}: {template:?}\n   found {found:?} {}\nexpected {expected:?}",
                ended.text()
            );
        });
    }
    // Past the test runner's capture: what is not there is always said.
    let line = format!("of {} templates, {} are refused: {}\n", cases.len(), refused.len(), refused.join(" "));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    failures.done();
}

/// Marks in front of each file of a text model, and the template in UTF-16, which is named or read.
#[test]
fn byte_order_marks_in_text_files() {
    let expected = IDS.accepts("plain", &Call::ids(text_folder().path(), HELLO));
    let mut failures = Failures::default();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        for mark in ["\u{feff}", "UTF-16BE", "UTF-16LE"] {
            let dir = text_folder();
            let path = dir.path().join(name);
            let text = format!("\u{feff}{}", fs::read_to_string(&path).unwrap());
            let bytes: Vec<u8> = match mark {
                "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => text.into_bytes(),
            };
            fs::write(path, bytes).unwrap();
            let what = format!("{name}, {mark:?}");
            failures.case(|| {
                let ended = IDS.ends(&what, &Call::ids(dir.path(), HELLO));
                let named = ended.code == Some(3) && ended.text().contains("UTF-16") && ended.text().contains(name);
                assert!(
                    (ended.code == Some(0) && ended.out == expected.as_bytes()) || (mark != "\u{feff}" && named),
                    "{what}: {:?} {}",
                    ended.code,
                    ended.text()
                );
            });
        }
    }
    failures.done();
}

/// Where templates may stand besides chat_template.jinja.
#[test]
fn templates_in_other_places() {
    let expected = PROMPT.accepts("plain", &Call::prompt(text_folder().path(), HELLO));
    let mut failures = Failures::default();
    let source = fs::read_to_string(text_folder().path().join("chat_template.jinja")).unwrap();
    let named = |list: serde_json::Value| serde_json::json!({ "chat_template": list }).to_string();
    for (what, file, text) in [
        ("chat_template.json", "chat_template.json", named(serde_json::json!(source))),
        ("tokenizer_config.json", "tokenizer_config.json", named(serde_json::json!(source))),
        (
            "named templates",
            "tokenizer_config.json",
            named(serde_json::json!([
            {"name": "tool_use", "template": "wrong"}, {"name": "default", "template": source}])),
        ),
    ] {
        let dir = text_folder();
        fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
        let mut text: serde_json::Value = serde_json::from_str(&text).unwrap();
        if file == "tokenizer_config.json" {
            let own = fs::read(dir.path().join(file)).unwrap();
            let mut own: serde_json::Value = serde_json::from_slice(&own).unwrap();
            own["chat_template"] = text["chat_template"].take();
            text = own;
        }
        fs::write(dir.path().join(file), text.to_string()).unwrap();
        failures.case(|| assert_eq!(PROMPT.accepts(what, &Call::prompt(dir.path(), HELLO)), expected, "{what}"));
    }
    let dir = text_folder();
    fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
    fs::rename(dir.path().join("chat_template.jinja"), dir.path().join("additional_chat_templates/default.jinja"))
        .unwrap();
    failures.case(|| {
        let ended = PROMPT.ends("additional_chat_templates", &Call::prompt(dir.path(), HELLO));
        let named = ended.code == Some(3) && ended.text().contains("additional_chat_templates");
        assert!(named || ended.out == expected.as_bytes(), "{:?} {}", ended.code, ended.text());
    });
    failures.done();
}

/// Files that are something else, in the place of each: said what they are.
#[test]
fn text_files_that_are_something_else() {
    let mut failures = Failures::default();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        for (what, bytes, word) in [
            (
                "a pointer of Git LFS",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 32169626\n".to_vec(),
                "Git LFS",
            ),
            (
                "the same with CRLF",
                b"version https://git-lfs.github.com/spec/v1\r\noid sha256:4d7a\r\nsize 1\r\n".to_vec(),
                "Git LFS",
            ),
            ("a web page", b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>".to_vec(), "HTML"),
            ("a web page without type", b"<html>\n</html>".to_vec(), "HTML"),
            ("a web page behind white space", b"\n\n  <!doctype HTML><html>".to_vec(), "HTML"),
            ("a zip file", b"PK\x03\x04\x14\0\0\0\x08\0".repeat(10), "zip"),
            ("zeros", vec![0; 4096], "zero"),
        ] {
            let dir = text_folder();
            fs::write(dir.path().join(name), bytes).unwrap();
            let what = format!("{what} as {name}");
            failures.case(|| {
                let text = IDS.refuses(&what, &Call::ids(dir.path(), HELLO), 3, &[name]);
                assert!(text.contains(word) && text.lines().count() == 1, "{what}: no {word:?} in {text}");
            });
        }
    }
    failures.done();
}
