//! Which methods values have.

use std::rc::Rc;

use super::super::value::{Method, Value};

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
pub(in super::super) fn find(base: &Value, name: &str) -> Option<&'static str> {
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
pub(in super::super) fn changes(base: &Value, name: &str) -> bool {
    match base {
        Value::Dict(_) => DICT[6..].contains(&name),
        Value::List(_) => LIST[3..].contains(&name),
        _ => false,
    }
}

/// The method, bound to its value.
pub(in super::super) fn method(base: &Value, name: &'static str) -> Value {
    Value::Method(Rc::new(Method { of: base.clone(), name }))
}
