//! What would help: data, which whoever shows an error puts into its own words.

use std::fmt;

/// Something that a caller can change. The command line names flags for it, another program whatever it has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A context of at most so many positions.
    ShorterContext(usize),
    /// A context whose whole memory is planned and taken at the start.
    PlannedContext,
    /// A budget for the device's memory, within which everything is planned and taken at the start.
    Budget,
    /// Keys and values in codes of so many bits.
    SmallerCache {
        /// Bits of a code.
        bits: u32,
    },
    /// A head in codes of so many bits.
    SmallerHead {
        /// Bits of a code.
        bits: u32,
    },
    /// The experts of so many layers, from the first on, in host memory.
    ExpertsOnHost(usize),
    /// Precision that rounds no activations.
    ExactPrecision,
    /// Links that may lead out of the model's folder.
    FollowLinks,
    /// The checks of [`crate::doctor`], all of them.
    Examine,
    /// An adapter that is opened without what is recorded of its checks.
    IgnoreRecord,
    /// A DXC for the shaders of DX12, where the system has only FXC.
    Compiler {
        /// What brings one.
        how: String,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::ShorterContext(positions) => write!(f, "a context of {positions}"),
            Remedy::PlannedContext => f.write_str("a context that is planned at the start"),
            Remedy::Budget => f.write_str("a budget for memory"),
            Remedy::SmallerCache { bits } => write!(f, "a KV cache in int{bits}"),
            Remedy::SmallerHead { bits } => write!(f, "a head in int{bits}"),
            Remedy::ExpertsOnHost(1) => f.write_str("the experts of 1 layer in host memory"),
            Remedy::ExpertsOnHost(layers) => write!(f, "the experts of {layers} layers in host memory"),
            Remedy::ExactPrecision => f.write_str("exact precision"),
            Remedy::FollowLinks => f.write_str("following links"),
            Remedy::Examine => f.write_str("the doctor"),
            Remedy::IgnoreRecord => f.write_str("ignoring the record of its checks"),
            Remedy::Compiler { how } => write!(f, "DXC: {how}"),
        }
    }
}

/// How remedies are put into words; all of a list are meant together.
pub type Speller<'a> = dyn Fn(&[Remedy]) -> String + 'a;

/// The words of this library: no flags, no commands.
pub(super) fn plain(together: &[Remedy]) -> String {
    together.iter().map(Remedy::to_string).collect::<Vec<_>>().join(" and ")
}

/// Alternatives, each in the words of `spell`: `a, or b`.
pub(super) fn any_of(alternatives: &[Remedy], spell: &Speller) -> String {
    alternatives.iter().map(|one| spell(std::slice::from_ref(one))).collect::<Vec<_>>().join(", or ")
}
