//! Seeds of tests that draw their cases: a new one a run, said, and taken back from `LAPIDARY_SEED`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// This run's seed.
pub(crate) static SEED: LazyLock<u64> = LazyLock::new(|| {
    let given = std::env::var("LAPIDARY_SEED").ok();
    let seed = match &given {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("LAPIDARY_SEED is {text:?}, expected a whole number")),
        None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 >> 10 & 0xffff_ffff,
    };
    // Past the test runner's capture: without it nobody could repeat what failed.
    std::io::stderr().write_all(format!("LAPIDARY_SEED={seed}\n").as_bytes()).ok();
    seed
});

/// Random numbers of one test.
pub(crate) struct Draw(u64);

impl Draw {
    /// Those of this run's seed; each `of` has its own.
    pub(crate) fn new(of: &str) -> Self {
        let mix = of
            .bytes()
            .fold(*SEED ^ 0x9e37_79b9_7f4a_7c15, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Draw(mix | 1)
    }

    /// A number below `below`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}
