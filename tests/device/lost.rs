//! Losses at any point: an error that says so, and never a wrong token.

use std::ops::ControlFlow;
use std::time::Duration;

use lapidary::Error;
use lapidary::engine::{Generator, Request, Sampling};
use lapidary::gpu::Gpu;
use lapidary::testing::gpu::{Place, Readback, Recorder, Tensor, fault_injector};

use super::device::open;
use super::{checkpoint, generator, load, prompt};

const GREEDY: Request = Request { sampling: Sampling::GREEDY, max_tokens: Some(12) };

/// Generates until the end or an error; what was seen of the answer.
fn answer(generator: &mut Generator, destroy_at: Option<usize>) -> (Vec<u32>, lapidary::Result<Vec<u32>>) {
    let faults = fault_injector(generator.model().gpu());
    let (mut seen, mut calls) = (Vec::new(), 0);
    let outcome = generator.generate(0, &prompt(), &GREEDY, &mut |id| {
        seen.extend(id);
        if destroy_at == Some(calls) {
            faults.destroy();
        }
        calls += 1;
        ControlFlow::Continue(())
    });
    (seen, outcome.map(|outcome| outcome.ids))
}

fn assert_lost(what: &str, error: &Error) {
    assert!(matches!(error, Error::DeviceLost(_)) && error.exit_code() == 5, "{what}: {error:?}");
}

/// Before the first step, before each submission of prefill and answer, between steps, and from another thread at any
/// time: the answer so far is the beginning of the undisturbed one, and all later calls give the same error.
#[test]
fn a_loss_anywhere_is_an_error() {
    let checkpoint = checkpoint();
    let mut undisturbed = generator(open(), &checkpoint).unwrap();
    let before = fault_injector(undisturbed.model().gpu()).submissions();
    let (_, expected) = answer(&mut undisturbed, None);
    let expected = expected.unwrap();
    let submissions = fault_injector(undisturbed.model().gpu()).submissions() - before;
    assert!(submissions >= 15, "{submissions} submissions");
    let check = |what: &str, mut generator: Generator, destroy_at| {
        let (seen, outcome) = answer(&mut generator, destroy_at);
        let error = outcome.expect_err(what);
        assert_lost(what, &error);
        assert!(expected.starts_with(&seen), "{what}: {seen:?} is no beginning of {expected:?}");
        let again = generator.generate(0, &prompt(), &GREEDY, &mut |_| ControlFlow::Continue(())).expect_err(what);
        assert_eq!(again.to_string(), error.to_string(), "{what}: the first error stays");
    };
    let new = || generator(open(), &checkpoint).unwrap();
    // Right before a submission: of chunks, of the first token, of steps that run ahead.
    // How many there are depends on how fast they are.
    for number in [0, 1, 2, 3, 4, 5, 9, 20, submissions / 2] {
        let generator = new();
        fault_injector(generator.model().gpu()).destroy_before_submission(number);
        check(&format!("submission {number}"), generator, None);
    }
    // Between steps, with the next ones under way.
    for call in [0, 1, 2, 3, 4, 6, 8] {
        check(&format!("call {call}"), new(), Some(call));
    }
    // While the device works, from another thread.
    for delay in [0, 1, 2, 4] {
        let generator = new();
        let faults = fault_injector(generator.model().gpu());
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(delay));
            faults.destroy();
        });
        check(&format!("after {delay} ms"), generator, None);
        thread.join().unwrap();
    }
}

/// Also while weights are uploaded and shaders compiled.
#[test]
fn a_loss_while_loading_is_an_error() {
    let checkpoint = checkpoint();
    let failed = |loaded: lapidary::Result<lapidary::model::Gemma4>| loaded.expect_err("the device is gone");
    let gpu = open();
    fault_injector(&gpu).destroy();
    assert_lost("before", &failed(load(gpu, &checkpoint)));
    // How many submissions the weights take depends on the threads; there is one at least.
    let gpu = open();
    fault_injector(&gpu).destroy_before_submission(0);
    assert_lost("uploading", &failed(load(gpu, &checkpoint)));
    let gpu = open();
    let faults = fault_injector(&gpu);
    // Whether the last weights or the last shaders are ready first depends on the adapter.
    let compiling = |progress| {
        if matches!(progress, lapidary::model::Progress::Pipelines { .. }) || weights_are_there(progress) {
            faults.destroy();
        }
    };
    let options = lapidary::model::Options::exact();
    assert_lost("compiling", &failed(lapidary::model::Gemma4::load(gpu, &checkpoint, &options, &compiling)));
}

fn weights_are_there(progress: lapidary::model::Progress) -> bool {
    matches!(progress, lapidary::model::Progress::Weights { done, total } if done == total)
}

/// A copy that was recorded and never made leaves what stood there before: that is no result.
#[test]
fn what_was_never_copied_is_no_result() {
    let gpu = open();
    let tensor = Tensor::compact(&gpu, "x", 1, 8).unwrap();
    tensor.write_rows(&gpu, &[1.0; 8]).unwrap();
    let readback = Readback::new(&gpu, &tensor, 1).unwrap();
    for _ in 0..3 {
        let mut recorder = Recorder::new(&gpu);
        recorder.read_into(&tensor, 1, &readback).unwrap();
        recorder.submit();
        assert_eq!(readback.read::<f32>(&gpu, 1).unwrap(), [1.0; 8]);
    }
    let mut recorder = Recorder::new(&gpu);
    recorder.read_into(&tensor, 1, &readback).unwrap();
    drop(recorder);
    let error = readback.read::<f32>(&gpu, 1).unwrap_err();
    assert!(matches!(&error, Error::Run(_)) && error.to_string().contains("ticket 3 came"), "{error}");
    assert_eq!(gpu.wait().unwrap_err().to_string(), error.to_string());
    assert_eq!(gpu.storage("y", 16).unwrap_err().to_string(), error.to_string());
}

/// A device that takes too long is given up.
#[test]
fn a_wait_ends() {
    let gpu = open().with_patience(Duration::ZERO);
    let big = 64 << 20;
    let (a, b) = (gpu.storage("a", big).unwrap(), gpu.storage("b", big).unwrap());
    let mut recorder = Recorder::new(&gpu);
    for _ in 0..32 {
        recorder.copy(Place::start(&a), Place::start(&b), big);
        recorder.copy(Place::start(&b), Place::start(&a), big);
    }
    recorder.submit();
    let error = gpu.wait().unwrap_err();
    assert!(matches!(&error, Error::Run(_)), "{error:?}");
    assert!(error.to_string().contains("did not finish within 0 seconds"), "{error}");
    assert_eq!(gpu.check().unwrap_err().to_string(), error.to_string());
}

/// A GPU that hangs is given up after ten seconds where its work was measured before, else after a minute, and the answer ends
/// with an error at once and for good. The clock is pretended: waits end when the device begins to hang.
#[test]
fn a_device_that_hangs_is_given_up() {
    let checkpoint = checkpoint();
    let hanging = |gpu: Gpu, is_measured: bool| {
        let mut generator = generator(gpu, &checkpoint).unwrap();
        if is_measured {
            answer(&mut generator, None).1.unwrap(); // A kernel that was not timed yet runs alone.
            answer(&mut generator, None).1.unwrap();
        }
        fault_injector(generator.model().gpu()).hang();
        let error = answer(&mut generator, None).1.unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert_eq!(answer(&mut generator, None).1.unwrap_err().to_string(), error.to_string());
        let Error::Run(failure) = error else { panic!("{error:?}") };
        failure.to_string()
    };
    let gpu = |milliseconds: f64| {
        open().pretending(move |_, groups| groups as f64 * milliseconds * 1e-3).with_measured_patience()
    };
    let message = hanging(gpu(1e-6), false);
    assert!(message.contains("did not finish within 60 seconds, expected far less; it hangs"), "{message}");
    let message = hanging(gpu(1e-6), true);
    assert!(message.contains("did not finish within 10 seconds, expected 0.0"), "{message}");
    assert!(message.contains(" by what was measured before; it hangs, or another program keeps it busy"), "{message}");
    // One dispatch is never divided: here all take a second and more.
    let message = hanging(gpu(1e3), true);
    let seconds: f64 = message.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((40.0..=60.0).contains(&seconds), "{message}");
}

/// What wgpu refuses becomes an error of ours, where it would panic.
#[test]
fn what_wgpu_refuses_is_an_error() {
    let gpu = open();
    let (a, b) = (gpu.storage("a", 16).unwrap(), gpu.storage("b", 16).unwrap());
    let mut recorder = Recorder::new(&gpu);
    recorder.copy(Place::start(&a), Place::start(&b), 32);
    recorder.submit();
    let error = gpu.wait().unwrap_err();
    assert!(matches!(&error, Error::Run(_)) && error.to_string().starts_with("the device reports:"), "{error}");
    assert_eq!(gpu.write(&a, 0, &[1u32]).unwrap_err().to_string(), error.to_string());
}
