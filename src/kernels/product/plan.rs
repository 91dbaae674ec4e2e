//! Products with weights: `matvec.wgsl` for one row of x at a time and for experts, `matmul.wgsl` for many rows.
//!
//! `y[t, n] = sum_k x[t, k] * w[n, k]`, and for experts `y[p, n] = sum_k x[p / x_repeat, k] * w[ids[p], n, k]`.

use super::matmul;
use super::matvec::{self, Form};
use super::operands::Target;
use crate::Result;
use crate::gpu::Tensor;
use crate::kernels::rounding::rounded::Input;
use crate::kernels::{Planned, Planner, Weights};

pub use super::operands::{FIELDS, Params, Rows};

/// Plans `y = x w^T`, one dispatch for each part of the weights. `softcap` caps logits; 0 leaves them.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan<'a>(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: impl Into<Input<'a>>,
    y: &Tensor,
    softcap: f32,
) -> Result<Vec<Planned>> {
    assert_eq!(y.width, weights.out_features, "{label}: width of y");
    plan_parts(planner, label, weights, rows, x.into(), Target { y, column: 0, softcap })
}

/// As [`plan`], into the columns of y from `column` on.
///
/// # Errors
/// As [`plan`].
pub fn plan_columns<'a>(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: impl Into<Input<'a>>,
    (y, column): (&Tensor, usize),
) -> Result<Vec<Planned>> {
    assert!(column + weights.out_features <= y.width, "{label}: columns of y");
    plan_parts(planner, label, weights, rows, x.into(), Target { y, column, softcap: 0.0 })
}

fn plan_parts(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    input: Input,
    target: Target,
) -> Result<Vec<Planned>> {
    let rows = match rows {
        Rows::Many(count) => matmul::Rows::All(count),
        Rows::Grouped { groups, repeat } => matmul::Rows::Grouped { groups, repeat },
        Rows::Few | Rows::Two | Rows::Several(_) | Rows::Experts { .. } => {
            let plan =
                |part| matvec::plan_part(planner, label, weights, part, rows, input, target, (Form::Plain, None));
            return weights.parts.iter().map(plan).collect();
        }
    };
    matmul::plan(planner, label, weights, rows, input.x, target)
}
