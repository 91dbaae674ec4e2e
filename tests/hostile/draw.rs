//! Random numbers of one test, others in each run.

use super::seed::seed;

pub(super) struct Draw(u64);

impl Draw {
    /// Those of this run; each `of` has its own.
    pub(super) fn new(of: &str) -> Self {
        Draw(seed(of.bytes().fold(0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))) | 1)
    }

    /// A number below `below`.
    pub(super) fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}
