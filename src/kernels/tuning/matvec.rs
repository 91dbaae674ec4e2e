//! Products of one row and of few rows: how many lanes share rows of weights, and how many rows.

use crate::gpu::Kind;

/// From so many rows of weights on they keep every device busy: each lane may take more of them.
const MANY_ROWS: usize = 65536;
/// Fewer rows of weights than this are cut into more pieces, which keeps more reads in flight.
const FEW_ROWS: usize = 8192;

/// What products of one row and of few rows run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatvecTuning {
    /// Products of f32 activations, and of rounded ones where `rounded` is `None`.
    pub spread: Spread,
    /// Products of rounded activations.
    pub rounded: Option<RoundedShapes>,
    /// Whether a lane holds what it reads of one round at a time, and multiplies it in loops that compilers cannot unroll:
    /// for few registers, and where products of int8 are unpacked.
    pub rolled: bool,
    /// Whether f32 activations are multiplied with dense weights by eight, not by whole chunks.
    pub by_words: bool,
}

/// How a product is spread over lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Always alike, with loop bounds from the parameters: a CPU compiles long and gains nothing by unrolling.
    Fixed(Shape),
    /// So that about this many lanes are busy: many rows leave each lane more of them, which saves reading x; few rows are
    /// cut into more pieces, which keeps more reads in flight.
    Fill {
        /// Lanes of all workgroups together.
        lanes: usize,
        /// Rows of weights of a lane: where there are fewer than 65536, and where there are more. 1, 2 or 4.
        lane_rows: [u32; 2],
    },
}

/// A workgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Lanes, a power of two up to 512.
    pub threads: u32,
    /// Lanes that share rows of weights, a power of two up to `threads`.
    pub lanes: u32,
    /// Rows that they share: 1, 2 or 4.
    pub lane_rows: u32,
}

/// Shapes for products of rounded activations. More threads than a device has are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundedShapes {
    /// Gate and up of one product, of which a lane takes both.
    pub gated: Shape,
    /// The same for the experts of several rows, which need fewer lanes each.
    pub gated_experts: Shape,
    /// Down projections of the experts of several rows.
    pub experts: Shape,
    /// Four rows of x that share weights: where these have fewer than 65536 rows, and more.
    pub several: [Shape; 2],
    /// Two rows of x that share weights: where these have fewer than 8192 rows, fewer than 65536, and more.
    pub two: [Shape; 3],
    /// One row of x: where weights have fewer than 8192 rows, and more.
    pub one: [Shape; 2],
}

/// Which rows of x a product has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) enum RowsOfX {
    One,
    Two,
    Several,
    /// Of several rows, each with its experts.
    Experts,
}

impl MatvecTuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => MatvecTuning::fixed(shape(8, 1, 4)),
            Kind::Nvidia => MatvecTuning::filling(160 << 10),
            // 64 registers leave 8 waves of 64 lanes a SIMD.
            Kind::Rdna => MatvecTuning { by_words: true, ..MatvecTuning::lean(160 << 10) },
            Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                MatvecTuning { by_words: true, rolled: true, ..MatvecTuning::lean(160 << 10) }
            }
        }
    }

    /// All products alike, in workgroups of one shape.
    pub const fn fixed(shape: Shape) -> Self {
        MatvecTuning { spread: Spread::Fixed(shape), rounded: None, rolled: false, by_words: false }
    }

    /// As measured on an H200, so that about `lanes` lanes are busy.
    pub const fn filling(lanes: usize) -> Self {
        let spread = Spread::Fill { lanes, lane_rows: [2, 4] };
        MatvecTuning { spread, rounded: Some(MEASURED), rolled: false, by_words: false }
    }

    /// As [`MatvecTuning::filling`], with fewer rows of weights a lane.
    pub const fn lean(lanes: usize) -> Self {
        let spread = Spread::Fill { lanes, lane_rows: [1, 1] };
        let rounded = RoundedShapes { several: [shape(256, 32, 2), shape(256, 32, 2)], ..MEASURED };
        MatvecTuning { spread, rounded: Some(rounded), ..MatvecTuning::filling(lanes) }
    }

    /// The shape for a product of f32 activations with `rows` rows of weights of `chunks` chunks each.
    pub(in crate::kernels) fn shape(self, rows: usize, chunks: usize, gated: bool) -> Shape {
        match self.spread {
            Spread::Fixed(shape) => Shape { lane_rows: shape.lane_rows.max(if gated { 2 } else { 1 }), ..shape },
            Spread::Fill { lanes, lane_rows } => {
                let lane_rows = match rows {
                    _ if gated => 2,
                    0..MANY_ROWS => lane_rows[0],
                    _ => lane_rows[1],
                };
                let wanted = lanes / rows.div_ceil(lane_rows as usize).max(1);
                // The power of two that is next to it.
                let near = (wanted * 4 / 3).max(1).next_power_of_two().div_ceil(2);
                let lanes = near.clamp(16, 64).min(chunks.next_power_of_two()) as u32;
                Shape { threads: lanes.max(64), lanes, lane_rows }
            }
        }
    }

    /// Whether loop bounds come from the parameters.
    pub(in crate::kernels) fn is_fixed(self) -> bool {
        matches!(self.spread, Spread::Fixed { .. })
    }
}

/// As measured on an H200 with the shapes of 26B-A4B: four rows of x are worth more where more rows of weights share them,
/// and the experts of several rows need fewer lanes each.
const MEASURED: RoundedShapes = RoundedShapes {
    gated: shape(512, 32, 2),
    gated_experts: shape(512, 16, 2),
    experts: shape(256, 64, 2),
    several: [shape(256, 32, 2), shape(256, 32, 4)],
    two: [shape(512, 64, 1), shape(256, 32, 2), shape(256, 8, 2)],
    one: [shape(256, 64, 1), shape(256, 32, 2)],
};

impl RoundedShapes {
    /// The shape for a product with `n_rows` rows of weights.
    pub(in crate::kernels) fn shape(self, n_rows: usize, gated: bool, rows: RowsOfX) -> Shape {
        match (rows, gated, n_rows) {
            (RowsOfX::Experts, true, _) => self.gated_experts,
            (_, true, _) => self.gated,
            (RowsOfX::Experts, false, _) => self.experts,
            (RowsOfX::Several, false, 0..MANY_ROWS) => self.several[0],
            (RowsOfX::Several, false, _) => self.several[1],
            (RowsOfX::Two, false, 0..FEW_ROWS) => self.two[0],
            (RowsOfX::Two, false, 0..MANY_ROWS) => self.two[1],
            (RowsOfX::Two, false, _) => self.two[2],
            (RowsOfX::One, false, 0..FEW_ROWS) => self.one[0],
            (RowsOfX::One, false, _) => self.one[1],
        }
    }
}

impl Shape {
    /// With at most `most` threads, where a workgroup must still have `groups` groups of lanes that share rows.
    pub(in crate::kernels) fn within(self, most: u32, groups: u32) -> Self {
        let threads = self.threads.min(most);
        Shape { threads, lanes: self.lanes.min(threads / groups), ..self }
    }
}

const fn shape(threads: u32, lanes: u32, lane_rows: u32) -> Shape {
    Shape { threads, lanes, lane_rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gated products make whole blocks of 16, and shapes fit a workgroup of 256 threads after a cut.
    #[test]
    fn shapes_are_what_the_shader_takes() {
        for kind in Kind::ALL {
            let Some(rounded) = MatvecTuning::of(kind).rounded else { continue };
            let RoundedShapes { gated, gated_experts, experts, several, two, one } = rounded;
            for shape in [&[gated, gated_experts, experts][..], &several, &two, &one].concat() {
                assert!(shape.threads.is_power_of_two() && (64..=512).contains(&shape.threads), "{kind}: {shape:?}");
                assert!(shape.lanes.is_power_of_two() && shape.lanes <= shape.threads, "{kind}: {shape:?}");
                assert!([1, 2, 4].contains(&shape.lane_rows), "{kind}: {shape:?}");
            }
            for shape in [gated, gated_experts] {
                assert!(shape.lane_rows == 2 && shape.threads / shape.lanes >= 16, "{kind}: {shape:?}");
            }
        }
    }

    /// Where a device has no 512 threads.
    #[test]
    fn shapes_are_cut_to_the_device() {
        assert_eq!(MEASURED.gated.within(256, 16), shape(256, 16, 2));
        assert_eq!(MEASURED.gated_experts.within(256, 16), shape(256, 16, 2));
        assert_eq!(MEASURED.two[0].within(256, 1), shape(256, 64, 1));
        assert_eq!(MEASURED.gated.within(1024, 16), MEASURED.gated);
    }
}
