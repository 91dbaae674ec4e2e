//! How an error is shown: one place for people, one for programs, and the flags that help.

use std::io::{self, IsTerminal};

use lapidary::Error;
use lapidary::doctor::Note;
use lapidary::error::{Fault, LINE_CHARACTERS, Place, Remedy, harmless};
use serde_json::{Value, json};

/// Remedies that are meant together, as arguments of this program.
pub(super) fn flags(together: &[Remedy]) -> String {
    let flag = |remedy: &Remedy| match remedy {
        Remedy::ShorterContext(positions) => format!("--context {positions}"),
        Remedy::PlannedContext => "a --context that is planned at the start".to_owned(),
        Remedy::Budget => "a budget by --memory".to_owned(),
        Remedy::SmallerCache { bits } => format!("--kv int{bits}"),
        Remedy::SmallerHead { bits } => format!("--head int{bits}"),
        Remedy::ExpertsOnHost(layers) => format!("--host-experts {layers}"),
        Remedy::ExactPrecision => "--precision exact, which does without rounding".to_owned(),
        Remedy::FollowLinks => "--follow-links".to_owned(),
        Remedy::Examine => "`lapidary doctor`, which checks the adapter's kernels".to_owned(),
        Remedy::IgnoreRecord => "--no-cache".to_owned(),
        Remedy::FewerRanks(most) => format!("--tensor-parallel {most}"),
        Remedy::LessContext => "a shorter --context".to_owned(),
        Remedy::OtherAdapter => "another --adapter".to_owned(),
        Remedy::LeaveLessUnused => "a shorter list behind --disable".to_owned(),
        Remedy::RawText => "base models have none: --raw TEXT goes on with a text as it is".to_owned(),
        Remedy::TokenIds => "without one, there is --ids".to_owned(),
        Remedy::Compiler { how } => format!("DXC: {how} (lapidary devices says where to get it)"),
        other => other.to_string(),
    };
    together.iter().map(flag).collect::<Vec<_>>().join(" ")
}

/// What a start says of its adapter. The line says itself what the doctor does.
pub(super) fn said(note: &Note) -> String {
    note.message(&|remedies| match remedies {
        [Remedy::Examine] => "lapidary doctor".to_owned(),
        others => flags(others),
    })
}

/// What is said about an error: one line, or a list of faults with a line each; cut where it quotes without end. Who sits at
/// a terminal sees the code too, which `docs/errors.md` explains; files and pipes get the line that they always got.
pub(super) fn line(error: &Error) -> String {
    shown(error, io::stderr().is_terminal())
}

fn shown(error: &Error, with_code: bool) -> String {
    let start = if with_code { format!("error[{}]", error.code()) } else { "error".to_owned() };
    let message = error.message(&flags);
    match error {
        Error::Model(faults) if faults.count() > 1 => cut(&format!("{start}: {message}")),
        _ => format!("{start}: {}", harmless(&message, LINE_CHARACTERS)),
    }
}

/// One fault of a model's files for programs: what is not known of it is null.
fn fault(fault: &Fault) -> Value {
    let others = fault.others.as_ref().map(|others| json!({ "count": others.count, "names": others.names }));
    let remedies: Vec<String> = fault.remedy.iter().map(|one| flags(std::slice::from_ref(one))).collect();
    json!({
        "code": fault.code(),
        "place": place(&fault.place),
        "defect": fault.defect.to_string(),
        "found": fault.found,
        "but": fault.but,
        "expected": fault.expected,
        "because": fault.because,
        "note": fault.note,
        "others": others,
        "remedies": remedies,
        "message": fault.message(&flags),
    })
}

/// The fields of a place, by what they name.
fn place(place: &Place) -> Value {
    match place {
        Place::Source(model) => json!({ "model": model }),
        Place::File(file) | Place::FileName(file) | Place::Config(file) => json!({ "file": file }),
        Place::Key { file, key } => json!({ "file": file, "key": key }),
        Place::TemplateFile { file, key } => json!({ "file": file, "key": key }),
        Place::Tokenizer { part } => json!({ "file": "tokenizer.json", "key": part }),
        Place::Tensor { name, file } => json!({ "tensor": name, "file": file }),
        Place::Stacked { stack, number } => json!({ "stack": stack, "matrix": number }),
        Place::Layers { count, first, last, of } => json!({ "layers": count, "first": first, "last": last, "of": of }),
        _ => json!({}),
    }
}

/// The same for programs: what `--json` prints instead of a result.
pub(super) fn object(error: &Error) -> Value {
    let faults = if let Error::Model(faults) = error { faults.list() } else { &[] };
    let faults: Vec<Value> = faults.iter().map(fault).collect();
    let remedies: Vec<String> = error.remedies().into_iter().map(|one| flags(&[one])).collect();
    json!({ "error": {
        "code": error.code(),
        "message": error.message(&flags),
        "exit_code": error.exit_code(),
        "faults": faults,
        "remedies": remedies,
    } })
}

/// `text` up to so many characters as a message may have.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LINE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lapidary::error::{Failure, Lost, Usage};

    use super::*;

    #[test]
    fn a_fault_is_one_line_and_faults_are_a_list() {
        let line = |text: &str| shown(&Error::usage(text), false);
        assert_eq!(line("a\x1b[31m\nb\u{202e}"), "error: a\\u{1b}[31m\\nb\\u{202e}");
        assert_eq!(line(&"x".repeat(1 << 20)).chars().count(), 7 + LINE_CHARACTERS + 1);
        let mut faults = lapidary::Faults::default();
        (0..20).for_each(|i| faults.push(Fault::new(Place::Checkpoint).found(format!("{i} {}", "y".repeat(1000)))));
        let list = shown(&Error::Model(faults), false);
        assert!(list.starts_with("error: 20 faults:\n  0 y") && list.chars().count() == LINE_CHARACTERS + 1, "{list}");
    }

    #[test]
    fn people_at_a_terminal_see_the_code() {
        let error = Error::from(Usage::Slot { slot: 3, slots: 2 });
        assert_eq!(shown(&error, true), "error[E-SLOT]: slot 3 of 2, expected one below 2");
        assert_eq!(object(&error)["error"]["code"], "E-SLOT");
    }

    #[test]
    fn a_fault_is_an_object_of_its_fields() {
        let tensor = Fault::new(Place::tensor("norm.weight")).found("shape [2]").expected("[3]");
        let link = Fault::new(Place::file("a")).found("is a link").remedy(Remedy::FollowLinks);
        let mut faults = lapidary::Faults::default();
        [tensor, link].into_iter().for_each(|fault| faults.push(fault));
        let error = object(&Error::Model(faults))["error"].take();
        assert_eq!((&error["code"], &error["remedies"]), (&json!("E-MODEL"), &json!(["--follow-links"])));
        let expected = json!({
            "code": "E-WEIGHTS",
            "place": { "tensor": "norm.weight", "file": null },
            "defect": "wrong",
            "found": "shape [2]",
            "but": null,
            "expected": "[3]",
            "because": null,
            "note": null,
            "others": null,
            "remedies": [],
            "message": "tensor \"norm.weight\": shape [2], expected [3]",
        });
        assert_eq!(error["faults"][0], expected);
        let link = &error["faults"][1];
        assert_eq!((&link["code"], &link["place"]), (&json!("E-FILE"), &json!({ "file": "a" })));
        assert_eq!(link["message"], "file \"a\": is a link (--follow-links allows others)");
    }

    #[test]
    fn a_model_without_template_or_tokenizer_is_told_how_to_go_on() {
        let fault = Fault::new(Place::Template).missing("found none").expected("one").remedy(Remedy::RawText);
        let line = shown(&Error::from(fault), false);
        let end = "(base models have none: --raw TEXT goes on with a text as it is)";
        assert_eq!(line, format!("error: chat template: found none, expected one {end}"));
        let fault = Fault::new(Place::source("a")).missing("no tokenizer.json").remedy(Remedy::TokenIds);
        let line = shown(&Error::from(fault), false);
        assert_eq!(line, "error: model \"a\": no tokenizer.json (without one, there is --ids)");
    }

    #[test]
    fn remedies_are_flags() {
        let error = Error::from(Failure::Reserved { ids: vec![6, 7] });
        let line = shown(&error, false);
        assert!(line.contains("`lapidary doctor`, which") && line.contains("or --precision exact, which"), "{line}");
        assert!(!error.to_string().contains("--"), "{error}");
        let change = [Remedy::ShorterContext(256), Remedy::SmallerCache { bits: 8 }, Remedy::ExpertsOnHost(2)];
        assert_eq!(flags(&change), "--context 256 --kv int8 --host-experts 2");
        let mut lost = Lost::new("a GPU", "gone");
        lost.losses = Some(3);
        let line = shown(&Error::from(lost), false);
        assert!(line.ends_with(": a newer driver, a shorter --context or another --adapter may help"), "{line}");
    }
}
