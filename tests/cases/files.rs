//! Each folder of `../shared/cases/files`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::folders::{case, each, gives_logits, shared};
use crate::harness::{CHAT, Call, IDS, INSPECT, Input, Kind, PROMPT, demo};

/// Those that are what they say: `inspect` takes them, and the logits are right. With a word that a note must have, if any.
const RIGHT: [(&str, &str); 8] = [
    ("01-sym-zero-points/called-v1", "zero point"),
    ("08-generation-config/topk-minus-1", ""),
    ("09-dtype/auto", ""),
    ("10-names-under-another-prefix/gptq-dynamic", ""),
    ("12-index-beyond-need/lists-tied-head", "lm_head"),
    ("12-index-beyond-need/omits-unneeded", "index"),
    ("13-byte-order-mark/config", ""),
    ("14-quantize-config-file/model", ""),
];

/// Those that cannot be run, with words of the error.
const REFUSED: [(&str, &[&str]); 3] = [
    ("02-online-rotation/compressed-tensors", &["config.json: ", "transform_config"]),
    ("02-online-rotation/truly-rotated", &["config.json: ", "transform_config"]),
    ("11-lfs-pointer/weights", &["model.safetensors", "Git LFS"]),
];

/// Those with a template, the conversation beside them, and the text that Jinja itself makes of both.
const RENDERED: [(&str, &str, &str); 5] = [
    ("03-generation-tag/model", "03-generation-tag/chat.json", include_str!("03-generation-tag.txt")),
    ("04-tojson-arguments/sort-keys", "04-tojson-arguments/chat.json", include_str!("04-tojson-sort-keys.txt")),
    ("04-tojson-arguments/ascii", "04-tojson-arguments/chat.json", include_str!("04-tojson-ascii.txt")),
    ("05-template-line-ends/crlf", "05-template-line-ends/chat.json", include_str!("05-template-line-ends.txt")),
    ("06-numbers-in-calls/model", "06-numbers-in-calls/chat.json", include_str!("06-numbers-in-calls.txt")),
];

/// Those with a test of their own below.
const OTHERS: [&str; 2] = ["07-end-of-turn/model", "11-lfs-pointer/tokenizer"];

/// No folder is forgotten.
#[test]
fn every_folder_has_a_test() {
    let Some(shared) = shared("every folder of cases/files") else { return };
    let mut found = BTreeSet::new();
    for group in fs::read_dir(shared.join("cases/files")).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir()) {
        for folder in fs::read_dir(group.path()).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir()) {
            let name = [group.file_name(), folder.file_name()].map(|name| name.into_string().unwrap());
            found.insert(name.join("/"));
        }
    }
    let known = RIGHT.iter().map(|case| case.0).chain(REFUSED.iter().map(|case| case.0));
    let known: BTreeSet<String> =
        known.chain(RENDERED.iter().map(|case| case.0)).chain(OTHERS).map(str::to_owned).collect();
    assert_eq!(found, known);
}

#[test]
fn those_that_are_right_give_the_right_logits() {
    let Some(shared) = shared("right logits of cases/files") else { return };
    each(RIGHT, |(name, note)| {
        let dir = case(&shared, name);
        let ended = INSPECT.ends(name, &Call::inspect(dir.path()));
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.text());
        let said = format!("{}{}", ended.text(), String::from_utf8_lossy(&ended.out));
        assert!(said.to_lowercase().contains(note), "{name}: no {note:?} in {said}");
        gives_logits(name, dir.path(), &dir.path().join("golden.safetensors"));
    });
}

#[test]
fn those_that_cannot_be_run_are_refused_by_name() {
    let Some(shared) = shared("refusals of cases/files") else { return };
    each(REFUSED, |(name, words)| {
        let dir = case(&shared, name);
        let text = INSPECT.refuses(name, &Call::inspect(dir.path()), 3, words);
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
    });
    let dir = case(&shared, "11-lfs-pointer/tokenizer");
    let chat = fs::read_to_string(shared.join("cases/files/11-lfs-pointer/chat.json")).unwrap();
    let kinds: [(&Kind, Call); 2] = [(&PROMPT, Call::prompt(dir.path(), &chat)), (&IDS, Call::ids(dir.path(), &chat))];
    for (kind, call) in kinds {
        kind.refuses("a pointer as tokenizer.json", &call, 3, &["tokenizer.json", "Git LFS"]);
    }
}

#[test]
fn prompts_are_those_of_jinja() {
    let Some(shared) = shared("prompts of cases/files") else { return };
    each(RENDERED, |(name, chat, expected)| {
        let dir = case(&shared, name);
        let chat = fs::read_to_string(shared.join("cases/files").join(chat)).unwrap();
        assert_eq!(PROMPT.accepts(name, &Call::prompt(dir.path(), &chat)), expected, "{name}");
    });
}

/// A whole answer of the demo, which takes longer than its first tokens.
static ANSWER: Kind = Kind::new("generate, a whole answer", true, || whole_answer(&demo()));

fn whole_answer(model: &Path) -> Call {
    let rest = ["--prompt", "What does Vec::push do?", "--temperature", "0", "--max-tokens", "400", "--json"];
    let mut call = Call::new(["generate"].iter().chain(&rest));
    call.arguments.extend(["--model".into(), model.as_os_str().to_owned()]);
    call
}

/// An answer of the demo with its ends of turns as the case has them: it is the answer of the demo itself.
#[test]
fn an_answer_ends_with_its_turn() {
    let Some(shared) = shared("07-end-of-turn") else { return };
    let answer = |model: &Path| {
        let out = ANSWER.accepts("07-end-of-turn", &whole_answer(model));
        let object: serde_json::Value = serde_json::from_str(&out).unwrap();
        (object["text"].clone(), object["finish_reason"].clone())
    };
    let dir = case(&shared, "07-end-of-turn/model");
    let (text, reason) = answer(dir.path());
    assert_eq!(reason, "stop", "{text}");
    assert_eq!((text, reason), answer(&shared.join("demo-model")));
}

/// A prompt with a byte order mark is the prompt without it.
#[test]
fn a_byte_order_mark_is_no_part_of_a_prompt() {
    let Some(shared) = shared("13-byte-order-mark/prompt.txt") else { return };
    let ids = |bytes: &[u8]| {
        let call = Call::new(["generate", "--max-tokens", "1", "--temperature", "0", "--json"]);
        let out = CHAT.accepts("13-byte-order-mark", &call.with(Input::Bytes(bytes.to_vec())));
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["prompt_ids"].clone()
    };
    let marked = fs::read(shared.join("cases/files/13-byte-order-mark/prompt.txt")).unwrap();
    assert_eq!(ids(&marked), ids(marked.strip_prefix(b"\xef\xbb\xbf").unwrap()));
}
