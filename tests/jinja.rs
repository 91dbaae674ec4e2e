//! Chat templates against jinja2, set up as transformers sets it up: equal text, or both refuse.
//!
//! The snippets of tests/golden/text/jinja.json are compared always; their answers are jinja2's, stored by tests/jinja.sh.
//! That script also makes new cases by the thousand and sets LAPIDARY_JINJA to the file with their answers; without it
//! nothing more runs than a line that says so.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write as _;
use std::io::Write;

use lapidary::text::{ChatTemplate, Conversation, Specials};
use serde::Deserialize;

/// One template, one conversation, and what jinja2 made of them.
#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    /// JSON as text, since how a number is spelled matters; absent where it is that of the case before.
    #[serde(default)]
    input: String,
    text: Option<String>,
    refused: Option<String>,
    /// Why nobody needs to agree.
    unspecified: Option<String>,
}

/// Gemma 4's special tokens, which conversations may spell.
const SPECIALS: [&str; 14] = [
    "<bos>",
    "<eos>",
    "<|\"|>",
    "<|turn>",
    "<turn|>",
    "<|channel>",
    "<channel|>",
    "<|think|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
];

/// Past the test harness, which keeps what passing tests print to itself.
#[expect(clippy::explicit_write, reason = "the harness takes what eprintln writes")]
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// How a case differs, or `None`.
fn difference(case: &Case) -> Option<String> {
    if case.unspecified.is_some() {
        return None;
    }
    // Snippets look at single characters of their values; there a special token's spelling is text like any other.
    let snippet = case.name.ends_with("snippet");
    let specials = SPECIALS.iter().enumerate().map(|(id, name)| ((*name).to_owned(), id as u32));
    let specials = if snippet { Specials::default() } else { Specials::new(specials) };
    let found = ChatTemplate::from_source(&case.template, "<bos>", "<eos>").and_then(|template| {
        let conversation = Conversation::from_json(case.input.as_bytes())?;
        template.render(&conversation, &specials).map(|prompt| prompt.text)
    });
    match (&case.text, &found) {
        (Some(expected), Ok(found)) if expected == found => return None,
        (None, Err(_)) => return None,
        // Gemma's template is written for them, and Jinja fails: a dictionary passes `is sequence`.
        _ if !snippet && answers_with_an_object(&case.input) => return None,
        (Some(_), Err(error)) if is_not_offered(&error.to_string()) => return None,
        _ => {}
    }
    let mut out = String::new();
    let expected = case.text.as_ref().map(|text| format!("{text:?}"));
    let expected = expected.unwrap_or_else(|| format!("refused: {}", case.refused.as_deref().unwrap_or_default()));
    let found = found.map_or_else(|error| format!("refused: {error}"), |text| format!("{text:?}"));
    // A whole template is known by its name.
    let template: String = if snippet { case.template.clone() } else { "(see name)".into() };
    writeln!(out, "{}\n  template {template:?}\n  input    {}", case.name, case.input).unwrap();
    write!(out, "  expected {expected}\n  found    {found}").unwrap();
    Some(out)
}

/// Whether the error is a refusal, by name, of what no chat template uses.
fn is_not_offered(error: &str) -> bool {
    let names = ["autoescape", "'lipsum'", "'random'", "'urlize'", "'wordwrap'", "'pprint' on a long value"];
    error.contains("which is not offered") && names.iter().any(|name| error.contains(name))
}

/// Whether a tool's answer is an object.
fn answers_with_an_object(input: &str) -> bool {
    let Ok(input) = serde_json::from_str::<serde_json::Value>(input) else { return false };
    let messages = input.get("messages").and_then(|messages| messages.as_array());
    let is_object = |message: &serde_json::Value| message["role"] == "tool" && message["content"].is_object();
    messages.is_some_and(|messages| messages.iter().any(is_object))
}

fn read(json: &[u8]) -> Vec<Case> {
    let mut cases: Vec<Case> = serde_json::from_slice(json).unwrap();
    let mut input = String::new();
    for case in &mut cases {
        match case.input.is_empty() {
            true => case.input.clone_from(&input),
            false => input.clone_from(&case.input),
        }
    }
    cases
}

fn compare(cases: &[Case], shown: usize) {
    let differences: Vec<String> = cases.iter().filter_map(difference).collect();
    let first: Vec<&str> = differences.iter().take(shown).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} of {} cases differ:\n{}", differences.len(), cases.len(), first.join("\n"));
}

#[test]
fn snippets_are_what_jinja_makes_of_them() {
    let cases = read(include_bytes!("golden/text/jinja.json"));
    assert!(cases.len() >= 150, "{} cases", cases.len());
    compare(&cases, 20);
}

#[test]
fn generated_cases_are_what_jinja_makes_of_them() {
    let Some(file) = std::env::var_os("LAPIDARY_JINJA") else {
        say("jinja: generated cases not run, LAPIDARY_JINJA is not set; sh tests/jinja.sh runs them");
        return;
    };
    let cases = read(&std::fs::read(file).unwrap());
    let (refused, open) =
        (cases.iter().filter(|c| c.refused.is_some()), cases.iter().filter(|c| c.unspecified.is_some()));
    say(&format!("jinja: {} cases, {} refused, {} left open", cases.len(), refused.count(), open.count()));
    let shown = std::env::var("LAPIDARY_JINJA_SHOWN").ok().and_then(|shown| shown.parse().ok()).unwrap_or(5);
    compare(&cases, shown);
}
