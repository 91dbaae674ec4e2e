//! A device that fails: losses, allocations without room, results that never came.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "device/determinism.rs"]
mod determinism;
#[path = "common/device.rs"]
mod device;
#[path = "device/lost.rs"]
mod lost;
#[path = "device/memory.rs"]
mod memory;
#[path = "device/pace.rs"]
mod pace;
#[path = "device/recovery.rs"]
mod recovery;

use std::path::Path;

use lapidary::Result;
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::engine::Generator;
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options};

/// The golden checkpoint with the fewest kernels: each device compiles its own.
fn checkpoint() -> Checkpoint {
    golden("dense-gptq-desc-act")
}

fn golden(name: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    Checkpoint::open(Source::Directory(folder)).unwrap()
}

/// The checkpoint's model on `gpu`.
fn load(gpu: Gpu, checkpoint: &Checkpoint) -> Result<Gemma4> {
    Gemma4::load(gpu, checkpoint, &Options { chunk_rows: 16, ..Options::exact() }, &|_| ())
}

/// A generator whose answers are as long as they may be.
fn generator(gpu: Gpu, checkpoint: &Checkpoint) -> Result<Generator> {
    Ok(Generator::new(load(gpu, checkpoint)?, &[], &[]))
}

/// A prompt of several chunks.
fn prompt() -> Vec<u32> {
    (0..60).map(|i| 5 + (i * 37) % 500).collect()
}
