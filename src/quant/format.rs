//! How a matrix is: what its numbers stand for, whatever file they come from and wherever they lie.

use super::dtype::Dtype;
use crate::{Fault, Result};

/// How the values of a matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// As they are.
    Dense(Dtype),
    /// As codes, of which groups of input features share a scale.
    Grouped(Grouped),
}

/// Codes in groups: `w[n, k] = scale[n, g] * value(code[n, k])`, shifted as [`Shift`] says, where `g` is the group of `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grouped {
    /// Bits of a code.
    pub bits: u32,
    /// Input features of a group, all of them where a row is one group. The last group may be short.
    pub group: usize,
    /// Which input features are a group.
    pub order: Order,
    /// Precision of the scales. They may be negative.
    pub scale: Dtype,
    /// What is stored for each group besides its scale.
    pub shift: Shift,
    /// What a code stands for.
    pub values: Values,
}

/// Which input features are a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Order {
    /// Neighbours.
    Consecutive,
    /// A table tells the group of each (`g_idx`, act-order).
    PerRow,
}

/// What shifts the values of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shift {
    /// Nothing: `s * (c - 2^(bits - 1))`, or `s * table[c]`.
    None,
    /// A whole number as wide as a code: `s * (c - z)` (GPTQ, AWQ, compressed-tensors).
    Zero,
    /// A number of this precision: `s * c + b` (MLX, K-quants). As a zero point `-b / s` it would not be exact.
    Addend(Dtype),
}

/// What codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Values {
    /// Themselves.
    Linear,
    /// Numbers of a table (FP4, NF4, IQ4).
    Table(Codebook),
}

/// The 16 values of codes of 4 bits: f32 by their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Codebook([u32; 16]);

impl Codebook {
    /// A table of these values.
    pub fn new(values: [f32; 16]) -> Self {
        Codebook(values.map(f32::to_bits))
    }

    /// What `code`, of 4 bits, stands for.
    pub(super) fn value(&self, code: u32) -> f32 {
        f32::from_bits(self.0[code as usize])
    }
}

impl Grouped {
    /// Codes of `bits` in groups of `group` neighbours, symmetric.
    pub const fn symmetric(bits: u32, group: usize, scale: Dtype) -> Self {
        Grouped { bits, group, order: Order::Consecutive, scale, shift: Shift::None, values: Values::Linear }
    }

    /// Groups of a row of `in_features`; none where a group has no features, as in no matrix.
    pub fn groups(&self, in_features: usize) -> usize {
        if self.group == 0 { 0 } else { in_features.div_ceil(self.group) }
    }

    /// Codes, or zero points, in a word.
    pub(crate) fn codes_per_word(&self) -> usize {
        32 / self.bits as usize
    }
}

impl Format {
    /// Symmetric codes of `bits` in groups of `group` neighbours with f16 scales: the usual kind.
    pub const fn int(bits: u32, group: usize) -> Self {
        Format::Grouped(Grouped::symmetric(bits, group, Dtype::F16))
    }

    /// The format of a matrix with `in_features`, in a few words: `bf16`, `int4 g32 sym`, `int4 per-channel asym g_idx`.
    pub fn describe(&self, in_features: usize) -> String {
        let Format::Grouped(Grouped { bits, group, order, shift, values, .. }) = *self else {
            return self.scale_label().to_owned();
        };
        let kind = match values {
            Values::Linear => "int",
            Values::Table(_) => "table",
        };
        let size = if group == in_features { "per-channel".to_owned() } else { format!("g{group}") };
        let shift = match shift {
            Shift::None => "sym",
            Shift::Zero => "asym",
            Shift::Addend(_) => "addend",
        };
        let order = if order == Order::PerRow { " g_idx" } else { "" };
        format!("{kind}{bits} {size} {shift}{order}")
    }

    /// As [`Self::describe`], with what else [`Self::stacks_with`] looks at.
    pub(crate) fn describe_stack(&self, in_features: usize) -> String {
        let format = self.describe(in_features);
        match self {
            Format::Dense(_) => format,
            Format::Grouped(_) => format!("{format} with {} scales", self.scale_label()),
        }
    }

    fn scale_label(&self) -> &'static str {
        match self {
            Format::Dense(dtype) => dtype.label(),
            Format::Grouped(grouped) => grouped.scale.label(),
        }
    }

    /// Codes in groups, unless it is dense.
    pub fn grouped(&self) -> Option<&Grouped> {
        match self {
            Format::Dense(_) => None,
            Format::Grouped(grouped) => Some(grouped),
        }
    }

    /// Whether two equally shaped matrices can be of one stack: they may differ in zero points and in the order of groups.
    pub fn stacks_with(&self, other: &Format) -> bool {
        self.stacked(other).is_some()
    }

    /// The format of a stack of matrices of both: with zero points if any of them has some, and tables if any has one. `None` if
    /// they cannot be of one stack.
    pub(crate) fn stacked(&self, other: &Format) -> Option<Format> {
        let (Format::Grouped(one), Format::Grouped(two)) = (self, other) else {
            return (self == other).then_some(*self);
        };
        let alike = |shift| if shift == Shift::Zero { Shift::None } else { shift };
        let plain = |of: &Grouped| Grouped { order: Order::Consecutive, shift: alike(of.shift), ..*of };
        let both = Grouped { order: one.order.max(two.order), shift: one.shift.max(two.shift), ..*one };
        (plain(one) == plain(two)).then_some(Format::Grouped(both))
    }

    /// Whether the kernels multiply by matrices of this format. This is the one place that says so.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming what of it they do not do.
    pub fn check_runs(&self) -> Result<()> {
        let Format::Grouped(Grouped { bits, shift, values, .. }) = *self else { return Ok(()) };
        let what = match (bits, shift, values) {
            (_, _, Values::Table(_)) => "codes that stand for the values of a table".to_owned(),
            (_, Shift::Addend(dtype), _) => format!("groups with an addend ({})", dtype.label()),
            (4 | 8, Shift::None | Shift::Zero, Values::Linear) => return Ok(()),
            (bits, ..) => format!("{bits}-bit codes"),
        };
        let fault = Fault::checkpoint().found(format!("{what} are not supported yet"));
        Err(fault.expected("4-bit or 8-bit codes with whole zero points").unsupported().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: Grouped = Grouped {
        bits: 4,
        group: 32,
        order: Order::Consecutive,
        scale: Dtype::F16,
        shift: Shift::None,
        values: Values::Linear,
    };

    #[test]
    fn words_for_formats() {
        let describe = |grouped| Format::Grouped(grouped).describe(96);
        assert_eq!(Format::Dense(Dtype::BF16).describe(96), "bf16");
        assert_eq!(describe(INT4), "int4 g32 sym");
        let asymmetric = Grouped { bits: 8, group: 96, order: Order::PerRow, shift: Shift::Zero, ..INT4 };
        assert_eq!(describe(asymmetric), "int8 per-channel asym g_idx");
        assert_eq!(describe(Grouped { shift: Shift::Addend(Dtype::BF16), ..INT4 }), "int4 g32 addend");
        let table = Values::Table(Codebook::new([0.5; 16]));
        assert_eq!(describe(Grouped { group: 16, values: table, ..INT4 }), "table4 g16 sym");
    }

    #[test]
    fn stacks_of_zero_points_and_tables() {
        let [plain, zeros, table] =
            [INT4, Grouped { shift: Shift::Zero, ..INT4 }, Grouped { order: Order::PerRow, ..INT4 }]
                .map(Format::Grouped);
        let all = Grouped { shift: Shift::Zero, order: Order::PerRow, ..INT4 };
        assert_eq!(plain.stacked(&plain), Some(plain));
        assert_eq!(zeros.stacked(&plain), Some(zeros));
        assert_eq!(table.stacked(&zeros), Some(Format::Grouped(all)));
        let others = [
            Grouped { bits: 8, ..INT4 },
            Grouped { group: 64, ..INT4 },
            Grouped { scale: Dtype::F32, ..INT4 },
            Grouped { shift: Shift::Addend(Dtype::F16), ..INT4 },
            Grouped { values: Values::Table(Codebook::new([1.0; 16])), ..INT4 },
        ];
        for other in others.map(Format::Grouped).into_iter().chain([Format::Dense(Dtype::F16)]) {
            assert!(!plain.stacks_with(&other) && !other.stacks_with(&zeros), "{other:?}");
        }
        assert!(!Format::Dense(Dtype::F32).stacks_with(&Format::Dense(Dtype::F16)));
    }

    #[test]
    fn what_no_kernel_does_is_refused_by_name() {
        let refusal = |grouped| Format::Grouped(grouped).check_runs().err().map(|error| error.to_string());
        for bits in [4, 8] {
            assert_eq!(refusal(Grouped { bits, order: Order::PerRow, shift: Shift::Zero, ..INT4 }), None);
        }
        let table = Values::Table(Codebook::new([0.0; 16]));
        for (grouped, word) in [
            (Grouped { bits: 3, ..INT4 }, "3-bit codes are not supported yet"),
            (
                Grouped { shift: Shift::Addend(Dtype::BF16), ..INT4 },
                "groups with an addend (bf16) are not supported yet",
            ),
            (Grouped { values: table, ..INT4 }, "the values of a table are not supported yet"),
        ] {
            let refusal = refusal(grouped).unwrap_or_default();
            assert!(refusal.contains(word), "{word:?} in {refusal:?}");
        }
    }

    #[test]
    fn a_table_has_its_values() {
        let values: [f32; 16] = std::array::from_fn(|code| code as f32 - 7.5);
        let table = Codebook::new(values);
        assert_eq!((0..16).map(|code| table.value(code)).collect::<Vec<_>>(), values);
    }
}
