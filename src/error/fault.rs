//! One thing that is wrong with a model's files, as data and as a sentence.

use std::fmt;

use super::harmless::{harmless, spelled};
use super::others::Others;
use super::place::Place;
use super::remedy::{Remedy, Speller, plain};

/// Most characters of a fault: a hostile file can have names of any length.
const CHARACTERS: usize = 2000;

/// How it is that something is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// It is not there.
    Missing,
    /// It is not as it must be: damaged, out of range, in contradiction to something else.
    Wrong,
    /// It may be as it was meant, but nothing here computes with it.
    Unsupported,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Defect::Missing => "missing",
            Defect::Wrong => "wrong",
            Defect::Unsupported => "unsupported",
        })
    }
}

/// How what was expected is told, where it is not `, expected ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Words {
    before: &'static str,
    after: &'static str,
}

/// One fault of a model's files. Its sentence ([`fmt::Display`]) names the place, what was found and what was expected; all
/// texts are of bounded length, and what would steer a terminal is escaped in them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// Whether something is missing, wrong or not supported.
    pub defect: Defect,
    /// What was found there; empty where the place says it.
    pub found: String,
    /// What contradicts that, or what it is compared with.
    pub but: Option<String>,
    /// What should be there.
    pub expected: Option<String>,
    /// Why it should.
    pub because: Option<String>,
    /// What else was seen that explains it.
    pub note: Option<String>,
    /// Others of which the same is true.
    pub others: Option<Others>,
    /// What would help.
    pub remedy: Option<Remedy>,
    words: Option<Words>,
}

impl Fault {
    /// Something wrong at `place`.
    pub fn new(place: Place) -> Self {
        Fault {
            place,
            defect: Defect::Wrong,
            found: String::new(),
            but: None,
            expected: None,
            because: None,
            note: None,
            others: None,
            remedy: None,
            words: None,
        }
    }

    /// Of the model's files together.
    pub(crate) fn checkpoint() -> Self {
        Fault::new(Place::Checkpoint)
    }

    /// Of the model called `name`.
    pub(crate) fn source(name: &str) -> Self {
        Fault::new(Place::source(name))
    }

    /// Of a file.
    pub(crate) fn file(name: &str) -> Self {
        Fault::new(Place::file(name))
    }

    /// Of what should be a file's name.
    pub(crate) fn file_name(name: &str) -> Self {
        Fault::new(Place::FileName(spelled(name)))
    }

    /// Of a file that describes the model.
    pub(crate) fn config(file: &str) -> Self {
        Fault::new(Place::Config(file.to_owned()))
    }

    /// Of what such a file has under `key`.
    pub(crate) fn key(file: &str, key: impl AsRef<str>) -> Self {
        Fault::new(Place::Key { file: file.to_owned(), key: short(key) })
    }

    /// Of the chat template.
    pub(crate) fn template() -> Self {
        Fault::new(Place::Template)
    }

    /// Of a file of chat templates.
    pub(crate) fn template_file(file: &str) -> Self {
        Fault::new(Place::TemplateFile { file: file.to_owned(), key: None })
    }

    /// Of what a file of chat templates has under `key`.
    pub(crate) fn template_key(file: &str, key: &str) -> Self {
        Fault::new(Place::TemplateFile { file: file.to_owned(), key: Some(key.to_owned()) })
    }

    /// Of `tokenizer.json`.
    pub(crate) fn tokenizer() -> Self {
        Fault::new(Place::Tokenizer { part: None })
    }

    /// Of a part of `tokenizer.json`.
    pub(crate) fn tokenizer_part(part: impl AsRef<str>) -> Self {
        Fault::new(Place::Tokenizer { part: Some(short(part)) })
    }

    /// Of a tensor.
    pub(crate) fn tensor(name: &str) -> Self {
        Fault::new(Place::tensor(name))
    }

    /// Of what the header of `file` says of a tensor.
    pub(crate) fn entry(file: &str, tensor: &str) -> Self {
        Fault::new(Place::Tensor { name: spelled(tensor), file: Some(spelled(file)) })
    }

    /// What was found.
    #[must_use]
    pub fn found(self, found: impl AsRef<str>) -> Self {
        Fault { found: short(found), ..self }
    }

    /// What was found where something is missing.
    #[must_use]
    pub fn missing(self, found: impl AsRef<str>) -> Self {
        Fault { defect: Defect::Missing, ..self.found(found) }
    }

    /// Not wrong, perhaps, but nothing here computes with it.
    #[must_use]
    pub fn unsupported(self) -> Self {
        Fault { defect: Defect::Unsupported, ..self }
    }

    /// What contradicts it.
    #[must_use]
    pub fn but(self, but: impl AsRef<str>) -> Self {
        Fault { but: Some(short(but)), ..self }
    }

    /// What should be there.
    #[must_use]
    pub fn expected(self, expected: impl AsRef<str>) -> Self {
        Fault { expected: Some(short(expected)), ..self }
    }

    /// What should be there, told with these words around it.
    #[must_use]
    pub(crate) fn expected_in(self, before: &'static str, expected: impl AsRef<str>, after: &'static str) -> Self {
        Fault { words: Some(Words { before, after }), ..self.expected(expected) }
    }

    /// The most that is read of what there is more of.
    #[must_use]
    pub(crate) fn accepted(self, most: u64) -> Self {
        self.expected_in(", ", format!("at most {most}"), " are accepted")
    }

    /// Why it should be there.
    #[must_use]
    pub fn because(self, because: impl AsRef<str>) -> Self {
        Fault { because: Some(short(because)), ..self }
    }

    /// What else was seen that explains it.
    #[must_use]
    pub fn note(self, note: impl AsRef<str>) -> Self {
        Fault { note: Some(short(note)), ..self }
    }

    /// Others with the same fault.
    #[must_use]
    pub(crate) fn others(self, others: Others) -> Self {
        Fault { others: Some(others), ..self }
    }

    /// What would help.
    #[must_use]
    pub fn remedy(self, remedy: Remedy) -> Self {
        Fault { remedy: Some(remedy), ..self }
    }

    /// The same at another place.
    #[must_use]
    pub(crate) fn at(self, place: Place) -> Self {
        Fault { place, ..self }
    }

    /// A word that stays for faults like this: by what is not supported, else by the place. `docs/errors.md` lists them all.
    pub fn code(&self) -> &'static str {
        if self.defect == Defect::Unsupported { UNSUPPORTED } else { self.place.code() }
    }

    /// Its sentence without the place.
    pub(crate) fn what(&self) -> String {
        let mut text = self.found.clone();
        let mut add = |part: String| text.push_str(&part);
        if let Some(but) = &self.but {
            add(format!(", but {but}"));
        }
        // Where the place says what was found, the sentence begins here.
        let comma = if self.found.is_empty() { "" } else { ", " };
        match (&self.expected, self.words) {
            (Some(expected), Some(Words { before, after })) => add(format!("{before}{expected}{after}")),
            (Some(expected), None) => add(format!("{comma}expected {expected}")),
            (None, _) if self.because.is_some() => add(format!("{comma}expected")),
            (None, _) => {}
        }
        if let Some(because) = &self.because {
            add(format!(" because {because}"));
        }
        if let Some(note) = &self.note {
            add(format!("; {note}"));
        }
        if let Some(others) = &self.others {
            add(others.to_string());
        }
        text
    }

    /// Its sentence, with the remedy in the words of `spell`.
    pub fn message(&self, spell: &Speller) -> String {
        let spelled = |remedy| spell(std::slice::from_ref(remedy));
        let sentence = |end: &str| {
            let text = format!("{}{}{}{end}", self.place, self.place.joint(), self.what());
            harmless(&text, CHARACTERS)
        };
        match &self.remedy {
            None => sentence(""),
            Some(remedy) if remedy.mends_files() => sentence(&format!(": {}", spelled(remedy))),
            // The fault says which links are allowed.
            Some(remedy @ Remedy::FollowLinks) => format!("{} ({} allows others)", sentence(""), spelled(remedy)),
            // These two are sentences of their own.
            Some(remedy @ (Remedy::RawText | Remedy::TokenIds)) => format!("{} ({})", sentence(""), spelled(remedy)),
            Some(remedy) => format!("{} (what helps: {})", sentence(""), spelled(remedy)),
        }
    }
}

/// The code of what nothing here computes with.
pub(super) const UNSUPPORTED: &str = "E-UNSUPPORTED";

/// Text of a file, as a fault quotes it.
fn short(text: impl AsRef<str>) -> String {
    harmless(text.as_ref(), CHARACTERS)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_made_of_its_fields() {
        let said = |fault: Fault| fault.to_string();
        let shape = Fault::tensor("w").found("shape [2]").expected("[3]");
        assert_eq!(said(shape.clone()), "tensor \"w\": shape [2], expected [3]");
        assert_eq!(
            said(shape.others(Others::until(2, "z"))),
            "tensor \"w\": shape [2], expected [3]; the same of 2 others, the last \"z\""
        );
        let key = Fault::key("config.json", "a.b").found("is 3").but("c is 4").expected("4").because("of c");
        assert_eq!(said(key), "config.json: a.b is 3, but c is 4, expected 4 because of c");
        assert_eq!(
            said(Fault::tensor("w").missing("missing").because("x is true")),
            "tensor \"w\": missing, expected because x is true"
        );
        assert_eq!(said(Fault::file_name("..").expected("a plain name")), "file name \"..\": expected a plain name");
        assert_eq!(said(Fault::file("a").found("9 bytes").accepted(8)), "file \"a\": 9 bytes, at most 8 are accepted");
        assert_eq!(said(Fault::checkpoint().found("no tensors").note("look")), "no tensors; look");
        assert_eq!(said(Fault::config("a.json").found("x").others(Others::counted(1))), "a.json: x (2 such)");
        assert_eq!(
            said(Fault::entry("f", "w").found("x").others(Others::first_of(1, "such"))),
            "file \"f\": tensor \"w\": x (the first of 2 such)"
        );
    }

    #[test]
    fn a_remedy_has_words_of_its_own() {
        let said = |remedy| Fault::checkpoint().found("a fault").remedy(remedy).to_string();
        assert_eq!(said(Remedy::FollowLinks), "a fault (following links allows others)");
        assert_eq!(said(Remedy::ExactPrecision), "a fault (what helps: exact precision)");
        assert_eq!(said(Remedy::DownloadAgain), "a fault: download the file again");
    }

    #[test]
    fn a_fault_steers_no_terminal_and_ends() {
        let fault = Fault::tensor("a\x1b").found("b\x1b\n").expected("c".repeat(1 << 20));
        assert_eq!(
            (fault.found.as_str(), fault.expected.as_ref().map(|text| text.chars().count())),
            ("b\\u{1b}\\n", Some(2001))
        );
        let text = fault.to_string();
        assert!(text.starts_with("tensor \"a\\u{1b}\": b\\u{1b}\\n, expected cc") && text.ends_with('…'), "{text}");
        assert_eq!(text.chars().count(), 2001);
    }

    #[test]
    fn what_is_not_supported_has_a_code_of_its_own() {
        assert_eq!(Fault::file("a").found("x").code(), "E-FILE");
        assert_eq!(Fault::file("a").found("x").unsupported().code(), "E-UNSUPPORTED");
    }
}
