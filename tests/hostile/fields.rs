//! What is wrong with a model's files, read by a program: the fields of faults, of cases of every place.

use std::fs;
use std::path::Path;

use lapidary::checkpoint::Source;
use lapidary::error::{Defect, Fault, Place, Remedy};
use lapidary::text::{Conversation, Message, Role, TextModel};
use lapidary::{Error, Faults};
use serde_json::json;

use super::{Model, PREFIX, open};

fn faults(error: Error) -> Faults {
    match error {
        Error::Model(faults) => faults,
        other => panic!("{other:?}"),
    }
}

fn refusal(dir: &Path) -> Error {
    open(dir).err().unwrap_or_else(|| panic!("{} was accepted", dir.display()))
}

/// The one fault of `dir`, whose sentence has all that its fields say.
fn only(dir: &Path) -> Fault {
    let faults = faults(refusal(dir));
    let [fault] = faults.list() else { panic!("{faults}") };
    let text = fault.to_string();
    assert_eq!(faults.to_string(), text);
    let said = [Some(&fault.found), fault.but.as_ref(), fault.expected.as_ref(), fault.because.as_ref()];
    said.into_iter().flatten().for_each(|part| assert!(text.contains(part.as_str()), "{part} of {text}"));
    assert!(text.starts_with(&fault.place.to_string()), "{text}");
    fault.clone()
}

fn expected(fault: &Fault) -> &str {
    fault.expected.as_deref().unwrap_or_default()
}

#[test]
fn a_folder_that_is_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let fault = only(&nowhere);
    assert_eq!(fault.place, Place::source(nowhere.to_str().unwrap()));
    assert_eq!((fault.code(), fault.defect, fault.found.as_str()), ("E-SOURCE", Defect::Missing, "does not exist"));
    assert_eq!(expected(&fault), "a directory with config.json and *.safetensors");
    fs::write(dir.path().join("model.gguf"), "GGUF").unwrap();
    let fault = only(dir.path());
    assert_eq!((fault.found.as_str(), fault.remedy), ("no config.json", Some(Remedy::TakeSafetensors)));
    assert_eq!(fault.note.as_deref(), Some("its \"model.gguf\" is GGUF, which is not supported yet"));
}

#[test]
fn values_of_the_configuration() {
    let mut model = Model::base();
    model.config["text_config"]["hidden_size"] = json!("many");
    model.config["text_config"]["num_attention_heads"] = json!(null);
    let faults = faults(refusal(model.write().path()));
    let at = |name: &str| {
        let place = Place::Key { file: "config.json".into(), key: format!("text_config.{name}") };
        faults.list().iter().find(|fault| fault.place == place).unwrap_or_else(|| panic!("{name}: {faults}"))
    };
    let (size, heads) = (at("hidden_size"), at("num_attention_heads"));
    assert_eq!((size.code(), size.defect, size.found.as_str()), ("E-CONFIG", Defect::Wrong, "is \"many\""));
    assert!(expected(size).starts_with("an integer from 1 to "), "{size}");
    assert_eq!(heads.found, "is null");

    let mut model = Model::base();
    model.config["text_config"]["hidden_activation"] = json!("relu");
    let error = refusal(model.write().path());
    assert_eq!((error.code(), error.exit_code()), ("E-UNSUPPORTED", 3), "{error}");
    let fault = only(model.write().path());
    assert_eq!((fault.defect, fault.found.as_str()), (Defect::Unsupported, "is \"relu\""));
    assert_eq!(expected(&fault), "\"gelu_pytorch_tanh\"");
    // One that is damaged beside it, and the whole is no longer a matter of what is supported.
    model.config["text_config"]["hidden_size"] = json!(0);
    assert_eq!(refusal(model.write().path()).code(), "E-MODEL");
}

#[test]
fn tensors_that_are_missing_or_wrong() {
    let fault = only(Model::base().without("norm.weight").write().path());
    assert_eq!(fault.place, Place::tensor(&format!("{PREFIX}norm.weight")));
    assert_eq!((fault.code(), fault.defect, fault.found.as_str()), ("E-WEIGHTS", Defect::Missing, "missing"));
    assert!(expected(&fault).starts_with('['), "{fault}");

    let mut model = Model::base();
    model.get("norm.weight").shape.push(1);
    let fault = only(model.write().path());
    assert_eq!((fault.defect, fault.found.starts_with("shape [")), (Defect::Wrong, true), "{fault}");
    assert_eq!(expected(&fault), fault.found.trim_start_matches("shape ").replace(", 1]", "]"));

    // Many of one cause are one fault, which counts the others.
    let mut model = Model::base();
    let all = model.tensors.len();
    model.tensors.retain(|tensor| !tensor.name.ends_with("input_layernorm.weight"));
    let gone = all - model.tensors.len();
    assert!(gone > 4, "{gone}");
    let others = only(model.write().path()).others.unwrap();
    assert_eq!((others.count, others.names.len()), (gone - 1, 1));

    // What the configuration contradicts.
    let mut model = Model::base();
    model.config.as_object_mut().unwrap().remove("quantization_config");
    let fault = only(model.write().path());
    assert_eq!(
        (fault.found.as_str(), fault.but.is_some_and(|but| but.contains("no quantization_config"))),
        ("is quantized", true)
    );
}

#[test]
fn files_that_are_cut_or_something_else() {
    let dir = Model::base().write();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    let fault = only(dir.path());
    assert_eq!((fault.code(), &fault.place), ("E-FILE", &Place::file("model.safetensors")));
    assert_eq!(fault.found, format!("truncated: {} bytes", bytes.len() - 7));
    assert_eq!(
        (expected(&fault), fault.remedy.clone()),
        (bytes.len().to_string().as_str(), Some(Remedy::DownloadAgain))
    );

    fs::write(&path, "version https://git-lfs.github.com/spec/v1\nsize 5\n").unwrap();
    let fault = only(dir.path());
    assert_eq!((expected(&fault), fault.remedy.clone()), ("the file itself", Some(Remedy::PullLfs)));

    let (dir, mut map) = Model::base().write_two();
    map[&Model::base().tensors[0].name] = json!("../a\u{202e}.safetensors");
    super::write_index(dir.path(), &map);
    let fault = only(dir.path());
    assert_eq!((fault.code(), fault.found.as_str()), ("E-FILE-NAME", ""));
    assert_eq!(fault.place, Place::FileName("../a\\u{202e}.safetensors".into()), "what steers a terminal is escaped");
}

#[test]
fn tokenizers_and_templates() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer =
        json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "Metaspace"}});
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let source = Source::Directory(dir.path().to_owned());
    let found = faults(TextModel::open(&source).unwrap_err());
    let [fault] = found.list() else { panic!("{found}") };
    assert_eq!((fault.code(), &fault.place), ("E-TOKENIZER", &Place::Tokenizer { part: Some("decoder".into()) }));
    assert_eq!(fault.found, "found Metaspace");
    assert!(expected(fault).starts_with("Replace of a string"), "{fault}");

    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model/tokenizer.json");
    fs::copy(demo, dir.path().join("tokenizer.json")).unwrap();
    let text = TextModel::open(&source).unwrap().unwrap();
    let found = faults(text.prompt(&Conversation::new(vec![Message::new(Role::User, "a")])).unwrap_err());
    let [fault] = found.list() else { panic!("{found}") };
    assert_eq!((fault.code(), &fault.place, fault.defect), ("E-CHAT-TEMPLATE", &Place::Template, Defect::Missing));
    assert!(expected(fault).starts_with("chat_template.jinja, "), "{fault}");
}
