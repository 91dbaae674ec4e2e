//! Steps of several slots that run ahead of their tokens, against steps that wait: the same ids, and slots as clean.

use std::collections::BTreeMap;

use lapidary::gpu::Tier;
use lapidary::model::{Chosen, Gemma4, Next, Options, Precision, Row, Want};
use lapidary::testing::kernels::choice::sample::Draw;

use super::steps::{load, prefill};
use super::{demo, demo_cases};

/// The last id of each slot, which is not run yet.
type Last = BTreeMap<usize, u32>;
/// The ids of each slot.
type Ids = BTreeMap<usize, Vec<u32>>;

fn prompts() -> Vec<Vec<u32>> {
    let ids = |case: &serde_json::Value| -> Vec<u32> {
        case["prompt_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    demo_cases().iter().map(ids).filter(|ids| ids.len() < 60).take(3).collect()
}

fn model(options: &Options) -> (Gemma4, Last) {
    let mut model = load(&demo(), &Options { slots: 3, ..options.clone() });
    let prompts = prompts();
    let last = (0..3).map(|slot| (slot, prefill(&mut model, slot, &prompts[slot], true).ids[0])).collect();
    (model, last)
}

/// Both paths of products: each row alone, and rows that share what they read.
fn all_options() -> [Options; 2] {
    let rounded = Options { precision: Precision::Fast, tier: Some(Tier::Dot), ..Options::exact() };
    [Options::exact(), rounded]
}

/// `count` ids of each slot in steps of all of them that wait.
fn wait(model: &mut Gemma4, slots: &[usize], last: &mut Last, count: usize) -> Ids {
    let all: Vec<usize> = (0..slots.len()).collect();
    let mut out = Ids::new();
    for _ in 0..count {
        let row = |&slot: &usize| Row { slot, position: model.len(slot), token: last[&slot] };
        let rows: Vec<Row> = slots.iter().map(row).collect();
        for (slot, id) in slots.iter().zip(model.step(&rows, Want::Greedy(&all)).unwrap().ids) {
            last.insert(*slot, id);
            out.entry(*slot).or_default().push(id);
        }
    }
    out
}

fn next(slots: &[usize], token: impl Fn(usize) -> Option<u32>, draw: impl Fn(usize) -> Option<Draw>) -> Vec<Next> {
    slots.iter().map(|&slot| Next { slot, token: token(slot), draw: draw(slot) }).collect()
}

/// `count` ids of each slot, with as many steps under way as there may be, also when the last ids are read. `given` says
/// that the host gives the first step its tokens.
fn run_ahead(model: &mut Gemma4, slots: &[usize], last: &mut Last, mut given: bool, count: usize) -> Ids {
    let mut out = Ids::new();
    for _ in 0..count {
        while model.submit(&next(slots, |slot| given.then(|| last[&slot]), |_| None), &[]).unwrap() {
            given = false;
        }
        for Chosen { slot, token: id } in model.next_ids().unwrap() {
            last.insert(slot, id);
            out.entry(slot).or_default().push(id);
        }
    }
    out
}

/// Slot 1 stops early, and nothing of the steps under way stays in it: it goes on later as if it had only paused.
#[test]
fn slots_that_run_ahead_together_get_the_ids_of_steps_that_wait() {
    for options in all_options() {
        let (mut waiting, mut last) = model(&options);
        let (mut ahead, mut last_ahead) = model(&options);
        assert!(ahead.runs_ahead(3) && !ahead.runs_ahead(17));

        let first = wait(&mut waiting, &[0, 1, 2], &mut last, 6);
        assert_eq!(run_ahead(&mut ahead, &[0, 1, 2], &mut last_ahead, true, 6), first);
        assert_eq!(ahead.len(1), waiting.len(1) + 1, "a step is under way");
        assert_eq!(ahead.truncate(1, waiting.len(1)), waiting.len(1));

        // The step under way still has the ids of the others, whose rows stand in another order from here on.
        let pair = wait(&mut waiting, &[2, 0], &mut last, 5);
        assert_eq!(run_ahead(&mut ahead, &[2, 0], &mut last_ahead, false, 5), pair);
        for slot in [0, 2] {
            assert_eq!(ahead.truncate(slot, waiting.len(slot)), waiting.len(slot));
        }
        assert_eq!(last_ahead, last);

        let again = wait(&mut waiting, &[1, 0, 2], &mut last, 4);
        assert_eq!(run_ahead(&mut ahead, &[1, 0, 2], &mut last_ahead, true, 4), again);
    }
}

/// A slot that joins brings its token, while those of the others are still on the device.
#[test]
fn a_slot_joins_steps_under_way() {
    let (mut waiting, mut last) = model(&Options::exact());
    let (mut ahead, mut last_ahead) = model(&Options::exact());
    let alone = wait(&mut waiting, &[2], &mut last, 1);
    let expected = wait(&mut waiting, &[0, 2], &mut last, 3);

    let token = |slot| Some(last_ahead[&slot]);
    assert!(ahead.submit(&next(&[2], token, |_| None), &[]).unwrap());
    assert!(ahead.submit(&next(&[0, 2], |slot| token(slot).filter(|_| slot == 0), |_| None), &[]).unwrap());
    assert!(!ahead.submit(&next(&[0, 2], |_| None, |_| None), &[]).unwrap(), "two steps are under way");
    assert_eq!(ahead.next_ids().unwrap(), [Chosen { slot: 2, token: alone[&2][0] }]);
    assert_eq!(ahead.next_ids().unwrap(), [0, 2].map(|slot| Chosen { slot, token: expected[&slot][0] }));
    let rest = run_ahead(&mut ahead, &[0, 2], &mut last_ahead, false, 2);
    assert!([0, 2].iter().all(|slot| rest[slot] == expected[slot][1..]), "{rest:?}, expected {expected:?}");
}

/// Slots with draws of their own beside greedy ones, and ids that none may get, against each slot alone.
#[test]
fn draws_beside_greedy_choices() {
    let (mut together, last) = model(&Options::exact());
    let (mut alone, _) = model(&Options::exact());
    let draw = |slot: usize, n: usize| {
        let random = (0.37 + 0.61 * n as f32 + 0.2 * slot as f32).fract();
        (slot != 1).then_some(Draw { top_k: 20, top_p: 0.95, inverse_temperature: 0.4, random })
    };
    // What the greedy slot would choose first.
    let suppressed = wait(&mut alone, &[1], &mut last.clone(), 1)[&1].clone();
    alone.truncate(1, together.len(1));

    let count = 8;
    let mut expected = Ids::new();
    for slot in 0..3 {
        let mut id = last[&slot];
        for n in 0..count {
            assert!(alone.submit(&next(&[slot], |_| Some(id), |slot| draw(slot, n)), &suppressed).unwrap());
            id = alone.next_ids().unwrap()[0].token;
            expected.entry(slot).or_default().push(id);
        }
    }
    assert!(expected.values().flatten().all(|id| *id != suppressed[0]));
    assert_ne!(expected[&1], wait(&mut together, &[1], &mut last.clone(), count)[&1], "suppression changes the answer");
    together.truncate(1, prompts()[1].len());

    let (mut ids, mut submitted) = (Ids::new(), 0);
    for _ in 0..count {
        let rows = |n: usize| next(&[0, 1, 2], |slot| (n == 0).then(|| last[&slot]), |slot| draw(slot, n));
        while submitted < count && together.submit(&rows(submitted), &suppressed).unwrap() {
            submitted += 1;
        }
        for Chosen { slot, token: id } in together.next_ids().unwrap() {
            ids.entry(slot).or_default().push(id);
        }
    }
    assert_eq!(ids, expected);
}

/// Another step's choice stands where the tokens of the next one stood.
#[test]
fn tokens_are_given_after_a_step_that_waits() {
    let (mut model, mut last) = model(&Options::exact());
    run_ahead(&mut model, &[0], &mut last, true, 1);
    wait(&mut model, &[1], &mut last, 1);
    let error = model.submit(&next(&[0], |_| None, |_| None), &[]).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("E-AHEAD", 2), "{error}");
    assert!(error.to_string().contains("slot 0"), "{error}");
}
