//! Makes the seeds in `corpus/` of the golden checkpoints, the demo model and the published templates:
//! `cargo run --release --bin seeds`, in this folder. `../../shared/fixtures` gives more where it is.

use std::fs;
use std::path::{Path, PathBuf};

use lapidary::text::{ChatTemplate, Conversation, Specials};
use lapidary_fuzz::snippets::SNIPPETS;
use lapidary_fuzz::{demo, input, snippets};
use serde_json::{Value, json};

/// Bytes of a header that is kept; more take too long to be changed.
const LARGEST_HEADER: usize = 40 << 10;
/// Bytes that the target makes up at most.
const LARGEST_DATA: u64 = 4 << 20;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = Seeds { corpus: here.join("corpus"), golden: here.join("../tests/golden") };
    let mut sets = folders(&seeds.golden);
    sets.extend(folders(&here.join("../../shared/fixtures")));
    seeds.headers(&sets)?;
    seeds.configs(&sets)?;
    let cases: Value = read_json(&seeds.golden.join("text/template_cases.json"));
    let conversations: Vec<&Value> =
        cases.as_array().expect("a list").iter().step_by(2).map(|case| &case["input"]).collect();
    seeds.templates(&conversations)?;
    seeds.tokenizers()?;
    seeds.caches()?;
    seeds.streams(&cases)
}

struct Seeds {
    corpus: PathBuf,
    golden: PathBuf,
}

impl Seeds {
    /// Named by the contents, so that the same seed is the same file.
    fn keep(&self, target: &str, data: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(self.corpus.join(target))?;
        fs::write(self.corpus.join(target).join(format!("seed-{:016x}", input::checksum(data))), data)
    }

    fn headers(&self, sets: &[PathBuf]) -> std::io::Result<()> {
        let text = |value: &Value| value.to_string().into_bytes();
        let data = |header: &Value| {
            header.as_object().into_iter().flatten().filter_map(|(_, entry)| offsets(entry)).map(|(_, end)| end).max()
        };
        let is_large = |header: &Value| text(header).len() > LARGEST_HEADER || data(header) > Some(LARGEST_DATA);
        let sets = sets.iter().filter(|set| set.join("model.safetensors").exists());
        for (number, set) in sets.enumerate() {
            let mut config = read_json(&set.join("config.json"));
            let mut header = header(&set.join("model.safetensors"));
            cut_experts(&mut config, &mut header);
            // Which layers share keys and values depends on how many there are.
            if is_large(&header) && text_config(&mut config)["num_kv_shared_layers"].as_u64().unwrap_or(0) == 0 {
                cut_layers(&mut config, &mut header);
            }
            if is_large(&header) {
                continue;
            }
            let [index, first, second] = halves(&header);
            // Small ones in every way, large ones in one.
            let is_kept = |way: usize| number % 3 == way || text(&header).len() < LARGEST_HEADER / 3;
            if is_kept(0) {
                self.keep("header", &input::join(b'@', &[&json!(""), &config, &header].map(section)))?;
            }
            if is_kept(1) {
                let parts = [&json!(""), &config, &first, &second];
                self.keep("header", &input::join(b'H', &parts.map(section)))?;
            }
            if is_kept(2) {
                self.keep("header", &input::join(b'H', &[&index, &config, &first, &second].map(section)))?;
            }
        }
        let small = json!({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]}, "c": {"dtype": "U8", "shape": [0, 5], "data_offsets": [26, 26]},
            "d": {"dtype": "F4", "shape": [2], "data_offsets": [26, 27]}});
        let whole = [&(text(&small).len() as u64).to_le_bytes()[..], &text(&small), &[0; 27]].concat();
        for way in b'@'..=b'G' {
            self.keep("header", &input::join(way, &[vec![], vec![], text(&small)]))?;
        }
        self.keep("header", &input::join(b'E', &[vec![], vec![], whole]))
    }

    fn configs(&self, sets: &[PathBuf]) -> std::io::Result<()> {
        let generation = fs::read(self.golden.join("../../examples/demo-model/generation_config.json"))?;
        let presets = fs::read_dir(self.golden.join("configs"))?.map(|entry| entry.expect("an entry").path());
        let files = presets.chain(sets.iter().map(|set| set.join("config.json"))).filter(|path| path.exists());
        for (number, path) in files.enumerate() {
            let mut config = read_json(&path);
            let quantize = config.as_object_mut().and_then(|map| map.shift_remove("quantization_config"));
            let whole = fs::read(&path)?;
            for way in 0..3 {
                self.keep("config", &input::join(b'0' + way, &[&whole, &generation[..]]))?;
            }
            if let (Some(quantize), true) = (quantize, number % 3 == 0) {
                let parts = [config.to_string().into_bytes(), generation.clone(), quantize.to_string().into_bytes()];
                self.keep("config", &input::join(b'0', &parts))?;
            }
        }
        Ok(())
    }

    fn templates(&self, conversations: &[&Value]) -> std::io::Result<()> {
        let mut sources = vec![
            fs::read_to_string(self.golden.join("../../examples/demo-model/chat_template.jinja"))?,
            fs::read_to_string(self.golden.join("text/chat_template_31B.jinja"))?,
            fs::read_to_string(self.golden.join("text/chat_template_31B_interleaved.jinja"))?,
        ];
        sources.extend(SMALL_TEMPLATES.map(str::to_owned));
        for (number, conversation) in conversations.iter().enumerate() {
            let json = conversation.to_string().into_bytes();
            self.keep("messages", &[&b"m"[..], &json].concat())?;
            if number % 8 == 0 {
                let text = conversation.to_string();
                let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                self.keep("messages", &[&b"m\xff\xfe"[..], &wide].concat())?;
                self.keep("messages", &[&b"m\xef\xbb\xbf"[..], text.as_bytes()].concat())?;
            }
            let source = &sources[number % sources.len()];
            self.keep("template", &input::join(b't', &[source.as_bytes(), &json]))?;
        }
        sources.iter().try_for_each(|source| self.keep("template", &input::join(b't', &[source.as_bytes()])))?;
        self.snippets()
    }

    /// What is compared with Python's Jinja: what works in groups, what is refused alone.
    fn snippets(&self) -> std::io::Result<()> {
        let given = snippets::given().as_bytes();
        let conversation = Conversation::from_json(given).expect("it is one");
        let specials = Specials::default();
        let works = |source: &str| {
            let template = ChatTemplate::from_source(&format!("{FIRST}{source}"), "<bos>", "<eos>");
            template.is_ok_and(|template| template.render(&conversation, &specials).is_ok())
        };
        let (good, refused): (Vec<&str>, Vec<&str>) = SNIPPETS.iter().partition(|source| works(source));
        let groups = good.chunks(8).map(|group| group.join("\n"));
        let alone = refused.into_iter().map(str::to_owned);
        for source in groups.chain(alone) {
            let source = format!("{FIRST}{source}");
            // Most of what is refused needs little of the conversation.
            let is_small = !source[FIRST.len()..].contains("M.");
            let json = if is_small { b"[{\"role\": \"user\", \"content\": \"a\"}]" } else { given };
            self.keep("template", &input::join(b't', &[source.as_bytes(), json]))?;
        }
        Ok(())
    }

    /// The demo's vocabulary cut to what a short text needs, and some of the components that files have.
    fn tokenizers(&self) -> std::io::Result<()> {
        let mut file: Value = serde_json::from_slice(demo::TOKENIZER).expect("the demo's file is JSON");
        let merges = file["model"]["merges"].as_array_mut().expect("merges");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_kept = |token: &str| token.chars().all(|c| "▁\nahentrs".contains(c));
        merges.retain(|pair| is_kept(&text(&pair[0])) && is_kept(&text(&pair[1])));
        merges.truncate(24);
        let made: Vec<String> = merges.iter().map(|pair| text(&pair[0]) + &text(&pair[1])).collect();
        let bytes = ["<0xC3>", "<0xA9>", "<0x00>", "<0xE2>"];
        file["added_tokens"].as_array_mut().expect("a list").truncate(8);
        let vocabulary = file["model"]["vocab"].as_object_mut().expect("a vocabulary");
        vocabulary.retain(|token, id| {
            let is_single = token.chars().count() == 1 && is_kept(token);
            id.as_u64() < Some(8) || is_single || made.contains(token) || bytes.contains(&token.as_str())
        });
        vocabulary.values_mut().enumerate().for_each(|(number, id)| *id = number.into());
        let hello = "{{ bos_token }}{{ messages[0].content }}";
        let config = json!({"bos_token": "<bos>", "eos_token": {"content": "<eos>"},
            "chat_template": [{"name": "default", "template": hello}, {"name": "tool_use", "template": "{{ tools }}"}]});
        let config = config.to_string().into_bytes();
        let replace = json!({"type": "Replace", "pattern": {"String": "e"}, "content": "ee"});
        let normalizers = [
            file["normalizer"].clone(),
            Value::Null,
            json!({"type": "Sequence", "normalizers": [replace, {"type": "Prepend", "prepend": "▁"}]}),
            json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Strip", "strip_left": true, "strip_right": true}]}),
        ];
        for (number, normalizer) in normalizers.into_iter().enumerate() {
            file["normalizer"] = normalizer;
            file["pre_tokenizer"] = [
                file["pre_tokenizer"].clone(),
                json!({"type": "Split", "pattern": {"Regex": "[^\\n]+|[\\n]+"}, "behavior": "Isolated", "invert": false}),
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
                Value::Null,
            ][number]
                .clone();
            for text in ["a tree, he sees\n\nthe  end", "naïve 👩‍👩‍👧 <turn|><bos>\u{0} 日本語", "e"] {
                self.keep("tokenizer", &input::join(b'k', &[file.to_string().as_bytes(), text.as_bytes(), &config]))?;
            }
        }
        Ok(())
    }

    fn caches(&self) -> std::io::Result<()> {
        let record = |off: &str, times: Value| {
            json!({"format": 2, "adapter": "a card", "driver": "1.2", "api": "Vulkan", "version": "0.1.0", "switched_off": off,
                "failures": [{"check": "router", "without": "dot", "message": "row 3: 1, expected 2"}], "is_bad": false,
                "brief": true, "dot_times": times})
        };
        let race = json!({"dot": 1.5e-5, "plain": 1e-5});
        for record in [
            record("", Value::Null),
            record("dot,kv-f16", json!({"few": race, "many": race})),
            record("subgroups", json!({"few": race, "many": null})),
        ] {
            self.keep("cache", format!("s{record:#}").as_bytes())?;
            self.keep("cache", format!("o{record}").as_bytes())?;
            self.keep("cache", format!("r{record}").as_bytes())?;
        }
        for length in [0usize, 1, 100] {
            let data: Vec<u8> = (0..length as u8).collect();
            let sum = input::checksum(&[&data[..], &(length as u64).to_le_bytes()].concat());
            self.keep("cache", &[&b"plapipes1"[..], &sum.to_le_bytes(), &data].concat())?;
        }
        Ok(())
    }

    /// Prompts and answers as the ids that the demo makes of them.
    fn streams(&self, cases: &Value) -> std::io::Result<()> {
        let model = demo::text_model();
        for case in cases.as_array().expect("a list").iter().step_by(3) {
            let text: String = case["text"].as_str().unwrap_or_default().chars().take(400).collect();
            let mut data = vec![20];
            let mut rest = text.as_str();
            while let Some(first) = rest.chars().next() {
                let special = demo::SPECIALS.iter().position(|(name, _)| rest.starts_with(name.as_str()));
                let length = special.map_or_else(
                    || rest[1..].find('<').map_or(rest.len(), |at| at + 1),
                    |at| demo::SPECIALS[at].0.len(),
                );
                let length = length.max(first.len_utf8());
                match special {
                    Some(at) => data.extend([0, at as u8]),
                    None => {
                        let ids = model.tokenizer.encode(&rest[..length]).expect("the demo takes every text");
                        data.extend(ids.iter().flat_map(|id| [128 + (id >> 8) as u8, *id as u8]));
                    }
                }
                rest = &rest[length..];
            }
            self.keep("stream", &data)?;
        }
        self.keep(
            "stream",
            &["é".as_bytes(), "👩".as_bytes()].concat().iter().fold(vec![1], |all, b| [all, vec![64, *b]].concat()),
        )
    }
}

/// What snippets call the first message.
const FIRST: &str = "{% set M = messages[0] %}";
const SMALL_TEMPLATES: [&str; 6] = [
    "{{ bos_token }}{% for m in messages %}<|turn>{{ m.role }}\n{{ m['content'] | trim }}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}",
    "{% macro show(x, d=0) %}{% if x is mapping %}{% for k, v in x | dictsort %}{{ k }}={{ show(v, d + 1) }}{% endfor %}{% else %}{{ x | tojson }}{% endif %}{% endmacro %}{{ show(messages[0]) }}",
    "{%- set ns = namespace(n=0, last=none) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}{%- set ns.last = m.role -%}{%- if not loop.last %}{% continue %}{% endif -%}{{ ns.n }}{{ ns.last }}{%- endfor -%}",
    "{% if messages[0].role != 'user' %}{{ raise_exception('the first message is not the user\\'s: ' ~ messages[0].role) }}{% endif %}{{ messages | map(attribute='content') | join('\\n') | replace('a', 'bb') }}",
    "{{ strftime_now('%d %B %Y') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ 'a,b'.split(',')[-1].strip().upper() }}{{ '%s-%d' | format('x', 3) }}",
    "{% generation %}{{ messages[::-1] | tojson(indent=2, ensure_ascii=false) }}{% endgeneration %}{{ range(3) | list }}{{ 7 // 2 }}{{ 2 ** 3 }}{{ 'x' if enable_thinking else 'y' }}{{ 'ab' * 3 }}{{ [1] + [2] }}{{ not tools }}",
];

/// A section's text; an empty string stands for none.
fn section(part: &Value) -> Vec<u8> {
    if part == "" { Vec::new() } else { part.to_string().into_bytes() }
}

/// A header in two files, behind the index that names them.
fn halves(header: &Value) -> [Value; 3] {
    let entries = header.as_object().expect("an object");
    let half = entries.len() / 2;
    let part = |skip: usize, take: usize| {
        pack(entries.iter().skip(skip).take(take).map(|(name, entry)| (name.clone(), entry.clone())))
    };
    let file = |number: usize| if number < half { "a.safetensors" } else { "b.safetensors" };
    let map = entries.keys().enumerate().map(|(number, name)| (name.clone(), Value::from(file(number))));
    let index = json!({"metadata": {"total_size": 0}, "weight_map": Value::Object(map.collect())});
    [index, part(0, half), part(half, usize::MAX)]
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("config.json").exists()).collect();
    folders.sort();
    folders
}

fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn header(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a file of safetensors");
    serde_json::from_slice(&rest[..u64::from_le_bytes(*length) as usize]).expect("a header")
}

/// Where the text model's keys are.
fn text_config(config: &mut Value) -> &mut Value {
    if config.get("text_config").is_some() { &mut config["text_config"] } else { config }
}

/// Leaves the first layer and the last one, which is always one of full attention.
fn cut_layers(config: &mut Value, header: &mut Value) {
    let text = text_config(config);
    let types = text["layer_types"].as_array_mut().expect("golden sets list their layers");
    let last = types.len() - 1;
    types.drain(1..last);
    text["num_hidden_layers"] = 2.into();
    let entries = header.as_object().expect("an object").clone();
    let kept = entries.into_iter().filter_map(|(name, entry)| {
        let number = name.split("layers.").nth(1).and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        match number {
            None | Some(0) => Some((name, entry)),
            Some(number) if number == last => Some((name.replace(&format!("layers.{last}."), "layers.1."), entry)),
            Some(_) => None,
        }
    });
    *header = pack(kept);
}

/// Leaves 8 experts of the 16 that golden sets have: whole words of 4-bit codes.
fn cut_experts(config: &mut Value, header: &mut Value) {
    let text = text_config(config);
    if text["num_experts"] != 16 {
        return;
    }
    text["num_experts"] = 8.into();
    let number = |name: &str| name.split(".experts.").nth(1)?.split('.').next()?.parse::<usize>().ok();
    let entries = header.as_object().expect("an object").clone();
    let kept = entries.into_iter().filter(|(name, _)| number(name).is_none_or(|number| number < 8));
    let halved = kept.map(|(name, mut entry)| {
        let is_of_all = number(&name).is_none() && ["router", "expert"].iter().any(|part| name.contains(part));
        // GPTQ and AWQ have the outputs last, all others first; zero points and AWQ's codes pack eight in a word.
        let is_last = ["qweight", "scales", "qzeros"].iter().any(|end| name.ends_with(end));
        let shape = entry.get_mut("shape").filter(|_| is_of_all).and_then(Value::as_array_mut);
        let size = shape.and_then(|shape| {
            let size = if is_last { shape.last_mut() } else { shape.first_mut() };
            let is_packed = is_last || name.ends_with("zero_point");
            size.filter(|size| **size == 16 || is_packed && **size == 2)
        });
        if let Some(size) = size {
            *size = (size.as_u64().unwrap_or_default() / 2).into();
            let (begin, end) = offsets(&entry).expect("what has a shape has a place");
            entry["data_offsets"] = json!([begin, begin + (end - begin) / 2]);
        }
        (name, entry)
    });
    *header = pack(halved);
}

/// A header of these entries, one behind the other.
fn pack(entries: impl Iterator<Item = (String, Value)>) -> Value {
    let mut end = 0;
    let place = |(name, mut entry): (String, Value)| {
        if let Some((first, last)) = offsets(&entry) {
            entry["data_offsets"] = json!([end, end + last - first]);
            end += last - first;
        }
        (name, entry)
    };
    Value::Object(entries.map(place).collect())
}

/// `data_offsets`, which `__metadata__` has not.
fn offsets(entry: &Value) -> Option<(u64, u64)> {
    let offsets = entry.get("data_offsets")?;
    offsets[0].as_u64().zip(offsets[1].as_u64())
}
