//! The angles of rotary position embedding.

use super::layers::Rope;

impl Rope {
    /// cos and sin of the angles at `position` for the pairs that are rotated. Frequencies and angles are rounded to f32,
    /// as in transformers' `modeling_rope_utils`; cos and sin are exact for these angles, which WGSL's are not far from 0.
    pub(crate) fn angles(&self, head_dim: usize, position: usize) -> Vec<[f32; 2]> {
        (0..self.rotated_pairs)
            .map(|i| {
                let frequency = self.theta.powf(-2.0 * i as f64 / head_dim as f64) / self.factor;
                let angle = f64::from(frequency as f32 * position as f32);
                [angle.cos() as f32, angle.sin() as f32]
            })
            .collect()
    }
}
