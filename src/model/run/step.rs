//! A step: its rows, in the form that the shaders read, and what it brings back.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::error::Usage;
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

impl Want<'_> {
    /// Fails for rows that a step of `n_rows` rows does not have.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] with the first of them.
    pub(crate) fn check(&self, n_rows: usize) -> Result<()> {
        let (Want::Greedy(rows) | Want::Logits(rows)) = self else { return Ok(()) };
        match rows.iter().find(|row| **row >= n_rows) {
            Some(&row) => Err(Usage::Row { row, rows: n_rows }.into()),
            None => Ok(()),
        }
    }
}

/// What a step brought back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// The greedy choice for each row that wanted it.
    pub ids: Vec<u32>,
    /// `[rows that wanted logits, vocab_size]`.
    pub logits: Vec<f32>,
}

/// What a step brought back, with what was computed on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// What was asked for.
    pub output: Output,
    /// Inner tensors by name.
    pub activations: BTreeMap<String, Activation>,
}

/// An inner tensor of a step, `[rows, width]` without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Values of a row.
    pub width: usize,
    /// All rows.
    pub values: Vec<f32>,
}

/// Fails for rows that are no step behind what the slots hold, positions by `held`: rows of a slot stand together, at
/// consecutive positions, since the attention kernel finds a step's own keys by counting from the slot's first row.
///
/// # Errors
/// [`crate::Error::Usage`] that names the slot.
pub(crate) fn check_continued(rows: &[Row], held: impl Fn(usize) -> usize) -> Result<()> {
    let mut seen = BTreeSet::new();
    for part in rows.chunk_by(|a, b| a.slot == b.slot) {
        let slot = part[0].slot;
        if !seen.insert(slot) {
            return Err(Usage::Apart { slot }.into());
        }
        for (row, expected) in part.iter().zip(held(slot)..) {
            if row.position != expected {
                return Err(Usage::NotContinued { slot, found: row.position, expected }.into());
            }
        }
    }
    Ok(())
}

/// The rows as the shaders see them, of a step that was checked.
pub(crate) fn step_rows(rows: &[Row]) -> Vec<StepRow> {
    let mut out: Vec<StepRow> = Vec::with_capacity(rows.len());
    let number = |value: usize| u32::try_from(value).expect("slots and positions are bounded by the context");
    for part in rows.chunk_by(|a, b| a.slot == b.slot) {
        let first = out.len();
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
    fn rows_continue_what_slots_hold() {
        let said = |rows: &[Row]| {
            let checked = check_continued(rows, |slot| if slot == 1 { 5 } else { 9 });
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(said(&[row(1, 5), row(1, 6), row(0, 9)]), Ok(()));
        let apart = said(&[row(1, 5), row(0, 9), row(1, 6)]).expect_err("rows apart");
        assert_eq!(apart, "rows of slot 1 are apart, expected them together");
        for (rows, found, expected) in [([row(1, 5), row(1, 7)], 7, 6), ([row(1, 4), row(1, 5)], 4, 5)] {
            let gap = said(&rows).expect_err("a gap");
            assert!(
                gap.starts_with(&format!("a row at position {found} of slot 1, expected position {expected}")),
                "{gap}"
            );
        }
    }
}
