//! The tests of jinja2: `is defined` and the others.

use num_integer::Integer;

use super::args::{Args, required};
use super::compare::{self, contains, equal, identical};
use super::ctx::Ctx;
use super::fault::{Fault, Run, unknown};
use super::filters::names;
use super::methods::has_case;
use super::number::{Number, big};
use super::spell::string;
use super::value::Value;

const NAMES: [&str; 37] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
    "==",
    "!=",
    "<",
    ">",
];

/// Whether there is a test of this name.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || matches!(name, "<=" | ">=")
}

/// `value is name(args)`.
pub(super) fn apply(ctx: &Ctx, name: &str, value: &Value, args: Args) -> Run<bool> {
    ctx.budget.steps(1)?;
    match name {
        "eq" | "equalto" | "==" | "ne" | "!=" | "lt" | "lessthan" | "<" | "le" | "<=" | "gt" | "greaterthan" | ">"
        | "ge" | ">=" | "in" | "sameas" | "divisibleby" => {
            let [other] = args.bind(
                name,
                [match name {
                    "in" => "seq",
                    "sameas" => "other",
                    "divisibleby" => "num",
                    _ => "b",
                }],
            )?;
            with_other(ctx, name, value, &required(other, name, "other")?)
        }
        _ => {
            args.none(name)?;
            alone(ctx, name, value)
        }
    }
}

fn with_other(ctx: &Ctx, name: &str, a: &Value, b: &Value) -> Run<bool> {
    let order = |spelling| compare::order(ctx, a, b, spelling);
    Ok(match name {
        "eq" | "equalto" | "==" => equal(ctx, a, b)?,
        "ne" | "!=" => !equal(ctx, a, b)?,
        "lt" | "lessthan" | "<" => order("<")?.is_some_and(|o| o.is_lt()),
        "le" | "<=" => order("<=")?.is_some_and(|o| o.is_le()),
        "gt" | "greaterthan" | ">" => order(">")?.is_some_and(|o| o.is_gt()),
        "ge" | ">=" => order(">=")?.is_some_and(|o| o.is_ge()),
        "in" => contains(ctx, b, a)?,
        "sameas" => identical(ctx, a, b)?,
        _ => is_multiple(ctx, a, b)?,
    })
}

fn is_multiple(ctx: &Ctx, a: &Value, b: &Value) -> Run<bool> {
    if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
        let rest = super::number::binary(&ctx.budget, super::ast::Binary::Mod, &x, &y)?;
        return equal(ctx, &rest, &Value::Int(0));
    }
    match (a, b) {
        (Value::Undefined(missing), _) | (_, Value::Undefined(missing)) => Err(Value::missing(missing)),
        _ => Err(Fault::failed("divisibleby: found no number, expected one")),
    }
}

fn alone(ctx: &Ctx, name: &str, value: &Value) -> Run<bool> {
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_) | Value::Big(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => Number::of(value).is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => match value {
            Value::Dict(dict) => !dict.answer,
            Value::Undefined(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => true,
            _ => false,
        },
        "iterable" => matches!(
            value,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
                | Value::View(..)
                | Value::Iter(_)
                | Value::Loop(_)
        ),
        "callable" => matches!(
            value,
            Value::Undefined(_)
                | Value::Macro(_)
                | Value::Function(_)
                | Value::Method(_)
                | Value::Loop(_)
                | Value::Joiner(_)
        ),
        "escaped" => false,
        "odd" | "even" => match big(value) {
            Some(n) => n.is_odd() == (name == "odd"),
            None => match value {
                Value::Float(n) => (n.rem_euclid(2.0) == 1.0) == (name == "odd") && (n.fract() == 0.0),
                Value::Undefined(missing) => return Err(Value::missing(missing)),
                other => return Err(Fault::failed(format!("{name}: found {}, expected int", other.type_name()))),
            },
        },
        "lower" | "upper" => {
            let Value::Str(text) = string(ctx, value)? else { return Ok(false) };
            ctx.budget.reads(2 * text.text.len())?;
            has_case(&text.text, name == "upper")
        }
        "filter" => value.as_text().is_some_and(|name| names::is_known(&name.text)),
        "test" => value.as_text().is_some_and(|name| is_known(&name.text)),
        _ => return Err(unknown("test", name)),
    })
}
