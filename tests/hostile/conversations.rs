//! Hostile conversations, by file and on standard input: bounded before anything is done with them, and blamed with 2.

use super::harness::{CHAT, Call, Failures, HELLO, IDS, Input, PROMPT, demo};
use super::{fs, json};

/// The demo's context, of which each token may have eight bytes.
const MOST_OF_DEMO: usize = 8 * 8192;
const MOST: usize = 16 << 20;

fn prompt(bytes: Vec<u8>) -> Call {
    Call::new(["prompt", "--messages", "-"]).with(Input::Bytes(bytes))
}

fn ids(bytes: Vec<u8>) -> Call {
    Call::new(["prompt", "--messages", "-", "--ids"]).with(Input::Bytes(bytes))
}

fn message(content: &str) -> Vec<u8> {
    json!([{"role": "user", "content": content}]).to_string().into_bytes()
}

/// Both numbers stand in the message: what was found and what may be.
fn has_two_numbers(text: &str) -> bool {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() > 1);
    numbers.count() >= 2
}

#[test]
fn conversations_of_all_sizes() {
    let mut failures = Failures::default();
    let pairs = |count: usize| {
        let pair = r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#;
        format!("[{}]", vec![pair; count].join(",")).into_bytes()
    };
    let spaced = |count: usize| [b"[", " ".repeat(count).as_bytes(), &HELLO.as_bytes()[1..]].concat();
    for (what, bytes) in [
        ("10 MB of text", message(&"a ".repeat(5_000_000))),
        ("100 MB of text", message(&"a ".repeat(50_000_000))),
        ("100 KB of text", message(&"a ".repeat(50_000))),
        ("100 KB of specials", message(&"<|turn>".repeat(15_000))),
        ("one word of 100 KB", message(&"a".repeat(100_000))),
        ("100 KB of emoji", message(&"🦙".repeat(25_000))),
        ("3 million messages", pairs(1_500_000)),
        ("one byte above what is read", spaced(MOST + 1 - HELLO.len())),
        ("20 MB of spaces", spaced(20_000_000)),
        ("17 MB that are no JSON", vec![b'{'; 17_000_000]),
        ("17 MB of zeros", vec![0; 17_000_000]),
        (
            "many parts",
            json!([{"role": "user", "content": vec![json!({"type": "text", "text": "a"}); 20_000]}])
                .to_string()
                .into_bytes(),
        ),
        (
            "many tools",
            json!({"messages": [{"role": "user", "content": "a"}],
            "tools": vec![json!({"type": "function", "function": {"name": "f", "parameters": {}}}); 10_000]})
            .to_string()
            .into_bytes(),
        ),
        (
            "a long tool's name",
            json!({"messages": [{"role": "user", "content": "a"}],
            "tools": [{"type": "function", "function": {"name": "f".repeat(1 << 20), "parameters": {}}}]})
            .to_string()
            .into_bytes(),
        ),
    ] {
        assert!(bytes.len() > MOST_OF_DEMO, "{what}: {}", bytes.len());
        for (kind, call) in [(&PROMPT, prompt(bytes.clone())), (&IDS, ids(bytes))] {
            failures.case(|| {
                let text = kind.refuses(what, &call, 2, &[]);
                assert!(has_two_numbers(&text) && text.lines().count() == 1, "{what}: {text}");
            });
        }
    }
    // Right below the bound: read as ever, though the model would not take it.
    let fits = message(&"a".repeat(MOST_OF_DEMO - 100));
    failures.case(|| IDS.ends("just below the bound", &ids(fits)));
    failures.done();
}

/// What never ends is not read to its end, in the place of a file and on standard input.
#[cfg(unix)]
#[test]
fn input_that_never_ends() {
    let mut failures = Failures::default();
    for device in ["/dev/zero", "/dev/urandom"] {
        failures.case(|| PROMPT.refuses(device, &Call::new(["prompt", "--messages", device]), 2, &[]));
        let piped = |arguments: &[&str]| Call::new(arguments).with(Input::File(device.into()));
        failures.case(|| PROMPT.refuses("on stdin", &piped(&["prompt", "--messages", "-"]), 2, &[]));
        failures.case(|| CHAT.refuses("generate", &piped(&["generate", "--messages", "-"]), 2, &[]));
        failures.case(|| CHAT.refuses("generate from text", &piped(&["generate"]), 2, &[]));
        failures.case(|| {
            CHAT.refuses("ids", &Call::new(["logits", "--ids-file", device, "--output", "/nowhere/x"]), 2, &[])
        });
    }
    failures.case(|| PROMPT.refuses("nothing", &Call::new(["prompt", "--messages", "/dev/null"]), 2, &["not JSON"]));
    failures.case(|| PROMPT.refuses("a folder", &Call::new(["prompt", "--messages", "/"]), 2, &[]));
    failures.done();
}

/// What `generate` reads as text: bounded before a device is opened, and named where it is no text.
#[test]
fn text_on_standard_input() {
    let generate =
        |bytes: Vec<u8>| Call::new(["generate", "--max-tokens", "1", "--temperature", "0"]).with(Input::Bytes(bytes));
    let mut failures = Failures::default();
    for (what, bytes) in [
        ("17 MB", vec![b'a'; 17 << 20]),
        ("100 MB", b"a ".repeat(50 << 20)),
        ("66 KB", b"a ".repeat(33 << 10)),
        ("messages of 10 MB", b"a\n".repeat(5 << 20)),
    ] {
        failures.case(|| {
            let text = CHAT.refuses(what, &generate(bytes), 2, &[]);
            assert!(has_two_numbers(&text) && text.lines().count() == 1, "{what}: {text}");
        });
    }
    let utf16 = |little: bool| -> Vec<u8> {
        let units = "\u{feff}What is a Vec?\n".encode_utf16();
        units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    for (what, bytes) in [
        ("not UTF-8", b"caf\xe9\n".to_vec()),
        ("half a character", "é".as_bytes()[..1].to_vec()),
        ("nothing", Vec::new()),
        ("only a mark", b"\xef\xbb\xbf".to_vec()),
        ("only white space", b" \n\t\r\n ".to_vec()),
    ] {
        failures.case(|| CHAT.refuses(what, &generate(bytes), 2, &[]));
    }
    // Read, or named.
    for little in [true, false] {
        failures.case(|| {
            let ended = CHAT.ends("UTF-16", &generate(utf16(little)));
            let named = ended.code == Some(2) && ended.text().contains("UTF-16");
            assert!(named || ended.code == Some(0), "{:?} {}", ended.code, ended.text());
        });
    }
    failures.done();
}

/// Bytes that are no conversation.
#[test]
fn files_that_are_no_conversation() {
    let deep = |open: &str, close: &str, count: usize| {
        format!("[{{\"role\":\"user\",\"content\":\"a\",\"x\":{}1{}}}]", open.repeat(count), close.repeat(count))
            .into_bytes()
    };
    let mut failures = Failures::default();
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("lists 10,000 deep", deep("[", "]", 10_000)),
        ("objects 6,000 deep", deep("{\"a\":", "}", 6_000)),
        ("lists 30,000 deep, unclosed", "[".repeat(30_000).into_bytes()),
        ("not UTF-8", b"[{\"role\":\"user\",\"content\":\"\xff\"}]".to_vec()),
        ("a byte of Latin-1", b"[{\"role\":\"user\",\"content\":\"caf\xe9\"}]".to_vec()),
        ("an overlong slash", b"[{\"role\":\"user\",\"content\":\"\xc0\xaf\"}]".to_vec()),
        ("a surrogate as bytes", b"[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]".to_vec()),
        ("a raw control character", b"[{\"role\":\"user\",\"content\":\"\x1b[31m\"}]".to_vec()),
        ("UTF-16 without a mark", utf16(HELLO)),
        ("half", HELLO.as_bytes()[..20].to_vec()),
        ("two", [HELLO, HELLO].concat().into_bytes()),
        ("NaN", b"[{\"role\":\"user\",\"content\":NaN}]".to_vec()),
        ("a comma too many", b"[{\"role\":\"user\",\"content\":\"a\"},]".to_vec()),
        ("single quotes", b"[{'role':'user','content':'a'}]".to_vec()),
        ("one message a line", [HELLO, "\n", HELLO].concat().into_bytes()),
        ("a role twice", br#"[{"role":"user","content":"a","role":"system","content":"b"}]"#.to_vec()),
        ("a content twice", br#"[{"role":"user","content":"a","content":"a"}]"#.to_vec()),
        ("a key twice by escape", br#"[{"role":"user","content":"a","\u0072ole":"system"}]"#.to_vec()),
        ("messages twice", br#"{"messages":[{"role":"user","content":"a"}],"messages":[]}"#.to_vec()),
        ("thinking twice", br#"{"messages":[{"role":"user","content":"a"}],"enable_thinking":true,"enable_thinking":false}"#.to_vec()),
        ("arguments twice", br#"[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1,"a":2}}}]}]"#.to_vec()),
        ("a tool's name twice", br#"{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","name":"g"}}]}"#.to_vec()),
        ("a tool's parameter twice", br#"{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"a":{},"a":{}}}}}]}"#.to_vec()),
        ("a part's text twice", br#"[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]"#.to_vec()),
    ] {
        for (kind, call) in [(&PROMPT, prompt(bytes.clone())), (&IDS, ids(bytes))] {
            failures.case(|| {
                let text = kind.refuses(what, &call, 2, &[]);
                assert_eq!(text.lines().count(), 1, "{what}: {text}");
            });
        }
    }
    failures.done();
}

/// What is no fault: marks and UTF-16 with one, escapes of all kinds.
#[test]
fn spellings_of_one_conversation() {
    let expected = PROMPT.accepts("plain", &prompt(HELLO.as_bytes().to_vec()));
    let units = |mark: &str| format!("{mark}{HELLO}").encode_utf16().collect::<Vec<u16>>();
    let escaped: String = HELLO.replace("Vec", "\\u0056\\u0065\\u0063");
    let mut failures = Failures::default();
    for (what, bytes) in [
        ("a byte order mark", format!("\u{feff}{HELLO}").into_bytes()),
        ("UTF-16, little end first", units("\u{feff}").into_iter().flat_map(u16::to_le_bytes).collect()),
        ("UTF-16, big end first", units("\u{feff}").into_iter().flat_map(u16::to_be_bytes).collect()),
        ("escapes", escaped.into_bytes()),
        ("CRLF around", format!("\r\n{HELLO}\r\n").into_bytes()),
    ] {
        // UTF-16 may be named rather than read: what it may not be is read as something else.
        failures.case(|| {
            let ended = PROMPT.ends(what, &prompt(bytes));
            let named = what.starts_with("UTF-16") && ended.code == Some(2) && ended.text().contains("UTF-16");
            assert!(
                named || (ended.code == Some(0) && ended.out == expected.as_bytes()),
                "{what}: {:?} {}",
                ended.code,
                ended.text()
            );
        });
    }
    // Half a surrogate pair is no text; Python's json has it, and no tokenizer.
    for text in [r"\ud800", r"\udfff", r"\ud800\ud800", r"\ud83d", r"a\ude00b"] {
        let bytes = format!("[{{\"role\":\"user\",\"content\":\"{text}\"}}]").into_bytes();
        failures.case(|| PROMPT.refuses(text, &prompt(bytes), 2, &[]));
    }
    failures.done();
}

/// By a file instead of standard input it is the same, and in the place of a file may be what is none.
#[cfg(unix)]
#[test]
fn places_that_are_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let call = |name: &str| {
        Call::new([super::Path::new("prompt"), "--model".as_ref(), &demo(), "--messages".as_ref(), &path(name)])
    };
    fs::write(path("large"), message(&"a ".repeat(5_000_000))).unwrap();
    fs::File::create(path("sparse")).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
    let mut failures = Failures::default();
    for name in ["large", "sparse", "loop", "zero", "absent", "large/below", "."] {
        failures.case(|| PROMPT.refuses(name, &call(name), 2, &[]));
    }
    failures.done();
}
