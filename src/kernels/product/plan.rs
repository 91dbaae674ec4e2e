//! The one entrance to products: weights, rows, what goes in, what becomes of it, and what may run beside it. Which kernels that
//! takes, and what is fused, is decided here: by the number of rows, the tier, and how the weights lie on the device.
//!
//! `y[t, n] = sum_k x[t, k] * w[n, k]`, and for experts `y[p, n] = sum_k x[p / x_repeat, k] * w[ids[p], n, k]`.

use std::ops::Range;

use super::joined::{Joined, Named};
use super::matvec::{self, Beside, Form};
use super::operands::{Rows, Target};
use super::{gelu_mul, matmul, matmul_grouped};
use crate::error::Usage;
use crate::gpu::Tensor;
use crate::kernels::experts::router::MAX_EXPERTS;
use crate::kernels::experts::{moe_sum, router};
use crate::kernels::rounding::int8_by_16::{self, Input};
use crate::kernels::{Planned, Planner, Weights};
use crate::quant::CHUNK;
use crate::{Error, Result};

/// What is multiplied with.
#[derive(Debug, Clone, Copy)]
enum Matrices<'a> {
    One(&'a Weights),
    Joined(&'a Joined),
}

/// Where `gelu(x w_gate^T) * (x w_up^T)` goes.
#[derive(Debug, Clone, Copy)]
pub struct Gated<'a> {
    /// `[rows, 2 * width]`: products of gate and of up side by side, where these are not gated at once.
    pub gate_up: Option<&'a Tensor>,
    /// `[rows, width]`.
    pub y: &'a Tensor,
    /// Receives y rounded, too, where x is rounded: what the next product reads.
    pub rounded: Option<&'a Tensor>,
}

/// Where the weighted sum of a token's experts goes.
#[derive(Debug, Clone)]
pub struct Summed<'a> {
    /// The experts, `[rows, top_k]` without padding.
    pub ids: &'a Tensor,
    /// Their factors, likewise.
    pub factors: &'a Tensor,
    /// The experts that the weights are.
    pub held: Range<usize>,
    /// `[rows * top_k, out_features]`: the products, where they are not added up at once.
    pub products: Option<&'a Tensor>,
    /// `[rows, out_features]`.
    pub y: &'a Tensor,
}

/// What the matrices' products become.
#[derive(Debug, Clone)]
enum Output<'a> {
    Plain { matrices: Matrices<'a>, y: &'a Tensor },
    Gated { matrices: Matrices<'a>, to: Gated<'a> },
    Summed { experts: &'a Weights, to: Summed<'a> },
}

/// A product, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Product<'a> {
    rows: Rows<'a>,
    x: Input<'a>,
    output: Output<'a>,
    softcap: f32,
    beside: Option<Beside<'a>>,
}

impl<'a> Product<'a> {
    /// `y = x w^T`, `[rows, out_features]`.
    pub fn new(weights: &'a Weights, rows: Rows<'a>, x: impl Into<Input<'a>>, y: &'a Tensor) -> Self {
        Self::of(rows, x.into(), Output::Plain { matrices: Matrices::One(weights), y })
    }

    /// As [`Self::new`] with several matrices, whose results stand side by side in y.
    pub(crate) fn joined(weights: &'a Joined, rows: Rows<'a>, x: Input<'a>, y: &'a Tensor) -> Self {
        Self::of(rows, x, Output::Plain { matrices: Matrices::Joined(weights), y })
    }

    /// `y = gelu(x w_gate^T) * (x w_up^T)` with weights that hold the rows of gate, then those of up.
    pub fn gated(weights: &'a Weights, rows: Rows<'a>, x: impl Into<Input<'a>>, to: Gated<'a>) -> Self {
        Self::of(rows, x.into(), Output::Gated { matrices: Matrices::One(weights), to })
    }

    /// As [`Self::gated`], with gate and up in one stack or each on its own.
    pub(crate) fn joined_gated(weights: &'a Joined, rows: Rows<'a>, x: Input<'a>, to: Gated<'a>) -> Self {
        Self::of(rows, x, Output::Gated { matrices: Matrices::Joined(weights), to })
    }

    /// `y[t] = sum_s factors[t, s] * (x[t * top_k + s] w[ids[t, s]]^T)`, over the experts that `weights` holds.
    pub fn summed(weights: &'a Weights, rows: Rows<'a>, x: impl Into<Input<'a>>, to: Summed<'a>) -> Self {
        Self::of(rows, x.into(), Output::Summed { experts: weights, to })
    }

    fn of(rows: Rows<'a>, x: Input<'a>, output: Output<'a>) -> Self {
        Product { rows, x, output, softcap: 0.0, beside: None }
    }

    /// With results capped, `c * tanh(y / c)`, as logits are. Only of a plain product.
    #[must_use]
    pub fn capped(mut self, cap: f32) -> Self {
        self.softcap = cap;
        self
    }

    /// With something else that reads nothing of it: in one dispatch with it where that is possible, behind it otherwise.
    #[must_use]
    pub fn beside(mut self, beside: impl Into<Option<Beside<'a>>>) -> Self {
        self.beside = beside.into();
        self
    }

    /// What the product leaves for the next one to read.
    pub fn result(&self, planner: &Planner) -> Input<'a> {
        match &self.output {
            Output::Plain { y, .. } => Input::from(*y),
            Output::Summed { to, .. } => Input::from(to.y),
            Output::Gated { to, .. } => {
                Input { x: to.y, rounded: self.gated_at_once(planner).and_then(|fused| fused.rounded) }
            }
        }
    }

    /// What is gated where it is multiplied, if it is.
    fn gated_at_once(&self, planner: &Planner) -> Option<GatedAtOnce<'a>> {
        let Output::Gated { matrices, to } = &self.output else { return None };
        let (label, weights) = match matrices {
            Matrices::One(weights) => (None, *weights),
            Matrices::Joined(joined) => joined.only().map(|one| (Some(one.label), &one.weights))?,
        };
        let is_fused = self.rows.are_few() && matvec::can_gate(weights);
        let rounded = to.rounded.filter(|_| self.x.rounded_for(planner, weights).is_some());
        is_fused.then_some(GatedAtOnce { label, weights, rounded })
    }
}

/// A product that is gated where it is multiplied.
struct GatedAtOnce<'a> {
    /// The stack's own label, where it has one.
    label: Option<&'static str>,
    weights: &'a Weights,
    /// Where the result is rounded to, if it is.
    rounded: Option<&'a Tensor>,
}

/// Plans a product: one dispatch for each part of the weights, with what it takes before and behind it. Matrices that stand side
/// by side have labels of their own; `label` is then that of what becomes of them, and names the product in errors.
///
/// # Errors
/// [`crate::Error::Usage`] where shapes do not go together; [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, product: &Product) -> Result<Vec<Planned>> {
    check(planner, label, product)?;
    plan_checked(planner, label, product)
}

fn plan_checked(planner: &Planner, label: &str, product: &Product) -> Result<Vec<Planned>> {
    let (rows, x) = (product.rows, product.x);
    let mut beside = product.beside;
    let mut planned = match &product.output {
        Output::Plain { matrices, y } => {
            let of = One { label, rows, x, softcap: product.softcap, form: Form::Plain };
            plan_plain(planner, &of, *matrices, y, &mut beside)?
        }
        Output::Gated { matrices, to } => match product.gated_at_once(planner) {
            Some(GatedAtOnce { label: own, weights, rounded }) => {
                let of = One { label: own.unwrap_or(label), rows, x, softcap: 0.0, form: Form::Gated(rounded) };
                let fused = beside.take_if(|beside| beside.fits(planner, weights, x, rounded));
                of.plan(planner, weights, to.y, 0, fused)?
            }
            None => {
                let of = One { label, rows, x, softcap: 0.0, form: Form::Plain };
                plan_gates_apart(planner, &of, *matrices, to)?
            }
        },
        Output::Summed { experts, to } => plan_sum(planner, label, product, experts, to)?,
    };
    if let Some(beside) = beside {
        planned.extend(plan_behind(planner, rows, beside)?);
    }
    Ok(planned)
}

/// Rows, and values from one to the next, at most: with what is made of them they fit a shader's numbers.
const MOST: usize = 1 << 30;

/// What the shapes of a product must be: whatever a caller puts together is refused here, before anything is planned.
fn check(planner: &Planner, label: &str, product: &Product) -> Result<()> {
    let (rows, x) = (product.rows, product.x.x);
    let (is_joined, all): (bool, Vec<&Weights>) = match product.output {
        Output::Summed { experts: weights, .. }
        | Output::Plain { matrices: Matrices::One(weights), .. }
        | Output::Gated { matrices: Matrices::One(weights), .. } => (false, vec![weights]),
        Output::Plain { matrices: Matrices::Joined(joined), .. }
        | Output::Gated { matrices: Matrices::Joined(joined), .. } => {
            (true, joined.0.iter().map(|one| &one.weights).collect())
        }
    };
    let is =
        |what, is_right, found: usize, expected: usize| Error::check_shape(label, what, is_right, &found, &expected);
    let same = |what, found: usize, expected: usize| is(what, found == expected, found, expected);
    for weights in &all {
        same("width of x", x.width, weights.in_features)?;
        is("first matrix", weights.first_matrix <= MOST, weights.first_matrix, 0)?;
        is("matrices", (1..=MOST).contains(&weights.n_matrices), weights.n_matrices, 1)?;
    }
    let padded = format_args!("whole chunks of {CHUNK}, at least {}", x.width);
    let is_padded = (x.width..=MOST).contains(&x.stride) && x.stride.is_multiple_of(CHUNK);
    Error::check_shape(label, "stride of x", is_padded, &x.stride, &padded)?;
    is("rows of x", (1..=MOST).contains(&x.rows), x.rows, 1)?;
    let room = |what, y: &Tensor| is(what, (y.width..=MOST).contains(&y.stride), y.stride, y.width);
    let compact = |what, tensor: &Tensor| same(what, tensor.stride, tensor.width);
    let rounded = |tensor: Option<&Tensor>, values: usize| match tensor {
        Some(tensor) => {
            same("width of what is rounded", tensor.width, int8_by_16::row_words(values))?;
            compact("stride of what is rounded", tensor)
        }
        None => Ok(()),
    };
    rounded(product.x.rounded, x.width)?;
    let top_k = |top_k: usize| is("experts of a token", (1..=MAX_EXPERTS).contains(&top_k), top_k, 1);
    let repeat = match rows {
        Rows::Experts { ids, repeat, .. } => {
            top_k(ids.width)?;
            compact("stride of the experts' ids", ids)?;
            repeat
        }
        Rows::Grouped { groups, repeat } => {
            top_k(groups.pairs.width)?;
            repeat
        }
        Rows::Few | Rows::Two | Rows::Several(_) | Rows::Many(_) => 1,
    };
    is("rows of y for one of x", (1..=MOST).contains(&repeat), repeat, 1)?;
    let out: usize = all.iter().map(|weights| weights.out_features).sum();
    match &product.output {
        // Others may use further columns of what several matrices share.
        Output::Plain { y, .. } => {
            is("width of y", y.width == out || (is_joined && y.width > out), y.width, out)?;
            room("stride of y", y)?;
        }
        Output::Gated { to, .. } => {
            same("width of y", to.y.width.saturating_mul(2), out)?;
            room("stride of y", to.y)?;
            rounded(to.rounded, to.y.width)?;
            if product.gated_at_once(planner).is_none() {
                let both = needed(label, "width of gate and up", to.gate_up)?;
                is("width of gate and up", both.width >= out, both.width, out)?;
                room("stride of gate and up", both)?;
            }
        }
        Output::Summed { to, .. } => {
            same("width of y", to.y.width, out)?;
            room("stride of y", to.y)?;
            let is_range = to.held.start <= to.held.end && to.held.end <= MOST;
            is("experts that are held", is_range, to.held.start, to.held.end)?;
            same("width of the factors", to.factors.width, to.ids.width)?;
            compact("stride of the factors", to.factors)?;
            compact("stride of the experts' ids", to.ids)?;
            if !rows.are_few() {
                let products = needed(label, "width of the products", to.products)?;
                same("width of the products", products.width, out)?;
                same("stride of the products", products.stride, to.y.stride)?;
            }
        }
    }
    let is_capped = product.softcap != 0.0 && !(all.len() == 1 && matches!(product.output, Output::Plain { .. }));
    Error::check_shape(label, "cap", !is_capped, &product.softcap, &"none: only a plain product is capped")?;
    match product.beside {
        Some(Beside::Product { label, weights, x, y }) => check(planner, label, &Product::new(weights, rows, x, y)),
        Some(Beside::Choice { label, choice }) => choice.check(label),
        None => Ok(()),
    }
}

/// A product with one stack of weights, but for these and where it goes.
#[derive(Clone, Copy)]
struct One<'a> {
    label: &'a str,
    rows: Rows<'a>,
    x: Input<'a>,
    softcap: f32,
    form: Form<'a>,
}

impl One<'_> {
    /// The product with `weights`, into the columns of `y` from `column` on.
    fn plan(
        &self,
        planner: &Planner,
        weights: &Weights,
        y: &Tensor,
        column: usize,
        beside: Option<Beside>,
    ) -> Result<Vec<Planned>> {
        let One { label, rows, x, softcap, form } = *self;
        let target = Target { y, column, softcap };
        match rows {
            Rows::Many(count) => matmul::plan(planner, label, weights, x.x, count, target),
            Rows::Grouped { groups, repeat } => {
                matmul_grouped::plan(planner, label, weights, x.x, groups, repeat, target)
            }
            Rows::Few | Rows::Two | Rows::Several(_) | Rows::Experts { .. } => {
                let few = matvec::Few { rows, input: x, target, form, beside };
                weights.parts.iter().map(|part| matvec::plan_part(planner, label, weights, part, &few)).collect()
            }
        }
    }

    /// Products side by side in `y`, each on its own.
    fn plan_each(&self, planner: &Planner, matrices: Matrices, y: &Tensor) -> Result<Vec<Planned>> {
        let joined = match matrices {
            Matrices::One(weights) => return self.plan(planner, weights, y, 0, None),
            Matrices::Joined(joined) => joined,
        };
        let (mut planned, mut column) = (Vec::new(), 0);
        for Named { label, weights } in &joined.0 {
            planned.extend(One { label, ..*self }.plan(planner, weights, y, column, None)?);
            column += weights.out_features;
        }
        Ok(planned)
    }
}

/// Products as they are; one stack may take what runs beside it.
fn plan_plain<'a>(
    planner: &Planner,
    of: &One,
    matrices: Matrices,
    y: &Tensor,
    beside: &mut Option<Beside<'a>>,
) -> Result<Vec<Planned>> {
    let (label, weights) = match matrices {
        Matrices::One(weights) => (of.label, weights),
        Matrices::Joined(joined) => match joined.only() {
            Some(one) => (one.label, &one.weights),
            None => return of.plan_each(planner, matrices, y),
        },
    };
    let fused = beside.take_if(|beside| beside.fits(planner, weights, of.x, None));
    One { label, ..*of }.plan(planner, weights, y, 0, fused)
}

/// Gate and up side by side, then what becomes of them.
fn plan_gates_apart(planner: &Planner, of: &One, matrices: Matrices, to: &Gated) -> Result<Vec<Planned>> {
    let both = needed(of.label, "width of gate and up", to.gate_up)?;
    let mut planned = of.plan_each(planner, matrices, both)?;
    let label = format!("{}.gelu_mul", of.label);
    planned.push(gelu_mul::plan(planner, &label, both, both, to.y.width, to.y, of.rows.of_y())?);
    Ok(planned)
}

/// The weighted sum of a token's experts: at once, or behind the products.
fn plan_sum(planner: &Planner, label: &str, product: &Product, experts: &Weights, to: &Summed) -> Result<Vec<Planned>> {
    let (rows, x, factors) = (product.rows, product.x, to.factors);
    if rows.are_few() {
        return One { label, rows, x, softcap: 0.0, form: Form::Sum { factors } }.plan(planner, experts, to.y, 0, None);
    }
    let products = needed(label, "width of the products", to.products)?;
    let apart = One { label, rows, x, softcap: 0.0, form: Form::Plain };
    let mut planned = apart.plan(planner, experts, products, 0, None)?;
    planned.push(moe_sum::plan(planner, "moe_sum", products, to.ids, factors, to.held.clone(), to.y)?);
    Ok(planned)
}

/// A tensor that only some ways of a product need.
fn needed<'a>(label: &str, what: &'static str, tensor: Option<&'a Tensor>) -> Result<&'a Tensor> {
    let (found, expected) = ("no tensor".to_owned(), "one".to_owned());
    tensor.ok_or_else(|| Usage::Shape { name: label.to_owned(), what, found, expected }.into())
}

/// What could not run in one dispatch with a product.
fn plan_behind(planner: &Planner, rows: Rows, beside: Beside) -> Result<Vec<Planned>> {
    match beside {
        Beside::Product { label, weights, x, y } => plan_checked(planner, label, &Product::new(weights, rows, x, y)),
        Beside::Choice { label, choice } => Ok(vec![router::plan(planner, label, choice)?]),
    }
}
