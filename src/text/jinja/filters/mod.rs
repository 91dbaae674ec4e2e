//! The filters of jinja2, with transformers' own `tojson`.

pub(super) mod names;
mod sequences;
mod texts;

use super::args::Args;
use super::ctx::Ctx;
use super::fault::{Fault, Run, unknown};
use super::format;
use super::number::{self, Number, int, parse_float, parse_int, rounded, truncated};
use super::spell::string;
use super::value::Value;
use num_bigint::BigInt;
use num_traits::{FromPrimitive, Signed};

use names::is_known;
use sequences::{Path, all};

/// `value | name(args)`.
pub(super) fn apply(ctx: &Ctx, name: &str, value: &Value, args: Args) -> Run<Value> {
    ctx.budget.steps(1)?;
    match name {
        "default" | "d" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
            let falsy = boolean.is_some_and(|b| b.is_true()) && !value.is_true();
            if !matches!(value, Value::Undefined(_)) && !falsy {
                return Ok(value.clone());
            }
            default.map_or_else(|| ctx.text(""), Ok)
        }
        "length" | "count" => {
            args.none(name)?;
            length(value)
        }
        "string" => {
            args.none(name)?;
            string(ctx, value)
        }
        "safe" => {
            args.none(name)?;
            string(ctx, value)
        }
        "tojson" => super::tojson::tojson(ctx, value, args),
        "abs" => {
            args.none(name)?;
            absolute(value)
        }
        "int" => to_int(ctx, value, args),
        "float" => to_float(ctx, value, args),
        "round" => round(ctx, value, args),
        "filesizeformat" => file_size(ctx, value, args),
        "format" => {
            let text = string(ctx, value)?;
            let text = ctx.expect_text(&text, name)?;
            if !args.named.is_empty() && !args.positional.is_empty() {
                return Err(Fault::failed("can't handle positional and keyword arguments at the same time"));
            }
            let values = if args.named.is_empty() {
                ctx.tuple(args.positional)?
            } else {
                let named = args.named.into_iter().map(|(name, value)| Ok((ctx.text(&name)?, value)));
                ctx.dict(named.collect::<Run<Vec<_>>>()?)?
            };
            format::percent(ctx, text, &values)
        }
        "map" => map(ctx, value, args),
        "random" | "urlize" | "wordwrap" => {
            Err(Fault::Forbidden(format!("found the filter '{name}', which is not offered")))
        }
        "upper" | "lower" | "title" | "capitalize" | "trim" | "center" | "replace" | "indent" | "truncate"
        | "wordcount" | "e" | "escape" | "forceescape" | "striptags" | "urlencode" | "xmlattr" | "pprint" => {
            texts::apply(ctx, name, value, args)
        }
        _ if is_known(name) => sequences::apply(ctx, name, value, args),
        _ => Err(unknown("filter", name)),
    }
}

fn length(value: &Value) -> Run<Value> {
    match value.len() {
        Some(length) => Ok(Value::Int(length as i64)),
        None => Err(Fault::failed(format!("object of type '{}' has no len()", value.type_name()))),
    }
}

fn absolute(value: &Value) -> Run<Value> {
    match (Number::of(value), value) {
        (Some(Number::Float(n)), _) => Ok(Value::Float(n.abs())),
        (Some(number), _) => Ok(int(number.big().unwrap_or_default().abs())),
        (None, Value::Undefined(missing)) => Err(Value::missing(missing)),
        (None, other) => Err(Fault::failed(format!("bad operand type for abs(): '{}'", other.type_name()))),
    }
}

fn to_int(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [default, base] = args.bind("int", ["default", "base"])?;
    let default = default.unwrap_or(Value::Int(0));
    if let Value::Undefined(missing) = value {
        return Err(Value::missing(missing));
    }
    let Value::Str(text) = value else {
        return Ok(match Number::of(value) {
            Some(Number::Float(n)) if n.is_nan() => default,
            // Python's int() raises OverflowError here, which the filter does not catch.
            Some(Number::Float(n)) => truncated(n)?,
            Some(number) => int(number.big().unwrap_or_default()),
            None => default,
        });
    };
    let base = base.map_or(Ok(10), |base| base.index("int: base"))?;
    ctx.budget.reads(text.text.len())?;
    ctx.budget.steps(if text.text.len() > 100 { 10_000 } else { 1 })?;
    let whole = parse_int(&text.text, u32::try_from(base).unwrap_or(1));
    if let Some(whole) = whole {
        return Ok(int(whole));
    }
    match parse_float(&text.text) {
        Some(n) if n.is_finite() => truncated(n),
        _ => Ok(default),
    }
}

fn to_float(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [default] = args.bind("float", ["default"])?;
    let default = default.unwrap_or(Value::Float(0.0));
    match value {
        Value::Undefined(missing) => Err(Value::missing(missing)),
        Value::Str(text) => {
            ctx.budget.reads(4 * text.text.len())?;
            Ok(parse_float(&text.text).map_or(default, Value::Float))
        }
        other => Number::of(other).map_or(Ok(default), |n| n.float().map(Value::Float)),
    }
}

fn round(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let places = precision.map_or(Ok(0), |p| p.index("round: precision"))?;
    let method = method.map_or_else(|| ctx.text("common"), Ok)?;
    let method = ctx.expect_text(&method, "round: method")?.text.to_string();
    let number = match (Number::of(value), value) {
        (Some(number), _) => number,
        (None, Value::Undefined(missing)) => return Err(Value::missing(missing)),
        (None, other) => return Err(Fault::failed(format!("round: found {}, expected a number", other.type_name()))),
    };
    match (method.as_str(), &number) {
        ("common", Number::Float(n)) => {
            ctx.budget.steps(8 + usize::try_from(places.unsigned_abs().min(400)).unwrap_or(0) / 2)?;
            Ok(Value::Float(rounded(*n, places)))
        }
        ("common", _) if places >= 0 => Ok(int(number.big().unwrap_or_default())),
        ("common", _) => {
            let value = number.big().unwrap_or_default();
            if places < -(number::INT_DIGITS as i64) {
                return Ok(Value::Int(0));
            }
            ctx.budget.steps(places.unsigned_abs() as usize)?;
            let unit = BigInt::from(10).pow(places.unsigned_abs() as u32);
            Ok(int(number::nearest(&value, &unit)))
        }
        ("ceil" | "floor", _) => {
            // `func(value * 10**precision) / 10**precision`, whatever types these have in Python.
            let scale = number::binary(&ctx.budget, super::ast::Binary::Pow, &Number::Int(10), &Number::Int(places))?;
            let scale = Number::of(&scale).unwrap_or(Number::Int(1));
            let scaled = number::binary(&ctx.budget, super::ast::Binary::Mul, &number, &scale)?;
            let whole = match Number::of(&scaled) {
                Some(Number::Float(n)) => {
                    let n = if method == "ceil" { n.ceil() } else { n.floor() };
                    int(BigInt::from_f64(n)
                        .ok_or_else(|| Fault::failed("cannot convert float infinity or NaN to integer"))?)
                }
                _ => scaled,
            };
            let whole = Number::of(&whole).unwrap_or(Number::Int(0));
            number::binary(&ctx.budget, super::ast::Binary::Div, &whole, &scale)
        }
        _ => Err(Fault::failed("method must be common, ceil or floor")),
    }
}

fn file_size(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [binary] = args.bind("filesizeformat", ["binary"])?;
    let binary = binary.is_some_and(|b| b.is_true());
    let Value::Float(bytes) = to_float(ctx, value, Args::default())? else {
        return Err(Fault::failed("could not convert to float"));
    };
    let (base, names) = if binary {
        (1024f64, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
    } else {
        (1000f64, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
    };
    if bytes == 1.0 {
        return ctx.text("1 Byte");
    }
    if bytes < base {
        return ctx.text(&format!("{} Bytes", bytes.trunc()));
    }
    let mut unit = base;
    for (i, name) in names.iter().enumerate() {
        unit = base.powi(i as i32 + 2);
        if bytes < unit {
            return ctx.text(&format!("{:.1} {name}", base * bytes / unit));
        }
    }
    ctx.text(&format!("{:.1} {}", base * bytes / unit, names[7]))
}

fn map(ctx: &Ctx, value: &Value, mut args: Args) -> Run<Value> {
    let by_attribute = args.positional.is_empty() && args.named.iter().any(|(name, _)| &**name == "attribute");
    // What is false is taken as empty, even if it cannot be walked through.
    let items = if value.is_true() { all(ctx, value)? } else { Vec::new() };
    let mut out = Vec::with_capacity(items.len());
    if by_attribute {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let default = default.filter(|d| !matches!(d, Value::None));
        let path = Path::new(ctx, attribute, true, default)?;
        for item in items {
            out.push(path.key(ctx, &item)?);
        }
    } else {
        if args.positional.is_empty() {
            return Err(Fault::failed("map requires a filter argument"));
        }
        let name = args.positional.remove(0);
        let name = ctx.shown(ctx.expect_text(&name, "map")?)?.into_owned();
        for item in items {
            ctx.budget.steps(args.positional.len() + args.named.len())?;
            out.push(apply(ctx, &name, &item, args.clone())?);
        }
    }
    Value::iter(&ctx.budget, "generator", out)
}
