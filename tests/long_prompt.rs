//! A prompt that takes seconds, by the real clock: no submission keeps the device for long. It is alone in its binary, since
//! tests beside it would share the cores with a software adapter.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "common/device.rs"]
mod device;

use std::ops::ControlFlow;
use std::time::Duration;

use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::generate::{Generator, Request, Sampling};
use lapidary::model::{Gemma4, Options};

/// No submission may take longer.
const LIMIT: Duration = Duration::from_millis(250);

/// Another program may take the cores for a while, not three times.
#[test]
fn a_long_prompt_keeps_the_device_for_short_times_only() {
    let demo = Source::Directory(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model").into());
    let checkpoint = Checkpoint::open(demo).unwrap();
    let prompt: Vec<u32> = (0..1800).map(|i| 20 + (i * 37) % 3000).collect();
    let longest = || {
        let options = Options { context: Some(2048), ..Options::default() };
        let model = Gemma4::load(device::open().watched(), &checkpoint, &options, &|_| ()).unwrap();
        let mut generator = Generator::new(model, &[], &[]);
        let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(8) };
        generator.generate(0, &prompt, &request, &mut |_| ControlFlow::Continue(())).unwrap();
        generator.model().gpu().longest_submission()
    };
    let all: Vec<Duration> = (0..3).map(|_| longest()).take_while(|longest| *longest > LIMIT).collect();
    assert!(all.len() < 3, "{all:?}");
}
