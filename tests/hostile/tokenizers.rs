//! Hostile tokenizer.json: what is no tokenizer of text into ids and back is refused by name, and none makes much of little.

use std::path::Path;

use super::harness::{Call, Failures, HELLO, IDS, demo, text_folder};
use super::{Value, fs, json};

fn demo_file() -> Value {
    serde_json::from_slice(&fs::read(demo().join("tokenizer.json")).unwrap()).unwrap()
}

/// Writes the demo's tokenizer with `change`.
fn write(dir: &Path, change: impl FnOnce(&mut Value)) {
    let mut file = demo_file();
    change(&mut file);
    fs::write(dir.join("tokenizer.json"), file.to_string()).unwrap();
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn normalizers(list: Vec<Value>) -> Value {
    json!({"type": "Sequence", "normalizers": list})
}

/// `depth` sequences in each other.
fn nested(kind: &str, list: &str, inner: &Value, depth: usize) -> Value {
    (0..depth).fold(inner.clone(), |inner, _| {
        let mut outer = json!({"type": kind});
        outer[list] = json!([inner]);
        outer
    })
}

/// Parts of the file in the place of the demo's own, with a word that the error must have.
fn refused_parts() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let e = json!({"String": "e"});
    let thousand = "e".repeat(1000);
    let long = "x".repeat(20_000_000);
    let split = json!({"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": false});
    let redos = json!({"Regex": "(a+)+(a+)+(a+)+$"});
    vec![
        (
            "each e a thousand, four times",
            "normalizer",
            normalizers(vec![replace(e.clone(), &thousand); 4]),
            "normalizer",
        ),
        ("each e two, forty times", "normalizer", normalizers(vec![replace(e.clone(), "ee"); 40]), "normalizer"),
        ("each e 20 MB", "normalizer", replace(e.clone(), &long), "normalizer"),
        ("each regex match", "normalizer", replace(json!({"Regex": "."}), &thousand), "normalizer"),
        ("a pattern that takes long", "normalizer", replace(redos.clone(), "b"), "normalizer"),
        ("nothing becomes something", "normalizer", replace(json!({"String": ""}), "xyz"), "normalizer"),
        ("20 MB in front", "normalizer", json!({"type": "Prepend", "prepend": long}), "normalizer"),
        (
            "20 MB in front, in a list",
            "normalizer",
            normalizers(vec![json!({"type": "Prepend", "prepend": long})]),
            "normalizer",
        ),
        ("lower case", "normalizer", json!({"type": "Lowercase"}), "normalizer"),
        ("BERT", "normalizer", json!({"type": "BertNormalizer"}), "normalizer"),
        ("byte level", "normalizer", json!({"type": "ByteLevel"}), "normalizer"),
        ("charsmap", "normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "normalizer"),
        ("charsmap 2", "normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}), "normalizer"),
        ("charsmap 3", "normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""}), "normalizer"),
        ("no such type", "normalizer", json!({"type": "\u{1b}[31mRED\u{7}\u{202e}\n"}), "normalizer"),
        ("no type", "normalizer", json!({"a": 1}), "normalizer"),
        ("a number", "normalizer", json!(5), "normalizer"),
        (
            "deep normalizers",
            "normalizer",
            nested("Sequence", "normalizers", &json!({"type": "NFC"}), 60),
            "normalizer",
        ),
        ("pieces of no length", "pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "pre_tokenizer"),
        ("pieces of a length", "pre_tokenizer", json!({"type": "FixedLength", "length": 2}), "pre_tokenizer"),
        (
            "a regex that takes long",
            "pre_tokenizer",
            json!({"type": "Split", "pattern": redos, "behavior": "Isolated", "invert": false}),
            "pre_tokenizer",
        ),
        (
            "a regex that is large",
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(((.{1000}){1000}){1000})"}, "behavior": "Isolated", "invert": false}),
            "pre_tokenizer",
        ),
        (
            "a regex that is none",
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated", "invert": false}),
            "pre_tokenizer",
        ),
        (
            "a thousand splits",
            "pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": vec![split; 1000]}),
            "pre_tokenizer",
        ),
        (
            "50,000 sequences",
            "post_processor",
            json!({"type": "TemplateProcessing", "single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 50_000],
                "pair": [], "special_tokens": {}}),
            "post_processor",
        ),
        (
            "ids out of range",
            "post_processor",
            json!({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [], "special_tokens": {"<bos>": {"id": "<bos>", "ids": [4_294_967_295u32], "tokens": ["<bos>"]}}}),
            "post_processor",
        ),
        (
            "a decoder that grows",
            "decoder",
            json!({"type": "Sequence", "decoders": vec![replace(e, &thousand); 6]}),
            "decoder",
        ),
        (
            "a decoder that strips",
            "decoder",
            json!({"type": "WordPiece", "prefix": "x".repeat(1 << 20), "cleanup": true}),
            "decoder",
        ),
        ("half of the merges left out", "model/dropout", json!(0.5), "dropout"),
        ("all of the merges left out", "model/dropout", json!(1.0), "dropout"),
        ("few of the merges left out", "model/dropout", json!(1e-9), "dropout"),
        ("dropout above one", "model/dropout", json!(7.5), "dropout"),
        ("dropout of text", "model/dropout", json!("0.5"), "tokenizer.json"),
        ("a prefix of a million", "model/continuing_subword_prefix", json!("#".repeat(1_000_000)), "tokenizer.json"),
        ("no model", "model", json!(null), "model"),
        ("an unknown model", "model", json!({"type": "\u{1b}[2JUnigram", "vocab": []}), "model"),
        ("a vocabulary of lists", "model/vocab", json!([[["a"]]]), "vocab"),
        ("ids that are negative", "model/vocab", json!({"a": -1}), "tokenizer.json"),
        ("ids that are huge", "model/vocab", json!({"a": 4_294_967_295u64}), "tokenizer.json"),
        ("ids beyond 64 bits", "model/vocab", json!({"a": 1e300}), "tokenizer.json"),
        ("no vocabulary", "model/vocab", json!({}), "tokenizer.json"),
        (
            "a token added beyond the vocabulary",
            "added_tokens",
            json!([{"id": 4_000_000_000u32, "content": "<q>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}]),
            "tokenizer.json",
        ),
    ]
}

#[test]
fn parts_that_no_gemma_has_are_refused() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for (what, place, value, word) in refused_parts() {
        write(dir.path(), |file| {
            let (parent, key) =
                place.rsplit_once('/').map_or((String::new(), place), |(p, key)| (format!("/{p}"), key));
            file.pointer_mut(&parent).unwrap()[key] = value;
        });
        failures.case(|| {
            let call = Call::ids(dir.path(), HELLO);
            let text = IDS.refuses(what, &call, 3, &["error: tokenizer.json: ", word]);
            assert_eq!(text.lines().count(), 1, "{what}: {text}");
        });
    }
    failures.done();
}

/// What may be done with or refused: in order, and the same ids each time.
#[test]
fn other_changes_end_in_order() {
    let dir = text_folder();
    let padding = |strategy: Value, multiple: Value| {
        json!({"strategy": strategy, "direction": "Right", "pad_to_multiple_of": multiple, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "<pad>"})
    };
    let truncation = |length: u64, stride: u64| json!({"max_length": length, "stride": stride, "strategy": "LongestFirst", "direction": "Right"});
    let added = |file: &mut Value, tokens: &mut dyn Iterator<Item = (u64, String)>| {
        let like = file["added_tokens"][0].clone();
        let list = file["added_tokens"].as_array_mut().unwrap();
        for (id, content) in tokens {
            let mut token = like.clone();
            (token["id"], token["content"]) = (json!(id), json!(content));
            list.push(token);
        }
    };
    let next = |file: &Value| {
        file["model"]["vocab"].as_object().unwrap().values().filter_map(Value::as_u64).max().unwrap() + 1000
    };
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let cases: Vec<(&str, Change)> = vec![
        ("padding of 2^31", Box::new(|file| file["padding"] = padding(json!({"Fixed": 2_000_000_000}), json!(null)))),
        ("padding to a multiple of 0", Box::new(|file| file["padding"] = padding(json!("BatchLongest"), json!(0)))),
        (
            "padding to a multiple of 2^62",
            Box::new(|file| file["padding"] = padding(json!("BatchLongest"), json!(1u64 << 62))),
        ),
        ("truncation to 0", Box::new(|file| file["truncation"] = truncation(0, 0))),
        ("truncation to 2", Box::new(|file| file["truncation"] = truncation(2, 1))),
        ("truncation of stride 9", Box::new(|file| file["truncation"] = truncation(2, 9))),
        (
            "300,000 added tokens",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut (0..300_000).map(|i| (first + i, format!("<q{i}>"))));
            }),
        ),
        (
            "added tokens of all lengths",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut (1..3000).map(|i| (first + i, "a".repeat(i as usize))));
            }),
        ),
        (
            "an added token of 16 MB",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut std::iter::once((first, "a".repeat(16 << 20))));
            }),
        ),
        (
            "an added token of nothing",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut std::iter::once((first, String::new())));
            }),
        ),
        (
            "an added token of control characters",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut std::iter::once((first, "\u{1b}[31m\u{202e}\n".to_owned())));
            }),
        ),
        (
            "one id for two tokens",
            Box::new(|file| {
                let first = next(file);
                added(file, &mut [(first, "<q>".to_owned()), (first, "<r>".to_owned())].into_iter());
            }),
        ),
        (
            "merges twice",
            Box::new(|file| {
                let merges = file["model"]["merges"].as_array().unwrap().clone();
                file["model"]["merges"].as_array_mut().unwrap().extend(merges);
            }),
        ),
        ("merges of nothing", Box::new(|file| file["model"]["merges"].as_array_mut().unwrap().push(json!(["a", ""])))),
        (
            "merges of nothing with nothing",
            Box::new(|file| file["model"]["merges"].as_array_mut().unwrap().push(json!(["", ""]))),
        ),
        (
            "merges of three",
            Box::new(|file| file["model"]["merges"].as_array_mut().unwrap().push(json!(["a", "b", "c"]))),
        ),
        (
            "merges of no tokens",
            Box::new(|file| file["model"]["merges"].as_array_mut().unwrap().push(json!(["\u{1b}[2J", "\u{202e}"]))),
        ),
        (
            "merges in a circle",
            Box::new(|file| {
                file["model"]["vocab"] = json!({"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4});
                file["model"]["merges"] =
                    json!([["a", "b"], ["b", "a"], ["ab", "a"], ["a", "ba"], ["ab", "a"], ["a", "b"]]);
                file["added_tokens"] = json!([]);
            }),
        ),
        ("no merges", Box::new(|file| file["model"]["merges"] = json!([]))),
        (
            "a token of 16 MB",
            Box::new(|file| {
                let id = next(file);
                file["model"]["vocab"]["x".repeat(16 << 20)] = json!(id);
            }),
        ),
        (
            "no unknown token",
            Box::new(|file| {
                file["model"]["fuse_unk"] = json!(true);
                file["model"]["unk_token"] = json!("nosuch");
                file["model"]["byte_fallback"] = json!(false);
            }),
        ),
        (
            "prefix and suffix",
            Box::new(|file| {
                file["model"]["continuing_subword_prefix"] = json!("##");
                file["model"]["end_of_word_suffix"] = json!("</w>");
            }),
        ),
        ("merges ignored", Box::new(|file| file["model"]["ignore_merges"] = json!(true))),
        (
            "metaspace",
            Box::new(|file| {
                file["pre_tokenizer"] =
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
            }),
        ),
        ("NFC", Box::new(|file| file["normalizer"] = json!({"type": "NFC"}))),
        ("no decoder", Box::new(|file| file["decoder"] = json!(null))),
        ("another version", Box::new(|file| file["version"] = json!("2.0\u{1b}[31m"))),
        ("an unknown key", Box::new(|file| file["\u{1b}[31m"] = json!("\u{202e}"))),
    ];
    let mut failures = Failures::default();
    for (what, change) in cases {
        write(dir.path(), |file| change(file));
        failures.case(|| {
            let call = Call::ids(dir.path(), HELLO);
            let first = IDS.ends(what, &call);
            assert!(matches!(first.code, Some(0 | 3)), "{what}: {:?} {}", first.code, first.text());
            if first.code == Some(0) {
                assert_eq!(IDS.ends(what, &call).out, first.out, "{what}: other ids of the same text");
            }
        });
    }
    failures.done();
}

/// Files that are large or no tokenizer at all.
#[test]
fn files_that_are_large_or_something_else() {
    let dir = text_folder();
    let path = dir.path().join("tokenizer.json");
    let whole = demo_file().to_string();
    let body = &whole[..whole.len() - 1];
    let numbers = "0,".repeat(31_000_000);
    let deep = |open: &str, close: &str| format!("{body},\"zz\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
    let cases: Vec<(&str, Vec<u8>, i32)> = vec![
        ("nothing", Vec::new(), 3),
        ("half", whole.as_bytes()[..whole.len() / 2].to_vec(), 3),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 33384568\n".to_vec(), 3),
        ("HTML", b"<!DOCTYPE html><html>\x1b[31m</html>".to_vec(), 3),
        ("zeros", vec![0; 1 << 20], 3),
        ("not UTF-8", [b"{\"a\":\"\xff\xfe\"".as_slice(), &whole.as_bytes()[1..]].concat(), 3),
        ("lists in lists", deep("[", "]").into_bytes(), 3),
        ("objects in objects", deep("{\"a\":", "}").into_bytes(), 3),
        ("numbers in a list", format!("{body},\"zz\":[{numbers}0]}}").into_bytes(), 3),
        ("numbers in the normalizer",
            format!("{body},\"normalizer\":{{\"type\":\"Replace\",\"pattern\":{{\"String\":\" \"}},\"content\":\"_\",\"zz\":[{numbers}0]}}}}").into_bytes(), 3),
        ("2 M merges", {
            let mut file = demo_file();
            let first = file["model"]["merges"][0].clone();
            file["model"]["merges"] = json!([]);
            let merges = format!("{first},").repeat(1_999_000);
            file.to_string().replace("\"merges\":[]", &format!("\"merges\":[{merges}{first}]")).into_bytes()
        }, 3),
        ("a key twice", whole.replacen("\"vocab\":{", "\"vocab\":{\"dup\":4094,\"dup\":4095,", 1).into_bytes(), 3),
        ("the vocabulary twice", whole.replacen("\"vocab\":{", "\"vocab\":{},\"vocab\":{", 1).into_bytes(), 3),
    ];
    let mut failures = Failures::default();
    for (what, bytes, code) in cases {
        fs::write(&path, bytes).unwrap();
        failures.case(|| {
            let ended = IDS.ends(what, &Call::ids(dir.path(), HELLO));
            let text = ended.text();
            // Large files may be within the bounds, but nothing that is wrong may pass.
            let may_pass = ["numbers", "2 M", "the vocabulary"].iter().any(|start| what.starts_with(start));
            assert!(ended.code == Some(code) || (may_pass && ended.code == Some(0)), "{what}: {:?} {text}", ended.code);
            assert!(ended.code == Some(0) || text.contains("tokenizer.json"), "{what}: {text}");
        });
    }
    for length in [200 << 20, 1 << 40] {
        fs::File::create(&path).unwrap().set_len(length).unwrap();
        failures
            .case(|| IDS.refuses(&format!("{length} zeros"), &Call::ids(dir.path(), HELLO), 3, &["tokenizer.json"]));
    }
    failures.done();
}

/// tokenizer_config.json stands beside it and is read as well.
#[test]
fn hostile_tokenizer_configs() {
    let dir = text_folder();
    let path = dir.path().join("tokenizer_config.json");
    let mut failures = Failures::default();
    for (what, text, codes) in [
        ("half", "{".to_owned(), &[3][..]),
        ("a list", "[]".to_owned(), &[0, 3]),
        ("bos as a number", r#"{"bos_token": 5}"#.to_owned(), &[0, 3]),
        ("bos of control characters", r#"{"bos_token": "\u001b[31m\u202e"}"#.to_owned(), &[0, 3]),
        ("bos of a megabyte", json!({"bos_token": "x".repeat(1 << 20)}).to_string(), &[0, 3]),
        ("deep", format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), &[3]),
        ("60 MB", format!("{{\"a\":[{}0]}}", "0,".repeat(30_000_000)), &[0, 3]),
        (
            "a million keys",
            format!("{{{}\"z\":0}}", (0..1_000_000).map(|i| format!("\"k{i}\":0,")).collect::<String>()),
            &[0, 3],
        ),
        ("a template that is a number", r#"{"chat_template": 5}"#.to_owned(), &[0, 3]),
    ] {
        fs::write(&path, text).unwrap();
        failures.case(|| {
            let ended = IDS.ends(what, &Call::ids(dir.path(), HELLO));
            assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{what}: {:?} {}", ended.code, ended.text());
        });
    }
    failures.done();
}
