//! Text out of files that ends up in what is printed: no control characters, no turned direction, no megabytes, whichever
//! file and place it comes from.

use super::harness::{self, Call, Failures, HELLO, INSPECT, PROMPT, text_folder};
use super::{Model, Tensor, Value, fs, json, raw_file, write_config, write_index};

/// What terminals obey: colours, titles, clearing, links, bells, C1 controls, directions, line ends, invisible letters.
const TEXTS: [&str; 14] = [
    "\u{1b}[31mRED",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;http://x\u{1b}\\link",
    "\u{1b}[2J\u{1b}[H",
    "a\rerror: b",
    "a\nerror: b",
    "a\u{8}\u{8}\u{8}b",
    "\u{9b}31mC1",
    "\u{202e}desrever",
    "\u{2066}isolated\u{2069}",
    "\u{feff}mark\u{200b}\u{200f}",
    "\u{2028}line\u{2029}paragraph\u{85}next",
    "\u{e0041}\u{e0042}tags",
    "tab\ttab\u{b}\u{c}\u{7f}\0",
];

fn clean_everywhere(what: &str, call: &Call, failures: &mut Failures) {
    failures.case(|| {
        let ended = INSPECT.ends(what, call);
        let unclean = harness::unclean("standard output", &ended.out);
        assert!(unclean.is_none(), "{what}: {}", unclean.unwrap_or_default());
    });
}

/// In the place of each string of the configuration, and as a key beside each.
#[test]
fn in_configurations() {
    fn strings(value: &Value, at: &str, found: &mut Vec<(String, bool)>) {
        match value {
            Value::String(_) => found.push((at.to_owned(), false)),
            Value::Object(map) => {
                found.push((at.to_owned(), true));
                map.iter().for_each(|(key, value)| strings(value, &format!("{at}/{}", key.replace('/', "~1")), found));
            }
            Value::Array(list) => {
                list.iter().take(1).enumerate().for_each(|(i, value)| strings(value, &format!("{at}/{i}"), found));
            }
            _ => {}
        }
    }
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let mut places = Vec::new();
    strings(&model.config, "", &mut places);
    assert!(places.len() > 8, "{places:?}");
    let mut failures = Failures::default();
    for (number, (place, is_object)) in places.iter().enumerate() {
        for (other, text) in TEXTS.iter().enumerate() {
            // Each text in each third place: in all of them they are three times as many and no other.
            if (number + other) % 3 != 0 {
                continue;
            }
            let mut config = model.config.clone();
            let value = config.pointer_mut(place).unwrap();
            match is_object {
                true => value[*text] = json!(text),
                false => *value = json!(text),
            }
            write_config(dir.path(), &config);
            clean_everywhere(&format!("{text:?} at {place}"), &Call::inspect(dir.path()), &mut failures);
        }
    }
    let long = "\u{1b}[31m".repeat(1 << 18);
    for key in ["/model_type", "/text_config/layer_types", "/quantization_config/quant_method", "/dtype"] {
        let mut config = model.config.clone();
        let (parent, last) = key.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[last] = json!([long, {long.clone(): long}]);
        write_config(dir.path(), &config);
        clean_everywhere(&format!("a megabyte at {key}"), &Call::inspect(dir.path()), &mut failures);
    }
    failures.done();
}

/// As names of tensors and files, in metadata, as data types.
#[test]
fn in_headers_and_indices() {
    let mut failures = Failures::default();
    for text in TEXTS {
        let mut model = Model::read("dense-gptq-desc-act");
        let (kinds, data) = ("BF16".to_owned(), vec![0; 2]);
        for name in
            [text.to_owned(), format!("model.language_model.layers.0.{text}"), format!("model.vision_tower.{text}")]
        {
            model.tensors.push(Tensor { name, dtype: kinds.clone(), shape: vec![1], data: data.clone() });
        }
        let dir = model.write();
        clean_everywhere(&format!("tensors named {text:?}"), &Call::inspect(dir.path()), &mut failures);
        let entry = json!({text: {"dtype": text, "shape": [1], "data_offsets": [0, 2]}, "__metadata__": {text: text}});
        let metadata = json!({"__metadata__": {text: text, "format": text}});
        for header in [entry, metadata, json!({"x": {"dtype": text, "shape": [1], "data_offsets": [0, 2], text: text}})]
        {
            fs::write(dir.path().join("model.safetensors"), raw_file(header.to_string().as_bytes(), &data)).unwrap();
            clean_everywhere(&format!("a header with {text:?}"), &Call::inspect(dir.path()), &mut failures);
        }
        let (dir, map) = Model::read("dense-gptq-desc-act").write_two();
        let first = map.as_object().unwrap().keys().next().unwrap().clone();
        for (key, value) in [
            (text, json!("a.safetensors")),
            (first.as_str(), json!(format!("{text}.safetensors"))),
            (text, json!(text)),
        ] {
            let mut map = map.clone();
            map[key] = value;
            write_index(dir.path(), &map);
            clean_everywhere(&format!("an index with {text:?} for {key:?}"), &Call::inspect(dir.path()), &mut failures);
        }
    }
    failures.done();
}

/// From templates: what they raise, name and print into errors, and how much of it.
#[test]
fn in_templates() {
    let dir = text_folder();
    let mut failures = Failures::default();
    let mut sources: Vec<(String, Option<i32>)> = Vec::new();
    for text in TEXTS {
        sources.push((format!("{{{{ raise_exception('{text}') }}}}"), Some(2)));
        let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        sources.push((format!("{{{{ raise_exception('{escaped}') }}}}"), Some(2)));
        sources.push((format!("{{{{ x|{text} }}}}"), Some(3)));
        sources.push((format!("{{% {text} %}}"), Some(3)));
        sources.push((format!("{{{{ '{text}'.nothing() }}}}{{{{ messages['{text}'].x.y }}}}"), Some(3)));
        sources.push((format!("{{{{ ('{text}' * 100) | nothing }}}}"), Some(3)));
        sources.push((format!("{{% include '{text}' %}}"), Some(3)));
        sources.push((format!("{{{{ '{text}' + 1 }}}}"), None));
        sources.push((format!("{{{{ {{}}['{text}']['{text}'] }}}}"), None));
    }
    for source in [
        r"{{ raise_exception('x\n' * 10000000) }}",
        "{{ raise_exception('x' * 20000000) }}",
        r"{{ raise_exception('\x1b[31m' * 1000000) }}",
        "{{ raise_exception(messages) }}",
        "{{ raise_exception([1] * 1000000) }}",
        "{{ raise_exception(1, 2, 3) }}",
        "{{ raise_exception() }}",
        "{{ raise_exception(none) }}",
        "{{ raise_exception(raise_exception) }}",
        "{{ raise_exception(message='\u{202e}') }}",
        "{{ raise_exception(namespace(a='\u{1b}')) }}",
    ] {
        sources.push((source.to_owned(), None));
    }
    for (source, code) in sources {
        fs::write(dir.path().join("chat_template.jinja"), &source).unwrap();
        failures.case(|| {
            let ended = PROMPT.ends(&source, &Call::prompt(dir.path(), HELLO));
            let text = ended.text();
            let is_right = code.map_or(matches!(ended.code, Some(0 | 2 | 3)), |code| ended.code == Some(code));
            assert!(is_right && text.lines().count() <= 1, "{source:?}: {:?} {text}", ended.code);
        });
    }
    failures.done();
}

/// From conversations: roles, keys, types, tool names.
#[test]
fn in_conversations() {
    let mut failures = Failures::default();
    for text in TEXTS {
        for messages in [
            json!([{"role": text, "content": "a"}]),
            json!([{"role": "user", "content": "a", text: 1}]),
            json!([{"role": "user", "content": [{"type": text}]}]),
            json!([{"role": "user", "content": [{"type": "text", "text": 5, text: text}]}]),
            json!({"messages": [{"role": "user", "content": "a"}], text: 1}),
            json!({"messages": text}),
            json!([text]),
            json!(text),
            json!([{"role": "assistant", "tool_calls": [{"function": {"name": 5, text: text}}]}]),
            json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": text}}]}]),
            json!({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": text}]}),
            json!({"messages": [{"role": "user", "content": "a"}], "enable_thinking": text}),
        ] {
            let call = Call::prompt(&harness::demo(), &messages.to_string());
            failures.case(|| PROMPT.ends(&messages.to_string(), &call));
        }
        let raw = format!("[{{\"role\": \"user\", \"content\": {text}}}]");
        failures.case(|| PROMPT.refuses(&raw, &Call::prompt(&harness::demo(), &raw), 2, &["conversation"]));
    }
    failures.done();
}

/// From arguments: names of files and folders, and values of flags.
#[test]
fn in_arguments() {
    let mut failures = Failures::default();
    for text in TEXTS.iter().filter(|text| !text.contains('\0')) {
        for arguments in [
            vec!["inspect", "--model", text],
            vec!["prompt", "--messages", text],
            vec!["generate", "--prompt", "a", "--temperature", text],
            vec!["generate", "--prompt", "a", "--max-tokens", text],
            vec!["generate", "--ids", text],
            vec!["generate", "--prompt", "a", "--disable", text],
            vec!["generate", "--prompt", "a", "--memory", text],
            vec!["logits", "--ids-file", text, "--output", "x"],
            vec![text],
        ] {
            failures.case(|| {
                let ended = INSPECT.ends(&format!("{arguments:?}"), &Call::new(&arguments));
                assert!(matches!(ended.code, Some(2 | 3)), "{arguments:?}: {:?}", ended.code);
            });
        }
    }
    failures.done();
}
