//! The methods of values: those of Python's `str`, `dict`, `list` and the like that change nothing.

mod cases;
mod strings;

use std::rc::Rc;

use super::args::{Args, required};
use super::compare::equal;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::value::{Items, Method, Value, View};

pub(super) use cases::{cased, has_case};
pub(super) use strings::{Side, lines, pad, replace, strip};

const STR: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const DICT: [&str; 11] =
    ["get", "keys", "values", "items", "copy", "fromkeys", "clear", "pop", "popitem", "setdefault", "update"];
const LIST: [&str; 11] =
    ["index", "count", "copy", "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
const INT: [&str; 6] = ["bit_length", "bit_count", "conjugate", "as_integer_ratio", "to_bytes", "from_bytes"];
const FLOAT: [&str; 5] = ["is_integer", "as_integer_ratio", "hex", "fromhex", "conjugate"];

/// The method of this name that values of this type have.
pub(super) fn find(base: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match base {
        Value::Str(_) => &STR,
        Value::Dict(_) => &DICT,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &LIST[..2],
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => &INT,
        Value::Float(_) => &FLOAT,
        Value::Cycler(_) => &["next", "reset"],
        Value::Loop(_) => &["cycle", "changed"],
        _ => &[],
    };
    names.iter().find(|known| **known == name).copied()
}

/// Whether the method would change the value, which no template may.
pub(super) fn changes(base: &Value, name: &str) -> bool {
    match base {
        Value::Dict(_) => DICT[6..].contains(&name),
        Value::List(_) => LIST[3..].contains(&name),
        _ => false,
    }
}

/// The method, bound to its value.
pub(super) fn method(base: &Value, name: &'static str) -> Value {
    Value::Method(Rc::new(Method { of: base.clone(), name }))
}

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
            let keys = super::lookup::collected(ctx, &items)?;
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
            Ok(Value::Int(super::expr::big(other).unwrap_or_default().bits() as i64))
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
