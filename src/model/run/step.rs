//! A step: its rows, in the form that the shaders read, and what it brings back.

use crate::kernels::StepRow;

/// Steps of up to this many rows take the path for few rows; also the rows that get logits at a time.
pub(crate) const FEW_ROWS: usize = 16;

/// One token at one position of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The sequence's place in the KV cache.
    pub slot: usize,
    /// Position in the sequence, from 0.
    pub position: usize,
    /// Token id.
    pub token: u32,
}

/// What a step shall bring back, for which of its rows.
#[derive(Debug, Clone, Copy)]
pub enum Want<'a> {
    /// Nothing: the rows only enter the KV cache.
    Nothing,
    /// The greedy choice of the next token.
    Greedy(&'a [usize]),
    /// All logits.
    Logits(&'a [usize]),
}

/// What a step brought back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// The greedy choice for each row that wanted it.
    pub ids: Vec<u32>,
    /// `[rows that wanted logits, vocab_size]`.
    pub logits: Vec<f32>,
}

/// An inner tensor of a step, `[rows, width]` without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Values of a row.
    pub width: usize,
    /// All rows.
    pub values: Vec<f32>,
}

/// The rows as the shaders see them. Rows of a slot must stand together, at consecutive positions: the attention kernel
/// finds a step's own keys by counting from the slot's first row.
///
/// # Panics
/// Where a slot's rows are apart or a position is left out.
pub(crate) fn step_rows(rows: &[Row]) -> Vec<StepRow> {
    let mut out: Vec<StepRow> = Vec::with_capacity(rows.len());
    let number = |value: usize| u32::try_from(value).expect("slots and positions are bounded by the context");
    for part in rows.chunk_by(|a, b| a.slot == b.slot) {
        let first = out.len();
        assert!(out.iter().all(|row| row.slot != number(part[0].slot)), "rows of slot {} are apart", part[0].slot);
        assert!(
            part.windows(2).all(|pair| pair[1].position == pair[0].position + 1),
            "rows of slot {} leave out a position",
            part[0].slot
        );
        out.extend(part.iter().map(|row| StepRow {
            token: row.token,
            slot: number(row.slot),
            position: number(row.position),
            first: number(first),
            first_position: number(part[0].position),
            last_position: number(part[part.len() - 1].position),
            pad: [0; 2],
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slot: usize, position: usize) -> Row {
        Row { slot, position, token: 7 }
    }

    #[test]
    fn rows_know_their_slot_s_first_and_last() {
        let rows = step_rows(&[row(1, 5), row(1, 6), row(0, 9)]);
        let seen: Vec<_> = rows.iter().map(|r| (r.first, r.first_position, r.last_position)).collect();
        assert_eq!(seen, [(0, 5, 6), (0, 5, 6), (2, 9, 9)]);
    }

    #[test]
    #[should_panic(expected = "rows of slot 1 are apart")]
    fn a_slot_s_rows_stand_together() {
        step_rows(&[row(1, 5), row(0, 9), row(1, 6)]);
    }

    #[test]
    #[should_panic(expected = "leave out a position")]
    fn positions_are_consecutive() {
        step_rows(&[row(1, 5), row(1, 7)]);
    }
}
