//! Inputs from a fixed seed.

/// A counter-based generator: splitmix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

/// How activations are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// In [-1, 1).
    Uniform,
    /// Mean 0, deviation 1.
    Normal,
    /// Normal, and one value in 64 is 60 times as large: what language models have.
    Outliers,
    /// Subnormal numbers; a device may take them for zero.
    Subnormal,
    /// Zeros.
    Zero,
}

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() >> 11) as usize % n
    }

    /// In [-1, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Mean 0, deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - (f64::from(self.uniform()) + 1.0) / 2.0).max(1e-12).ln()).sqrt();
        (radius * (std::f64::consts::PI * f64::from(self.uniform())).cos()) as f32
    }

    /// One value.
    pub fn value(&mut self, spread: Spread) -> f32 {
        match spread {
            Spread::Uniform => self.uniform(),
            Spread::Normal => self.normal(),
            Spread::Outliers if self.below(64) == 0 => 60.0 * self.normal(),
            Spread::Outliers => self.normal(),
            Spread::Subnormal => self.uniform() * 1e-38,
            Spread::Zero => 0.0,
        }
    }

    /// `count` values.
    pub fn values(&mut self, count: usize, spread: Spread) -> Vec<f32> {
        (0..count).map(|_| self.value(spread)).collect()
    }

    /// `0..n` in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}
