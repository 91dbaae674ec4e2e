//! Which tiles products of many rows take, by the weights and by the rows of a step.

use super::weights::{Part, Weights, run};
use crate::gpu::StepRows;
use crate::gpu::Tier;
use crate::kernels::{Planner, word};
use crate::quant::{Dtype, Format, Grouped};

/// Dense weights of fewer output features stay in f32: there is little to gain, and a router must not lose precision.
const MIN_ROUNDED_FEATURES: usize = 512;

/// Whether cooperative matrices may multiply such weights: rounded to f16 they must stay what they are.
pub(crate) fn can_round(weights: &Weights) -> bool {
    match weights.format {
        Format::Grouped(_) => true,
        Format::Dense(Dtype::F32) => false,
        Format::Dense(Dtype::F16 | Dtype::BF16) => weights.out_features >= MIN_ROUNDED_FEATURES,
    }
}

/// Bits of the codes, where blocks of 32 weights share a scale and codes less the zero point fit 8 bits.
pub(crate) fn dot_bits(weights: &Weights) -> Option<u32> {
    let &Grouped { bits, group, .. } = weights.format.grouped()?;
    let fits = |part: &Part| part.g_idx.is_none() && (bits == 4 || part.zeros.is_none());
    (run(weights.extent.first_row, group) == 32 && weights.parts.iter().all(fits)).then_some(bits)
}

/// The tiles for steps of some numbers of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Place in `plain` of [`crate::kernels::tuning::TileTuning`] and its likes.
    pub number: usize,
    /// The least and the most rows of a step.
    pub step_rows: StepRows,
}

impl Size {
    /// What all steps take.
    pub(crate) const ONLY: Size = Size { number: 0, step_rows: StepRows::ALL };

    /// The small tiles for steps of up to `most` rows, the large ones for those of more.
    fn split(most: usize) -> [Size; 2] {
        let small = StepRows { most: word(most), ..StepRows::ALL };
        let large = StepRows { least: word(most) + 1, ..StepRows::ALL };
        [Size { number: 0, step_rows: small }, Size { number: 1, step_rows: large }]
    }

    /// What products of up to `rows` rows with such weights take.
    pub(crate) fn of(planner: &Planner, rows: usize, weights: &Weights) -> Vec<Self> {
        let tuning = &planner.tuning.tiles;
        let (height, width, enough) = match planner.matrix_side().filter(|_| can_round(weights)) {
            Some(side) => {
                let large = tuning.matrix[1];
                (large.height(side), large.width(side), tuning.enough_matrix)
            }
            None if planner.tier >= Tier::Dot && dot_bits(weights).is_some() => return vec![Size::ONLY],
            None => (tuning.plain[1].height(), tuning.plain[1].width(), tuning.enough),
        };
        let across = weights.out_features.div_ceil(width as usize);
        let most = (enough.div_ceil(across) - 1) * height as usize;
        match rows <= most {
            true => vec![Size::ONLY],
            // Also a step of one row then has enough tiles.
            false if most == 0 => vec![Size { number: 1, ..Size::ONLY }],
            false => Size::split(most).to_vec(),
        }
    }

    /// What grouped rows of steps of up to `rows` rows take.
    pub(crate) fn of_experts(planner: &Planner, rows: usize, top_k: usize, n_experts: usize) -> Vec<Self> {
        let most = planner.tuning.experts.small_rows * n_experts / top_k;
        let [small, large] = Size::split(most);
        match rows <= most || small.expert_rows(planner) == large.expert_rows(planner) {
            true => vec![Size::ONLY],
            false => vec![small, large],
        }
    }

    /// Rows of a tile of grouped rows.
    pub(crate) fn expert_rows(self, planner: &Planner) -> u32 {
        let tuning = &planner.tuning.experts;
        match (planner.matrix_side(), planner.tier) {
            (Some(side), _) => tuning.matrix[self.number].height(side),
            (None, Tier::Plain) => tuning.plain[self.number].height(),
            (None, _) => tuning.dot[self.number].height(),
        }
    }
}

impl Planner<'_> {
    /// Rows of a tile of the rows that a step of `rows` rows has for the experts of a rank, alike for all its products.
    pub(crate) fn expert_tile_rows(&self, rows: usize, top_k: usize, n_experts: usize) -> u32 {
        let sizes = Size::of_experts(self, rows, top_k, n_experts);
        sizes.last().expect("one at least").expert_rows(self)
    }
}
