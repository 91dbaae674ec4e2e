//! `lapidary chat` through pipes.

use crate::process::{golden, golden_text, run_with};

const QUESTION: &str = "What does Vec::push do?";

#[test]
fn two_turns_and_commands_through_a_pipe() {
    let input = format!(
        "{QUESTION}\n/stats\n/hlep\n\n/set seed\n/set temperature 9000\n/think on\n/think off\n/system Be brief.\n/system\n\
         /system none\n\"\"\"\n{QUESTION}\n\"\"\"\n/stats\n/clear\n/help\n"
    );
    let run = run_with(&["chat", "--temperature", "0"], &input);
    for line in [
        "error: no command /hlep; /help lists them, and a message that begins with a slash is written between \"\"\"",
        "error: /set seed: found no value, expected /set KEY VALUE",
        "error: temperature 9000: expected 0 (greedy) to 100",
        "(thinking is on)",
        "(thinking is off)",
        "system: Be brief.",
        "(the conversation is forgotten)",
        "settings: temperature 0 (greedy), top-k 64, top-p 0.95, seed random, max-tokens none",
    ] {
        assert!(run.err.lines().any(|found| found == line), "{line:?} in {}", run.err);
    }
    let context: Vec<&str> = run.err.lines().filter(|line| line.starts_with("context:")).collect();
    assert!(context[0].ends_with(", 1 turn") && context[1].ends_with(", 2 turns"), "{context:?}");
    let reused: Vec<&str> = run.err.lines().filter(|line| line.starts_with("prompt:")).collect();
    assert!(reused[0].ends_with(", 0 reused") && !reused[1].ends_with(", 0 reused"), "{reused:?}");
    assert!(run.err.contains("/clear "), "{}", run.err);
    assert_eq!(run.code, Some(2), "the code of the first line that failed");
    let out = run.out;
    assert!(out.starts_with(&format!("{}\n", golden_text(&golden("method")))), "{out}");
    assert_eq!(out.matches("Appends an element").count(), 2, "{out}");
}

#[test]
fn a_conversation_that_outgrows_the_context_goes_on() {
    let long = "word ".repeat(200);
    let input = format!("{QUESTION}\n{QUESTION}\n{QUESTION}\n{long}\n{QUESTION}\n");
    let run = run_with(&["chat", "--temperature", "0", "--context", "120"], &input);
    let left = "(the conversation outgrew the context of 120 tokens: its 2 oldest turns left it)";
    assert!(run.err.lines().any(|line| line == left), "{}", run.err);
    let too_long: Vec<&str> = run.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(too_long.len(), 1, "{too_long:?}");
    assert!(too_long[0].contains("tokens, but the context is 120: expected at most 119"), "{too_long:?}");
    assert_eq!(run.code, Some(2), "one message was too long: {}", run.err);
    assert_eq!(run.out.matches("Appends an element").count(), 4);
}

#[test]
fn thoughts_go_to_stderr_where_stdout_is_no_terminal() {
    let case = golden("thinking");
    let question = case["messages"][0]["content"].as_str().unwrap();
    let run = run_with(&["chat", "--temperature", "0"], &format!("/think on\n{question}\n/stats\n"));
    let (thought, answer) = golden_text(&case).split_once("<channel|>").unwrap();
    let thought = thought.strip_prefix("<|channel>thought\n").unwrap();
    assert!(run.err.contains(&format!("thinking: {thought}")), "{}", run.err);
    assert_eq!(run.ok(), format!("{answer}\n"));
}
