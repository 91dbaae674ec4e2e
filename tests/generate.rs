//! Answers from prompt ids: what a slot holds is reused only where that changes nothing.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "common/device.rs"]
mod device;

use std::ops::ControlFlow;
use std::path::Path;

use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::engine::{Finish, Generator, Outcome, Request, Sampling};
use lapidary::model::{Gemma4, Options};
use lapidary::text::{Conversation, Message, Reply, Role, TextModel};

const GREEDY: Request = Request { sampling: Sampling::GREEDY, max_tokens: Some(120) };
const DRAWN: Request =
    Request { sampling: Sampling { temperature: 1.2, top_k: 64, top_p: 0.95, seed: 11 }, max_tokens: Some(120) };

fn demo(options: &Options) -> (Generator, TextModel) {
    let source = Source::Directory(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model"));
    let file = |name: &str| source.read(name).unwrap().unwrap().into_owned();
    let template = String::from_utf8(file("chat_template.jinja")).unwrap();
    let text = TextModel::load(&file("tokenizer.json"), Some(&template), Some(&file("tokenizer_config.json"))).unwrap();
    (demo_without(&[], options), text)
}

/// A generator whose answers never contain any of `suppress`.
fn demo_without(suppress: &[u32], options: &Options) -> Generator {
    let source = Source::Directory(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model"));
    let checkpoint = Checkpoint::open(source).unwrap();
    let model = Gemma4::load(device::device().clone(), &checkpoint, options, &|_| ()).unwrap();
    Generator::new(model, checkpoint.stop_ids(), suppress)
}

fn answer(generator: &mut Generator, prompt: &[u32], request: &Request) -> Outcome {
    generator.generate(0, prompt, request, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn prompt(text: &TextModel, messages: &[Message], enable_thinking: bool) -> Vec<u32> {
    let conversation = Conversation { enable_thinking, ..Conversation::new(messages.to_vec()) };
    text.ids(&text.prompt(&conversation).unwrap()).unwrap()
}

/// The template strips past thoughts, so the next turn's ids part from what the slot holds in the middle of an answer:
/// the slot rolls back to there. With a ring of 143 positions the first turns still fit, the later ones do not.
#[test]
fn the_next_turn_after_thinking_equals_a_fresh_prefill() {
    let (mut kept, text) = demo(&Options::exact());
    let (mut fresh, _) = demo(&Options::exact());
    let mut messages = Vec::new();
    let (mut thought, mut reused) = (false, Vec::new());
    for question in
        ["What does Vec::push do?", "What does Vec::pop do?", "What is ownership?", "What does String::trim do?"]
    {
        messages.push(Message::new(Role::User, question));
        let ids = prompt(&text, &messages, true);
        let outcome = answer(&mut kept, &ids, &GREEDY);
        // A new prompt from its first token: nothing of it is held.
        answer(&mut fresh, &[2], &Request { max_tokens: Some(1), ..GREEDY });
        let again = answer(&mut fresh, &ids, &GREEDY);
        assert_eq!(outcome.ids, again.ids, "{question}");
        reused.push(outcome.timings.reused_tokens);
        assert_eq!(outcome.timings.reused_tokens + outcome.timings.prompt_tokens, ids.len());
        let mut reply = Reply::new(&text.tokenizer, &ids);
        outcome.ids.iter().filter(|id| !kept.is_stop(**id)).for_each(|&id| {
            reply.push(id);
        });
        reply.finish();
        thought |= reply.thinking().is_some_and(|t| !t.is_empty());
        messages.push(Message::new(Role::Assistant, reply.text()));
    }
    assert!(thought, "no turn had a thought to strip");
    assert!(reused[1] > 0, "the second turn ran its whole prompt again: {reused:?}");
}

#[test]
fn the_same_prompt_again_runs_one_token() {
    let (mut generator, text) = demo(&Options::exact());
    let ids = prompt(&text, &[Message::new(Role::User, "What does Vec::push do?")], false);
    let first = answer(&mut generator, &ids, &GREEDY);
    let again = answer(&mut generator, &ids, &GREEDY);
    assert_eq!(first.ids, again.ids);
    assert_eq!((again.timings.reused_tokens, again.timings.prompt_tokens), (ids.len() - 1, 1));
}

#[test]
fn an_answer_ends_where_it_should() {
    let (mut generator, text) = demo(&Options { context: Some(60), ..Options::exact() });
    let ids = prompt(&text, &[Message::new(Role::User, "What does Vec::push do?")], false);
    let whole = answer(&mut generator, &ids, &GREEDY);
    assert_eq!(whole.finish, Finish::Stop);
    assert!(generator.is_stop(*whole.ids.last().unwrap()));
    for n in [1, 5] {
        let cut = answer(&mut generator, &ids, &Request { max_tokens: Some(n), ..GREEDY });
        assert_eq!((cut.finish, cut.ids.as_slice()), (Finish::Length, &whole.ids[..n]));
    }
    let nothing = answer(&mut generator, &ids, &Request { max_tokens: Some(0), ..GREEDY });
    assert_eq!((nothing.finish, nothing.ids.len()), (Finish::Length, 0));
    let mut seen = Vec::new();
    let stopped = generator.generate(0, &ids, &GREEDY, &mut |id| {
        seen.extend(id);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped.unwrap().finish, Finish::Interrupted);
    assert_eq!(seen, whole.ids[..3]);
    assert_eq!(answer(&mut generator, &ids, &GREEDY).ids, whole.ids, "after an interruption");
}

#[test]
fn a_context_is_used_to_its_last_position() {
    let (mut generator, text) = demo(&Options { context: Some(30), ..Options::exact() });
    let ids = prompt(&text, &[Message::new(Role::User, "What does Vec::push do?")], false);
    assert_eq!(ids.len(), 23);
    let outcome = answer(&mut generator, &ids, &GREEDY);
    assert_eq!((outcome.finish, outcome.ids.len()), (Finish::Length, 7));
    let long: Vec<u32> = ids.iter().chain(&ids).copied().collect();
    for (prompt, message) in [
        (&long[..30], "the prompt has 30 tokens, but the context is 30: expected at most 29"),
        (&[], "the prompt has no tokens, expected at least 1"),
        (&[5000], "token id 5000 is beyond the vocabulary of 4096"),
    ] {
        let e = generator.generate(0, prompt, &GREEDY, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!((e.to_string().as_str(), e.exit_code()), (message, 2));
    }
    assert_eq!(answer(&mut generator, &ids, &GREEDY).ids, outcome.ids, "after refused prompts");
}

/// The sampler's draws depend on the seed alone, and with one candidate left it is greedy.
#[test]
fn a_seed_is_a_text() {
    let (mut generator, text) = demo(&Options::exact());
    let ids = prompt(&text, &[Message::new(Role::User, "What is a slice?")], false);
    let sampling = Sampling { temperature: 1.5, top_k: 64, top_p: 0.95, seed: 11 };
    let run = |generator: &mut Generator, sampling| answer(generator, &ids, &Request { sampling, ..GREEDY }).ids;
    let first = run(&mut generator, sampling);
    assert_eq!(first, run(&mut generator, sampling));
    let others: Vec<_> = (0..5).map(|seed| run(&mut generator, Sampling { seed, ..sampling })).collect();
    assert!(others.iter().any(|other| *other != first), "five other seeds gave the same text");
    assert_eq!(run(&mut generator, Sampling { top_k: 1, ..sampling }), run(&mut generator, Sampling::GREEDY));
}

/// Ids that must not be generated are not, though the model would choose them.
#[test]
fn suppressed_ids_are_not_generated() {
    let (mut plain, text) = demo(&Options::exact());
    let ids = prompt(&text, &[Message::new(Role::User, "What does Vec::push do?")], false);
    let first = answer(&mut plain, &ids, &GREEDY).ids[0];
    let suppress = [first, 999_999];
    let mut ahead = demo_without(&suppress, &Options::exact());
    let mut waiting = demo_without(&suppress, &Options::exact()).waiting();
    for request in [GREEDY, DRAWN] {
        let request = Request { max_tokens: Some(20), ..request };
        let chosen = answer(&mut ahead, &ids, &request).ids;
        assert!(!chosen.contains(&first));
        assert_eq!(chosen, answer(&mut waiting, &ids, &request).ids);
    }
    // Also where it would not come first: all that an answer has, but for its first token.
    for request in [GREEDY, DRAWN] {
        let whole = answer(&mut plain, &ids, &request).ids;
        let suppress: Vec<u32> = whole[1..].iter().copied().filter(|id| !plain.is_stop(*id)).collect();
        assert!((2..64).contains(&suppress.len()), "{} ids", suppress.len());
        let mut generator = demo_without(&suppress, &Options::exact());
        let other = answer(&mut generator, &ids, &Request { max_tokens: Some(20), ..request }).ids;
        assert!(!other.iter().any(|id| suppress.contains(id)), "{other:?} has ids of {suppress:?}");
    }
}

/// The device draws what the host would draw, and what it does not draw, the host does.
#[test]
fn a_seed_is_the_same_text_on_the_device_and_on_the_host() {
    let (mut ahead, text) = demo(&Options::exact());
    let mut waiting = demo(&Options::exact()).0.waiting();
    let ids = prompt(&text, &[Message::new(Role::User, "What is a slice?")], false);
    let mut texts = std::collections::BTreeSet::new();
    for (temperature, top_k, top_p) in [(1.5, 64, 0.95), (4.0, 128, 1.0), (3.0, 5, 0.8), (3.0, 0, 1.0), (4.0, 129, 0.9)]
    {
        for seed in 0..3 {
            let sampling = Sampling { temperature, top_k, top_p, seed };
            let request = Request { sampling, max_tokens: Some(40) };
            let here = answer(&mut ahead, &ids, &request);
            assert_eq!(here.ids, answer(&mut waiting, &ids, &request).ids, "{sampling:?}");
            holds(&ahead, &ids, &here.ids);
            texts.insert(here.ids);
        }
    }
    assert!(texts.len() > 8, "15 draws made only {} texts", texts.len());
}

/// Steps that run ahead of their tokens against steps that wait, in answers that end by a stop id, by length and by the
/// caller, within the ring's 143 positions and beyond. What ran too far is taken back: the next turn goes on from there.
#[test]
fn running_ahead_changes_nothing() {
    let (mut ahead, text) = demo(&Options::exact());
    assert!(ahead.model().runs_ahead(1));
    let mut waiting = demo(&Options::exact()).0.waiting();
    let long = "Ownership is the set of rules by which Rust manages memory. ".repeat(8);
    let short = vec![Message::new(Role::User, "What is ownership?")];
    let mut messages = short.clone();
    messages.push(Message::new(Role::Assistant, &long));
    messages.push(Message::new(Role::User, "What does Vec::push do?"));
    let all = [(&short, GREEDY), (&messages, GREEDY), (&messages, DRAWN)];
    for (messages, whole) in all {
        let ids = prompt(&text, messages, false);
        for max_tokens in [None, Some(1), Some(2), Some(3), Some(24)] {
            let request = Request { max_tokens, ..whole };
            let (a, b) = (answer(&mut ahead, &ids, &request), answer(&mut waiting, &ids, &request));
            assert_eq!((&a.ids, a.finish), (&b.ids, b.finish), "{} ids, {max_tokens:?}", ids.len());
            holds(&ahead, &ids, &a.ids);
        }
        for n in [1, 2, 9] {
            let mut seen = 0;
            let mut watch = |id: Option<u32>| {
                seen += usize::from(id.is_some());
                if seen == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let cut = ahead.generate(0, &ids, &whole, &mut watch).unwrap();
            assert_eq!((cut.finish, cut.ids.len()), (Finish::Interrupted, n));
            holds(&ahead, &ids, &cut.ids);
            let on = [&ids[..], &cut.ids].concat();
            let (a, b) = (answer(&mut ahead, &on, &whole), answer(&mut waiting, &on, &whole));
            assert_eq!(a.ids, b.ids, "{} ids, behind {n}", ids.len());
            assert_eq!(a.timings.reused_tokens, on.len() - 1, "{} ids, behind {n}", ids.len());
        }
    }
    assert!(ahead.held(0).len() > 143 + 15, "{} ids do not wrap the ring", ahead.held(0).len());
}

/// All but the last id of an answer, and nothing that ran ahead of it.
fn holds(generator: &Generator, prompt: &[u32], answer: &[u32]) {
    assert_eq!(generator.held(0), [prompt, &answer[..answer.len() - 1]].concat());
    assert_eq!(generator.model().len(0), generator.held(0).len());
}
