//! A test: a chat that goes on far beyond its context.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;

use super::demo;
use super::session::Session;
use crate::engine::{Request, Sampling};

const CONTEXT: usize = 2000;
const TOKENS: usize = 10_000;
/// How often the conversation is compared with one that was never cut.
const EVERY: usize = 1000;
/// How far logits may be off; those of the demo model go up to 30.
const TOLERANCE: f32 = 1e-3;

/// Bytes by which the host's memory may grow once all caches have their size.
const MOST_GROWTH: u64 = 64 << 20;

/// A message of about 150 tokens, never the same twice.
fn message(number: usize) -> String {
    let things = ["Vec::push", "a slice", "HashMap::entry", "String", "an iterator", "Option::map", "a trait", "Box"];
    let part = |i: usize| format!("I have {} {} and {}. ", number * 7 + i, things[(number + i) % 8], things[i % 8]);
    (0..9).map(part).collect::<String>() + "What does Vec::pop do?"
}

/// Bytes of memory that this process has; `None` where nobody says.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(1024 * kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// Turns leave at least three times, what the model then predicts is what it predicts for the same tokens run afresh, and
/// nothing grows: neither on the device nor on the host.
#[test]
fn ten_thousand_tokens_of_chat() {
    let text = demo::text();
    let (mut live, mut fresh) = (demo::load(CONTEXT, None), demo::load(CONTEXT, None));
    let mut session = Session::default();
    session.system = Some("Be brief.".into());
    let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(16) };
    let (mut said, mut compared, mut left, mut taken, mut grown) = (0, 0, 0, None, 0);
    for number in 0.. {
        let question = message(number);
        let fitted = session.prompt(&text, &question, CONTEXT, CONTEXT / 4).unwrap();
        left += usize::from(fitted.left > 0);
        let answer = live.generate(0, &fitted.ids, &request, &mut |_| ControlFlow::Continue(())).unwrap();
        // What is cut has other positions and is run again; else the conversation is still there.
        let (reused, cut) = (answer.timings.reused_tokens, fitted.left > 0);
        let (most, least) = if cut { (100, 0) } else { (CONTEXT, fitted.ids.len().saturating_sub(200)) };
        assert!((least..most).contains(&reused), "message {number}: {reused} of {} reused", fitted.ids.len());
        session.push(&question, &text.tokenizer.decode(&answer.ids[..answer.ids.len() - 1]));
        said += text.tokenizer.encode(&question).unwrap().len() + answer.ids.len();
        if said / EVERY > compared {
            compared = said / EVERY;
            let ids = [&fitted.ids[..], &answer.ids].concat();
            fresh.forget(0);
            let (a, b) = (live.logits(0, &ids).unwrap(), fresh.logits(0, &ids).unwrap());
            let off: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).collect();
            assert!(off.iter().all(|off| *off <= TOLERANCE), "after {said} tokens, {left} times cut: {off:?}");
        }
        let bytes = (live.model().allocated_bytes(), live.model().gpu().faults().driver_bytes(), resident_bytes());
        match taken {
            // Caches have grown to the context by the second time.
            None if left == 2 => taken = Some(bytes),
            Some((device, driver, host)) => {
                assert_eq!((bytes.0, bytes.1), (device, driver), "bytes on the device after {said} tokens");
                if let (Some(now), Some(before)) = (bytes.2, host) {
                    grown = grown.max(now.saturating_sub(before));
                    assert!(grown < MOST_GROWTH, "{now} bytes on the host, {before} before");
                }
            }
            None => {}
        }
        if said >= TOKENS {
            break;
        }
    }
    match taken {
        Some((.., Some(host))) => eprintln!("{host} bytes on the host, grown by {grown}"),
        _ if cfg!(target_os = "linux") => panic!("nothing measured the host's memory"),
        _ => crate::not_run::not_run("the host's memory: this system does not say how much a process has"),
    }
    assert!(left >= 3 && compared >= TOKENS / EVERY, "{left} times cut, {compared} times compared");
}
