//! How fast a device copies: what the bytes of a step are compared with.

use web_time::Instant;

use crate::Result;
use crate::gpu::{Gpu, Recorder};
use crate::kernels::Planner;
use crate::kernels::rows::copy_words;

/// Bytes of the buffer that is copied, if the device binds as many: more than any cache.
const COPY_BYTES: u64 = 256 << 20;
/// Seconds that a measurement should take at least.
const COPY_SECONDS: f64 = 0.05;

/// Bytes that the device reads and writes in a second of copying a large buffer.
///
/// # Errors
/// [`crate::Error::Memory`] where there is no room for the buffers.
pub fn copy_rate(gpu: &Gpu) -> Result<f64> {
    let bytes = COPY_BYTES.min(gpu.max_binding_bytes());
    let (x, y) = (gpu.storage("copy.x", bytes)?, gpu.storage("copy.y", bytes)?);
    let planner = Planner::new(gpu);
    let copy = planner.bind_all(&[copy_words::plan(&planner, "copy_words", &x, &y)?])?.remove(0);
    let seconds = |count: usize| -> Result<f64> {
        let mut recorder = Recorder::new(gpu);
        (0..count).for_each(|_| recorder.dispatch(&copy, 1));
        gpu.wait()?;
        let start = Instant::now();
        recorder.submit();
        gpu.wait()?;
        Ok(start.elapsed().as_secs_f64())
    };
    seconds(1)?;
    let count = (COPY_SECONDS / seconds(1)?).clamp(1.0, 1000.0) as usize;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        best = best.min(seconds(count)?);
    }
    gpu.forget_bytes(x.size() + y.size());
    Ok((2 * x.size()) as f64 * count as f64 / best)
}
