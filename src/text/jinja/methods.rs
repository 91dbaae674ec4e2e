//! The methods of values: those of Python's `str`, `dict`, `list` and the like that change nothing.

mod cases;
pub(super) mod names;
mod strings;

use std::rc::Rc;

use super::args::{Args, required};
use super::compare::equal;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::number::big;
use super::slice::collected;
use super::value::{Items, Method, Value, View};

pub(super) use cases::{cased, has_case};
pub(super) use strings::{Side, lines, pad, replace, strip};

/// Calls a method.
pub(super) fn call(eval: &Eval, method: &Method, args: Args) -> Run<Value> {
    let ctx = eval.ctx;
    let name = method.name;
    ctx.budget.steps(1)?;
    match (&method.of, name) {
        (Value::Str(text), _) => strings::call(eval, text, name, args),
        (Value::Dict(dict), "get") => {
            let [key, default] = args.bind(name, ["key", "default"])?;
            let key = ctx.key(&required(key, name, "key")?)?;
            let found = dict.entries.get(&key).map(|(_, value)| value.clone());
            Ok(found.or(default).unwrap_or(Value::None))
        }
        (Value::Dict(dict), "keys" | "values" | "items") => {
            args.none(name)?;
            let view = match name {
                "keys" => View::Keys,
                "values" => View::Values,
                _ => View::Items,
            };
            Ok(Value::View(view, Rc::clone(dict)))
        }
        // What cannot be changed is its own copy.
        (Value::Dict(_) | Value::List(_), "copy") => {
            args.none(name)?;
            Ok(method.of.clone())
        }
        (Value::Dict(_), "fromkeys") => {
            let [keys, value] = args.bind(name, ["iterable", "value"])?;
            let items = required(keys, name, "iterable")?.items(&ctx.budget)?.ready(&ctx.budget)?;
            let value = value.unwrap_or(Value::None);
            let keys = collected(ctx, &items)?;
            ctx.dict(keys.into_iter().map(|key| (key, value.clone())).collect())
        }
        (Value::List(_) | Value::Tuple(_) | Value::Range(_), "index" | "count") => search(eval, &method.of, name, args),
        (Value::Cycler(cycler), "next") => {
            args.none(name)?;
            let at = cycler.at.get();
            cycler.at.set((at + 1) % cycler.items.len());
            Ok(cycler.items[at].clone())
        }
        (Value::Cycler(cycler), "reset") => {
            args.none(name)?;
            cycler.at.set(0);
            Ok(Value::None)
        }
        (Value::Loop(state), "cycle") => {
            if args.positional.is_empty() {
                return Err(Fault::failed("no items for cycling given"));
            }
            Ok(args.positional[state.index.get() % args.positional.len()].clone())
        }
        (Value::Loop(state), "changed") => eval.loop_changed(state, args),
        (Value::Float(n), "is_integer") => {
            args.none(name)?;
            Ok(Value::Bool(n.is_finite() && n.fract() == 0.0))
        }
        (other, "bit_length") => {
            args.none(name)?;
            Ok(Value::Int(big(other).unwrap_or_default().bits() as i64))
        }
        (other, "conjugate") => {
            args.none(name)?;
            Ok(other.clone())
        }
        (other, _) => {
            let of = other.type_name();
            Err(Fault::Forbidden(format!("found the method '{name}' of '{of}', which is not offered")))
        }
    }
}

/// `index` and `count` of lists.
fn search(eval: &Eval, list: &Value, name: &str, args: Args) -> Run<Value> {
    let ctx = eval.ctx;
    let [wanted, start, stop] = args.bind(name, ["value", "start", "stop"])?;
    let wanted = required(wanted, name, "value")?;
    let items: Items = list.items(&ctx.budget)?;
    let length = items.len() as i64;
    let bound = |value: Option<Value>, default: i64| match value {
        None => Ok(default),
        Some(value) => value.index(name).map(|n| if n < 0 { (n + length).max(0) } else { n.min(length) }),
    };
    let mut count = 0;
    for index in bound(start, 0)?..bound(stop, length)? {
        let Some(item) = items.get(&ctx.budget, index as usize)? else { break };
        if equal(ctx, &item, &wanted)? {
            if name == "index" {
                return Ok(Value::Int(index));
            }
            count += 1;
        }
    }
    if name == "count" { Ok(Value::Int(count)) } else { Err(Fault::failed("the value is not in the list")) }
}
