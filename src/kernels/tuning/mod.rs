//! Shapes of workgroups, by family of kernels and by [`Kind`] of device: which numbers of lanes, of values that a lane
//! holds and of bytes of workgroup memory suit a compiler and its registers. `docs/hardware.md` has the facts behind the
//! entries.
//!
//! Each family has a module: the struct of its values, the rules that turn shapes of tensors into workgroups, and an entry
//! for each kind. A rule belongs here where another kind of device may want another one; what a shader demands of its
//! constants stays with the shader's host file.

pub mod attention;
pub mod kind;
pub mod matvec;
pub mod norms;
pub mod tiles;

pub use attention::{AttentionFew, AttentionMany};
pub use kind::Kind;
pub use matvec::{MatvecTuning, RoundedShapes, Shape, Spread};
pub use norms::NormTuning;
pub use tiles::{ExpertTuning, TileTuning};

use crate::gpu::Gpu;

/// Shapes of workgroups for one kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// The kind that the values are for.
    pub kind: Kind,
    /// Products of one row and of few.
    pub matvec: MatvecTuning,
    /// Products of many rows with one matrix.
    pub tiles: TileTuning,
    /// Products of many rows, each with the matrices of its experts.
    pub experts: ExpertTuning,
    /// Attention of few rows.
    pub attention_few: AttentionFew,
    /// Attention of many rows.
    pub attention_many: AttentionMany,
    /// Norms, choices and samplers.
    pub norms: NormTuning,
    /// Whether lanes add up within subgroups where the device has them and the tier allows it.
    pub subgroups: bool,
}

impl Tuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        Tuning {
            kind,
            matvec: MatvecTuning::of(kind),
            tiles: TileTuning::of(kind),
            experts: ExpertTuning::of(kind),
            attention_few: AttentionFew::of(kind),
            attention_many: AttentionMany::of(kind),
            norms: NormTuning::of(kind),
            subgroups: true,
        }
    }

    /// The values for `gpu`.
    pub fn for_device(gpu: &Gpu) -> Self {
        Tuning::of(gpu.kind())
    }
}
