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
        (with_model(json!({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0})), "expected a vocabulary"),
        (with_model(json!({"type": "WordLevel", "vocab": {"a": 0}, "merges": []})), "\"WordLevel\", expected \"BPE\""),
        (with_model(json!({"type": "BPE", "vocab": {}, "merges": []})), "0 tokens"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []})), "id 0 twice"),
        (with_model(json!({"type": "BPE", "vocab": {"a": 1048576}, "merges": []})), "expected less than 1048576"),
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
        (with("version", json!("9")), "version"),
    ];
    for (file, expected) in cases {
        let error = Tokenizer::from_bytes(file.as_bytes()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("tokenizer.json: ") && text.contains(expected), "{text:?}, expected {expected:?}");
        assert!(matches!(error, Error::Model(_)));
    }
    let large = Tokenizer::from_bytes(&vec![b' '; (64 << 20) + 1]).unwrap_err();
    assert_eq!(large.to_string(), "tokenizer.json: 67108865 bytes, expected at most 67108864");
}

#[test]
fn template_and_spellings_come_from_where_they_should() {
    let file = std::fs::read(repository().join("examples/demo-model/tokenizer.json")).unwrap();
    let text = |template: Option<&str>, config: Value| {
        let model = TextModel::load(&file, template, Some(config.to_string().as_bytes()))?;
        Ok::<_, Error>(model.prompt(&conversation(hello()))?.text)
    };
    let source = "{{ bos_token }}{{ eos_token }}";
    assert_eq!(text(Some(source), json!({"bos_token": "B", "chat_template": "x"})).unwrap(), "B<eos>");
    assert_eq!(text(None, json!({"eos_token": {"content": "E"}, "chat_template": source})).unwrap(), "<bos>E");
    let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    assert_eq!(text(None, json!({"chat_template": list})).unwrap(), "d");
    let message = |config: Value| text(None, config).unwrap_err().to_string();
    assert!(matches!(text(None, json!({})), Err(Error::Model(_))), "a fault of the checkpoint, not of the request");
    assert!(message(json!({})).starts_with("chat template: found none, expected chat_template.jinja"));
    assert!(message(json!({"chat_template": [{"name": "rag", "template": "t"}]})).contains("without \"default\""));
    assert!(message(json!({"chat_template": 3})).contains("neither a string nor a list"));
    assert!(message(json!({"bos_token": 3})).contains("bos_token: found no spelling"));
    assert!(TextModel::load(&file, None, Some(b"{")).unwrap_err().to_string().starts_with("tokenizer_config.json: "));
    assert!(TextModel::load(&file, None, None).unwrap().template.is_none());
}

#[test]
fn reserved_tokens_are_known_by_name() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "<unused0>": 1, "<unused1>": 2, "<unused3>": 3}, "merges": []});
    let tokenizer = tokenizer_of(model, json!([added(4, "<pad>"), added(5, "<eos>"), added(6, "<mask>")])).unwrap();
    assert_eq!(tokenizer.reserved_ids(), [4, 6, 1, 2]);
}
