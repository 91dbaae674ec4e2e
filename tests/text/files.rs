//! Vocabularies and configurations that are broken, hostile or merely different.

use super::*;

#[test]
fn hostile_tokenizer_files_give_errors() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]});
    assert_eq!(tokenizer_of(model.clone(), json!([])).unwrap().encode("abba").unwrap(), [2, 1, 0]);
    let with = |key: &str, value: Value| {
        let mut file = file_of(model.clone(), json!([]));
        file[key] = value;
        file.to_string()
    };
    let with_model = |value: Value| with("model", value);
    let with_added = |value: Value| with("added_tokens", value);
    let regex = json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false});
    let cases = [
        (String::new(), "EOF"),
        ("[]".into(), "invalid"),
        (
            with("decoder", json!(1)).replace("\"decoder\":1", &format!("\"decoder\":{}", "[".repeat(100_000))),
            "recursion limit",
        ),
        (with_model(json!({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0})), "\"Unigram\", expected \"BPE\""),
        (with_model(json!({"vocab": [["a", 0.0]], "merges": []})), "expected a vocabulary"),
        (with_model(json!({"type": "WordLevel", "vocab": {"a": 0}, "merges": []})), "\"WordLevel\", expected \"BPE\""),
        (with_model(json!({"type": "BPE", "vocab": {}, "merges": []})), "0 tokens"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []})), "id 0 twice"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 524288}, "merges": []})), "expected less than 524288"),
        (with_model(json!({"type": "BPE", "vocab": {"a": -1}, "merges": []})), "invalid value"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "zz"]]})), "zz"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]})), "tokenizer.json"),
        (with_added(json!([added(9, "<x>")])), "id 9, expected less than 4"),
        (with_added(json!([added(0, "<x>")])), "id 3 in the vocabulary, expected 0"),
        (with_added(json!([added(3, "<x>"), added(3, "<y>")])), "both have id 3"),
        (with_added(json!([added(3, "<x>"), added(4, "<x>")])), "ids 3 and 4"),
        (with_added(json!([added(3, "")])), "empty text"),
        (with("pre_tokenizer", regex), "regular expression \"(a+)+$\""),
        (with("decoder", Value::Null), "decoder: found nothing"),
        (with("decoder", json!({"type": "ByteLevel"})), "decoder: found ByteLevel"),
        (with("version", json!("9")), "version is \"9\", expected \"1.0\""),
        (with("zz", json!([0])), "found the key \"zz\""),
        (with("zz", json!(0)).replace("\"zz\":0", "\"model\":null"), "the key \"model\" twice"),
    ];
    for (file, expected) in cases {
        let error = Tokenizer::from_bytes(file.as_bytes()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("tokenizer.json: ") && text.contains(expected), "{text:?}, expected {expected:?}");
        assert!(text.contains("expected") || text.contains("EOF") || text.contains("recursion"), "{text:?}");
        assert!(matches!(error, Error::Model(_)));
    }
    let large = Tokenizer::from_bytes(&vec![b' '; (64 << 20) + 1]).unwrap_err();
    assert_eq!(large.to_string(), "tokenizer.json: 67108865 bytes, expected at most 67108864");
}

/// Components of the tokenizer crate that other models use, or that nobody should: named with what was found.
#[test]
fn components_and_fields_that_are_not_known_are_refused_by_name() {
    let demo: Value = serde_json::from_slice(&demo_file()).unwrap();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": true});
    let processor = |single: Value| {
        json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens":
        {"<bos>": {"id": "<bos>", "ids": [4294967295u32], "tokens": ["<bos>"]}}})
    };
    let decoder = |steps: Value| json!({"type": "Sequence", "decoders": steps});
    let fused = json!({"type": "Fuse", "zz": 1});
    for (place, value, expected) in [
        ("/normalizer", json!({"type": "NFKC"}), "normalizer: found NFKC, expected Replace"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "found Precompiled"),
        ("/normalizer", json!(["NFC"]), "found nothing with a type"),
        ("/normalizer", replace("e", &"e".repeat(1000)), "of 1000 bytes, expected a text of 0 to 64 bytes"),
        ("/normalizer", replace("e", "eeeee"), "makes up to 5 bytes of one, expected at most 4"),
        ("/normalizer", sequence(vec![replace("e", "ee"); 3]), "normalizer[2]: replacing \"e\" makes up to 8 bytes"),
        ("/normalizer", sequence(vec![replace("e", "e"); 9]), "more than 8 steps"),
        ("/normalizer", replace("", "x"), "String: found \"\" of 0 bytes"),
        ("/normalizer", json!({"type": "Prepend", "prepend": "xx"}), "prepend is \"xx\", expected one character"),
        ("/normalizer/zz", json!(0), "normalizer: found the field \"zz\", expected pattern, content"),
        ("/normalizer/zz", json!("x".repeat(70_000)), "normalizer: found more than 65536 bytes"),
        ("/normalizer/zz", json!([vec![0; 70_000]]), "normalizer: found more than 65536 bytes"),
        ("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "pre_tokenizer: found FixedLength"),
        ("/pre_tokenizer", split, "invert is not false"),
        ("/pre_tokenizer/behavior", json!("Odd"), "pre_tokenizer: "),
        ("/post_processor", json!({"type": "ByteLevel"}), "post_processor: found ByteLevel"),
        ("/post_processor", processor(json!([])), "0 texts and 0 special tokens, expected one text"),
        ("/post_processor", processor(json!([{"SpecialToken": {"id": "<x>"}}])), "\"<x>\" has no ids"),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}]}),
            "\"<x>\" has no ids",
        ),
        (
            "/post_processor",
            processor(json!([{"SpecialToken": {"id": "<bos>"}}, {"Sequence": {"id": "A"}}])),
            "no token has the id 4294967295",
        ),
        ("/decoder", decoder(json!([replace("e", &"e".repeat(65))])), "decoder[0]: content"),
        ("/decoder", decoder(json!(vec![replace("e", "ee"); 3])), "decoder[2]: replacing \"e\" makes up to 8 bytes"),
        ("/decoder", decoder(json!([fused])), "decoder[0]: found the field \"zz\", expected none"),
        ("/model/dropout", json!(0.5), "model: dropout is 0.5, expected null or 0"),
        ("/model/continuing_subword_prefix", json!("##"), "continuing_subword_prefix is \"##\", expected null"),
        ("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix is \"</w>\", expected null"),
        ("/model/unk_token", json!("<no>"), "unk_token \"<no>\" is not in the vocabulary"),
        ("/model/zz", json!(1), "model: found the key \"zz\""),
        ("/model/merges", json!([["a", "b", "c"]]), "expected a merge of two tokens"),
        ("/model/merges", json!(["a b c"]), "merge \"a b c\", expected two tokens"),
        ("/model/merges", json!(vec![["a", "b"]; (3 << 18) + 1]), "more than 786432 merges"),
        // Longer than every token: the crate would panic.
        ("/model/merges", json!([["<bos>", "<bos>"]]), "\"<bos><bos>\" is not in the vocabulary, expected all three"),
        ("/model/vocab/xx", json!(1 << 19), "id 524288, expected less than"),
        ("/added_tokens/5/lstrip", json!(true), "lstrip is true, expected false"),
        ("/added_tokens/5/zz", json!(true), "unknown field `zz`"),
        ("/added_tokens/5/content", json!("<".repeat(257)), "257 bytes, expected at most 256"),
    ] {
        let mut file = demo.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match file.pointer_mut(place) {
            Some(found) => *found = value,
            None => drop(file.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.into(), value)),
        }
        let error = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap_err().to_string();
        let error: String = error.chars().take(400).collect();
        assert!(
            error.starts_with("tokenizer.json: ") && error.contains(expected),
            "{place}: {error}, expected {expected}"
        );
    }
}

/// What Gemma's relatives and converters write, and what changes nothing.
#[test]
fn components_that_are_harmless_are_taken() {
    let demo: Value = serde_json::from_slice(&demo_file()).unwrap();
    let ids = DEMO.tokenizer.encode("a vec of  two").unwrap();
    let regex =
        json!({"type": "Split", "pattern": {"Regex": "[^\\n]+|[\\n]+"}, "behavior": "Isolated", "invert": false});
    let space = demo["normalizer"].clone();
    let spaces: Vec<String> = demo["model"]["merges"].as_array().unwrap().iter().map(merge_line).collect();
    for (key, value) in [
        ("normalizer", json!({"type": "Sequence", "normalizers": [space]})),
        ("pre_tokenizer", Value::Null),
        ("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [regex]})),
        ("pre_tokenizer", regex),
        ("post_processor", Value::Null),
        ("truncation", json!({"max_length": 2, "stride": 1, "strategy": "OnlyFirst", "direction": "Left"})),
        ("padding", json!({"strategy": "BatchLongest", "pad_to_multiple_of": 0})),
        ("merges", json!(spaces)),
        ("dropout", json!(0.0)),
        ("end_of_word_suffix", json!("")),
    ] {
        let mut file = demo.clone();
        let within = if file.get(key).is_some() { &mut file } else { &mut file["model"] };
        within[key] = value.clone();
        let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes());
        let shown: String = value.to_string().chars().take(80).collect();
        assert_eq!(tokenizer.unwrap().encode("a vec of  two").unwrap(), ids, "{key}: {shown}");
    }
}

#[test]
fn a_file_may_begin_with_a_mark() {
    let text = format!("\u{FEFF}{}", String::from_utf8(demo_file()).unwrap());
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for file in [text.as_bytes(), &wide] {
        assert_eq!(Tokenizer::from_bytes(file).unwrap().vocab_size(), DEMO.tokenizer.vocab_size());
    }
}

/// A merge as older files have it.
fn merge_line(pair: &Value) -> String {
    format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())
}

fn demo_file() -> Vec<u8> {
    std::fs::read(repository().join("examples/demo-model/tokenizer.json")).unwrap()
}

#[test]
fn template_and_spellings_come_from_where_they_should() {
    let file = demo_file();
    let text = |template: Option<&str>, config: Value| {
        let model = TextModel::load(&file, template, Some(config.to_string().as_bytes()))?;
        Ok::<_, Error>(model.prompt(&conversation(hello()))?.text)
    };
    let source = "{{ bos_token }}{{ eos_token }}";
    assert_eq!(text(Some(source), json!({"bos_token": "B", "chat_template": "x"})).unwrap(), "B<eos>");
    assert_eq!(text(None, json!({"eos_token": {"content": "E"}, "chat_template": source})).unwrap(), "<bos>E");
    // What transformers gives to templates besides, and what a file cannot put in the place of.
    let tokens = json!({"image_token": "<|image|>", "pad_token": {"content": "P"}, "messages": "x", "x_token": 3,
        "extra_special_tokens": {"sot_token": "S", "messages": "x", "eos_token": "no"}});
    let source = "{{ pad_token }}{{ unk_token }}{{ image_token }}{{ sot_token }}{{ eos_token }}{{ messages|length }}{{ x_token }}";
    assert_eq!(text(Some(source), tokens).unwrap(), "P<unk><|image|>S<eos>1");
    let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    assert_eq!(text(None, json!({"chat_template": list})).unwrap(), "d");
    let message = |config: Value| text(None, config).unwrap_err().to_string();
    assert!(matches!(text(None, json!({})), Err(Error::Model(_))), "a fault of the checkpoint, not of the request");
    assert!(message(json!({})).starts_with("chat template: found none, expected chat_template.jinja"));
    assert!(message(json!({"chat_template": [{"name": "rag", "template": "t"}]})).contains("without \"default\""));
    assert!(message(json!({"chat_template": 3})).contains("neither a string nor a list"));
    assert!(message(json!({"bos_token": 3})).contains("bos_token: found no spelling"));
    let broken = TextModel::load(&file, None, Some(b"{")).unwrap();
    assert!(broken.template(false).unwrap_err().to_string().starts_with("tokenizer_config.json: "));
    assert!(broken.tokenizer.encode("a").is_ok(), "who needs no template is not kept from working");
}

#[test]
fn reserved_tokens_are_known_by_name() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "<unused0>": 1, "<unused1>": 2, "<unused3>": 3}, "merges": []});
    let tokenizer = tokenizer_of(model, json!([added(4, "<pad>"), added(5, "<eos>"), added(6, "<mask>")])).unwrap();
    assert_eq!(tokenizer.reserved_ids(), [4, 6, 1, 2]);
}

#[test]
fn ends_of_turns_are_known_by_name() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "<end_of_turn>": 1, "<turn|>": 2}, "merges": []});
    let ends = |added: Value| tokenizer_of(model.clone(), added).unwrap().turn_ends();
    assert_eq!(ends(json!([])), [2], "a word that is spelled like an older family's token is a word");
    assert_eq!(ends(json!([added(1, "<end_of_turn>"), added(3, "<|tool_response>"), added(4, "<eos>")])), [2, 3, 4, 1]);
    assert_eq!(DEMO.tokenizer.turn_ends(), [6, 14, 1]);
}

/// A file's name and content.
type File<'a> = (&'a str, &'a [u8]);

/// A folder with the demo's tokenizer and these files.
fn folder_with(files: &[File]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(repository().join("examples/demo-model/tokenizer.json"), folder.path().join("tokenizer.json"))
        .unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

/// What a conversation becomes without tools, and with them.
fn rendered(files: &[File]) -> [std::result::Result<String, String>; 2] {
    let folder = folder_with(files);
    let text = TextModel::open(&Source::Directory(folder.path().to_owned())).unwrap().unwrap();
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    [Value::Null, tools].map(|tools| {
        let conversation = conversation(json!({"messages": hello(), "tools": tools}));
        text.prompt(&conversation).map(|prompt| prompt.text).map_err(|error| error.to_string())
    })
}

#[test]
fn templates_come_from_the_file_that_transformers_takes_them_from() {
    const JINJA: File = ("chat_template.jinja", b"jinja");
    const LEGACY: File = ("chat_template.json", br#"{"chat_template": "legacy"}"#);
    const TOOLS: File = ("additional_chat_templates/tool_use.jinja", b"tools");
    const FURTHER: File = ("additional_chat_templates/default.jinja", b"further");
    const OTHER: File = ("additional_chat_templates/rag.jinja", b"{{ broken");
    const CONFIG: File = ("tokenizer_config.json", br#"{"chat_template": "config"}"#);
    const PROCESSOR: File = ("processor_config.json", br#"{"chat_template": "processor"}"#);
    const NAMED: File = (
        "tokenizer_config.json",
        br#"{"chat_template": [{"name": "default", "template": "old"}, {"name": "tool_use", "template": "named tools"},
             {"name": "rag", "template": "{{"}, {"name": "default", "template": "named"}]}"#,
    );
    const BY_NAME: File =
        ("tokenizer_config.json", br#"{"chat_template": {"tool_use": "object tools", "default": "object"}}"#);
    const LEGACY_NAMED: File =
        ("chat_template.json", br#"{"chat_template": {"default": "legacy", "tool_use": "legacy tools"}}"#);
    const BROKEN: File = ("chat_template.json", br#"{"chat_template": "#);
    const NULL: File = ("chat_template.json", br#"{"chat_template": null}"#);
    let cases: [(&[File], [&str; 2]); 16] = [
        (&[CONFIG, PROCESSOR], ["config", "config"]),
        (&[PROCESSOR], ["processor", "processor"]),
        (&[NAMED], ["named", "named tools"]),
        (&[BY_NAME], ["object", "object tools"]),
        (&[LEGACY, NAMED], ["legacy", "legacy"]),
        (&[LEGACY_NAMED, CONFIG], ["legacy", "legacy tools"]),
        (&[NULL, NAMED], ["named", "named tools"]),
        // A file of its own takes the place of all entries.
        (&[JINJA, LEGACY, NAMED], ["jinja", "jinja"]),
        (&[JINJA, TOOLS, OTHER], ["jinja", "tools"]),
        (&[JINJA, TOOLS, LEGACY_NAMED, NAMED], ["jinja", "tools"]),
        (&[JINJA, FURTHER], ["jinja", "jinja"]),
        (&[FURTHER, TOOLS], ["further", "tools"]),
        (&[TOOLS, LEGACY_NAMED], ["legacy", "tools"]),
        (&[TOOLS, NAMED], ["named", "tools"]),
        // What nobody needs may be broken.
        (&[JINJA, BROKEN, OTHER], ["jinja", "jinja"]),
        (&[JINJA, ("additional_chat_templates", b"a file")], ["jinja", "jinja"]),
    ];
    for (files, expected) in cases {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        assert_eq!(rendered(files), expected.map(|text| Ok(text.to_owned())), "{names:?}");
    }
}

#[test]
fn templates_that_are_missing_or_broken_are_named() {
    let cases: [(&[File], [&str; 2]); 6] = [
        (&[], ["chat template: found none, expected chat_template.jinja, chat_template.json, or"; 2]),
        (&[("chat_template.json", b"{")], ["chat_template.json: not valid JSON: EOF"; 2]),
        (
            &[("chat_template.json", br#"{"chat_template": [{"name": "a"}]}"#)],
            ["chat_template.json: chat_template: found neither"; 2],
        ),
        (&[("chat_template.jinja", b"caf\xE9")], ["chat_template.jinja: found no UTF-8, but the byte 0xe9 at 3"; 2]),
        (
            &[("tokenizer_config.json", br#"{"chat_template": {"rag": "r", "tool_use": "t", "\u001b[0m": "x"}}"#)],
            [
                "tokenizer_config.json: chat_template: found \"\\u{1b}[0m\", \"rag\", \"tool_use\" without \"default\"",
                "t",
            ],
        ),
        (
            &[("chat_template.jinja", b"plain"), ("additional_chat_templates/tool_use.jinja", b"\xFF\xFE{")],
            ["plain", "additional_chat_templates/tool_use.jinja: found UTF-16 text that ends within a character"],
        ),
    ];
    for (files, expected) in cases {
        for (found, expected) in rendered(files).into_iter().zip(expected) {
            let (Ok(found) | Err(found)) = found;
            assert!(found.starts_with(expected), "{found:?}, expected {expected:?}");
        }
    }
}

/// The folder of further templates is inside the checkpoint's, as every other file is.
#[cfg(unix)]
#[test]
fn further_templates_do_not_lead_out_of_the_folder() {
    let (outside, inside) =
        (folder_with(&[("tool_use.jinja", b"outside")]), folder_with(&[("chat_template.jinja", b"a")]));
    let link = inside.path().join("additional_chat_templates");
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    let open = || TextModel::open(&Source::Directory(inside.path().to_owned()));
    let error = open().unwrap_err().to_string();
    assert!(error.starts_with("file \"additional_chat_templates/tool_use.jinja\": is a link to "), "{error}");
    std::fs::remove_file(&link).unwrap();
    std::fs::create_dir(&link).unwrap();
    std::os::unix::fs::symlink(outside.path().join("tool_use.jinja"), link.join("tool_use.jinja")).unwrap();
    assert!(open().unwrap_err().to_string().contains("expected a file inside the model directory"));
    std::fs::remove_file(link.join("tool_use.jinja")).unwrap();
    std::fs::create_dir(link.join("tool_use.jinja")).unwrap();
    assert!(open().unwrap_err().to_string().contains("is not a regular file"));
    for (folder, name) in [("..", "a"), ("a/b", "c"), ("a", "../b"), ("", "a"), ("a", "")] {
        let error = Source::Directory(inside.path().to_owned()).read_in(folder, name).unwrap_err().to_string();
        assert!(error.contains("expected one component"), "{error}");
    }
}

/// As Windows' editors write text: marks in front of UTF-8, or UTF-16.
#[test]
fn marks_of_encodings_are_no_text() {
    let template = "{% for m in messages %}{{ m.content }} \u{e9}{% endfor %}{{ bos_token }}";
    let config = "{\"bos_token\": \"\u{e9}\"}";
    let tokenizer = std::fs::read_to_string(repository().join("examples/demo-model/tokenizer.json")).unwrap();
    let utf8 = |text: &str| format!("\u{feff}{text}").into_bytes();
    let utf16 = |text: &str| format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for encode in [&utf8 as &dyn Fn(&str) -> Vec<u8>, &utf16] {
        let (template, config, tokenizer) = (encode(template), encode(config), encode(&tokenizer));
        let files: [File; 3] =
            [("chat_template.jinja", &template), ("tokenizer_config.json", &config), ("tokenizer.json", &tokenizer)];
        assert_eq!(rendered(&files), ["hello \u{e9}\u{e9}"; 2].map(|text| Ok(text.to_owned())));
        let legacy = encode(r#"{"chat_template": "legacy"}"#);
        assert_eq!(rendered(&[("chat_template.json", &legacy)])[0], Ok("legacy".to_owned()));
    }
    let unmarked: Vec<u8> = tokenizer.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = Tokenizer::from_bytes(&unmarked).unwrap_err().to_string();
    assert_eq!(error, "tokenizer.json: found UTF-16 text without a byte order mark, expected UTF-8 text");
}
