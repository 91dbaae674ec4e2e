//! Losses that a generator recovers from: the text is what it would have been.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapidary::Error;
use lapidary::checkpoint::Checkpoint;
use lapidary::engine::{Generator, Outcome, Request, Sampling};
use lapidary::error::{Bound, NoRoom};
use lapidary::gpu::no_adapter;
use lapidary::testing::gpu::fault_injector;

use super::device::open;
use super::{checkpoint, generator, load, prompt};

const DRAWN: Sampling = Sampling { temperature: 1.5, top_k: 64, top_p: 0.95, seed: 11 };

/// A generator whose n-th new device is lost before the submission `losses[n]`; how often the model was loaded again.
fn recovering(checkpoint: &Arc<Checkpoint>, losses: &[u64]) -> (Generator, Arc<AtomicUsize>) {
    let (reloads, checkpoint, losses) = (Arc::new(AtomicUsize::new(0)), checkpoint.clone(), losses.to_vec());
    let counted = reloads.clone();
    let generator = generator(open(), &checkpoint).unwrap();
    let generator = generator.recovering(move |message| {
        assert_eq!(message, "it was destroyed");
        let model = load(open(), &checkpoint)?;
        if let Some(&number) = losses.get(counted.fetch_add(1, Ordering::Relaxed)) {
            fault_injector(model.gpu()).destroy_before_submission(number);
        }
        Ok(model)
    });
    (generator, reloads)
}

fn answer(generator: &mut Generator, prompt: &[u32], sampling: Sampling) -> lapidary::Result<Outcome> {
    let request = Request { sampling, max_tokens: Some(40) };
    let mut seen = Vec::new();
    let outcome = generator.generate(0, prompt, &request, &mut |id| {
        seen.extend(id);
        ControlFlow::Continue(())
    })?;
    assert_eq!(seen, outcome.ids, "each id is told once");
    Ok(outcome)
}

/// Greedy, drawn on the device and drawn on the host; lost in the prompt, behind it and far into the answer, also twice,
/// also in the middle of the replay; then the conversation goes on.
#[test]
fn the_text_is_as_without_a_loss() {
    let checkpoint = Arc::new(checkpoint());
    let mut undisturbed = generator(open(), &checkpoint).unwrap();
    let cases: [(Sampling, u64, &[u64]); 3] =
        [(Sampling::GREEDY, 1, &[]), (DRAWN, 34, &[13]), (Sampling { top_k: 0, ..DRAWN }, 20, &[])];
    for (sampling, first, losses) in cases {
        let expected = answer(&mut undisturbed, &prompt(), sampling).unwrap().ids;
        assert_eq!(expected.len(), 40, "{sampling:?}");
        let (mut generator, reloads) = recovering(&checkpoint, losses);
        fault_injector(generator.model().gpu()).destroy_before_submission(first);
        let ids = answer(&mut generator, &prompt(), sampling).unwrap().ids;
        assert_eq!(ids, expected, "{sampling:?}, lost before submission {first}, then {losses:?}");
        assert_eq!(reloads.load(Ordering::Relaxed), 1 + losses.len(), "{sampling:?}, {first}, {losses:?}");
        let next = [&prompt()[..], &ids, &[17, 18]].concat();
        let (a, b) = (answer(&mut generator, &next, sampling), answer(&mut undisturbed, &next, sampling));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.ids, a.timings.reused_tokens), (b.ids, b.timings.reused_tokens), "{sampling:?}: the next turn");
    }
}

#[test]
fn the_third_loss_within_a_minute_is_the_end() {
    let (mut generator, reloads) = recovering(&Arc::new(checkpoint()), &[8, 8, 8]);
    fault_injector(generator.model().gpu()).destroy();
    let error = answer(&mut generator, &prompt(), Sampling::GREEDY).unwrap_err();
    assert_eq!((error.exit_code(), reloads.load(Ordering::Relaxed)), (5, 2), "{error}");
    assert!(matches!(&error, Error::DeviceLost(lost) if lost.losses == Some(3)), "{error:?}");
    assert!(error.to_string().contains("3rd time within a minute"), "{error}");
}

/// A card that does not come back, and one without room for the model any more.
#[test]
fn a_reload_that_fails_ends_the_answer() {
    let gone = (no_adapter(), "the device was lost: it was destroyed; it cannot be opened again", 5);
    let full = (Error::from(NoRoom::new(None, "weights", 8, 0, Bound::Taken)), "weights: no room for 8 bytes", 4);
    for (fails, expected, code) in [gone, full] {
        let generator = generator(open(), &checkpoint()).unwrap();
        let mut fails = Some(fails);
        let mut generator = generator.recovering(move |_| Err(fails.take().expect("asked once")));
        fault_injector(generator.model().gpu()).destroy();
        let error = answer(&mut generator, &prompt(), Sampling::GREEDY).unwrap_err();
        assert!(error.to_string().starts_with(expected) && error.exit_code() == code, "{error}");
    }
}
