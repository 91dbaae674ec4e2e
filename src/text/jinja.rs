//! The language of chat templates: Jinja with Python's values, as transformers sets it up.
//!
//! transformers renders with jinja2's `ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)`, the
//! extension `loopcontrols`, its own `{% generation %}` and `tojson`, and the functions `raise_exception` and
//! `strftime_now`. What a template writes there it writes here, byte for byte.
//!
//! A template is a stranger's program. Each operation pays into a [`budget`] before it is done: a step for each node,
//! item and 32 bytes that are looked at, and the bytes of each value as long as it lives. Nesting is bounded where the
//! source is parsed ([`parser`]), where values are made ([`value`]) and where calls go deeper ([`eval`]); all of it, down
//! to dropping the last value, happens on the thread that the caller starts with [`STACK_BYTES`].

mod args;
mod ast;
#[cfg(test)]
mod bombs;
mod budget;
mod call;
mod chars;
mod checks;
mod compare;
mod ctx;
mod eval;
mod expr;
mod fault;
mod filters;
mod format;
mod functions;
mod key;
mod lexer;
mod lookup;
mod methods;
mod number;
mod parse_expr;
mod parser;
mod search;
mod slice;
mod spell;
mod statements;
#[cfg(test)]
mod tests;
mod text;
mod tojson;
mod value;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use web_time::SystemTime;

use num_bigint::BigInt;
use serde_json::Value as Json;

use super::special::Guard;
use budget::{Budget, Builder};
use ctx::Ctx;
use eval::Eval;
use fault::Run;
use value::{Dict, Scope, Value};

pub(crate) use budget::LIVE_BYTES;
pub(crate) use fault::Fault;

/// Stack that parsing and rendering need at most. The memory is reserved, not used.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// What a rendering may cost.
pub(crate) struct Limits {
    /// Steps; a few tens of nanoseconds each.
    pub(crate) steps: u64,
    /// Bytes of output.
    pub(crate) output: usize,
    /// Set when nobody waits any more.
    pub(crate) given_up: Arc<AtomicBool>,
}

/// A variable of the template: JSON from outside, or text and truths of our own.
pub(crate) enum Variable {
    /// A value whose strings are guarded.
    Guarded(Json),
    /// A list of messages: the model's own text keeps `keep` as it is.
    Messages(Vec<Json>, &'static [&'static str]),
    /// Text as it is.
    Text(String),
    /// A truth.
    Truth(bool),
}

/// Looks for faults in a template's source.
///
/// # Errors
/// A fault that says what was found and in which line.
pub(crate) fn check(source: &str) -> Result<(), Fault> {
    let budget = Budget::new(u64::MAX, Arc::default());
    parser::parse(source, &budget).map(|_| ())
}

/// Renders a template.
///
/// # Errors
/// Whatever ends the rendering.
pub(crate) fn render<N: AsRef<str>>(
    source: &str,
    variables: Vec<(N, Variable)>,
    guard: Guard,
    limits: Limits,
) -> Result<String, Fault> {
    let ctx = Ctx { budget: Budget::new(u64::MAX, limits.given_up), guard, now: SystemTime::now() };
    let program = parser::parse(source, &ctx.budget)?;
    let eval = Eval::new(&ctx, &program);
    let root = Rc::new(Scope::default());
    for (name, variable) in variables {
        let value = variable.value(&ctx)?;
        // A name that the template never mentions needs no place.
        if let Some(at) = program.names.iter().position(|known| **known == *name.as_ref()) {
            root.set(&ctx.budget, at as u32, value)?;
        }
    }
    ctx.budget.input_ends(limits.steps);
    let mut out = Builder::at_most(&ctx.budget, limits.output);
    let result = eval.run(&program.body, &root, &mut out);
    drop(root.clear());
    eval.end();
    result.map(|_| out.into_parts().0)
}

impl Variable {
    fn value(self, ctx: &Ctx) -> Run<Value> {
        match self {
            Variable::Guarded(json) => guarded(ctx, &json, &[]),
            Variable::Messages(messages, keep) => {
                let messages = messages.iter().map(|message| self::message(ctx, message, keep));
                ctx.list(messages.collect::<Run<Vec<_>>>()?)
            }
            Variable::Text(text) => ctx.text(&text),
            Variable::Truth(truth) => Ok(Value::Bool(truth)),
        }
    }
}

/// A message: the role is known and stays as it is; in the model's own text, so does what is in `keep`.
fn message(ctx: &Ctx, message: &Json, keep: &[&str]) -> Run<Value> {
    let Json::Object(fields) = message else { return guarded(ctx, message, &[]) };
    let is = |name: &str| fields.get("role").is_some_and(|role| role == name);
    let (assistant, tool) = (is("assistant"), is("tool"));
    let mut pairs = Vec::with_capacity(fields.len());
    for (key, entry) in fields {
        let value = match (key.as_str(), entry) {
            ("role", Json::String(role)) => ctx.text(role)?,
            ("content", content) if assistant => guarded(ctx, content, keep)?,
            ("content", Json::Object(answer)) if tool => answered(object(ctx, answer, &[])?),
            _ => guarded(ctx, entry, &[])?,
        };
        pairs.push((ctx.text(&ctx.guard.hide(key))?, value));
    }
    ctx.dict(pairs)
}

/// JSON as a value, with stand-ins in every string and key, but for whole occurrences of `keep`.
fn guarded(ctx: &Ctx, json: &Json, keep: &[&str]) -> Run<Value> {
    match json {
        Json::Null => Ok(Value::None),
        Json::Bool(b) => Ok(Value::Bool(*b)),
        Json::Number(number) => json_number(ctx, number.as_str()),
        Json::String(text) if keep.is_empty() => ctx.text(&ctx.guard.hide(text)),
        Json::String(text) => ctx.text(&ctx.guard.hide_except(text, keep)),
        Json::Array(list) => ctx.list(list.iter().map(|entry| guarded(ctx, entry, keep)).collect::<Run<Vec<_>>>()?),
        Json::Object(map) => Ok(Value::Dict(Rc::new(object(ctx, map, keep)?))),
    }
}

/// What a tool answered.
fn answered(mut answer: Dict) -> Value {
    answer.answer = true;
    Value::Dict(Rc::new(answer))
}

/// An object of JSON as a dictionary.
fn object(ctx: &Ctx, map: &serde_json::Map<String, Json>, keep: &[&str]) -> Run<Dict> {
    let mut pairs = Vec::with_capacity(map.len());
    for (key, entry) in map {
        let key = ctx.text(&ctx.guard.hide(key))?;
        pairs.push((ctx.key(&key)?, key, guarded(ctx, entry, keep)?));
    }
    Dict::new(&ctx.budget, pairs)
}

/// A number as Python's `json.loads` reads it: an integer of any size, or the nearest float.
fn json_number(ctx: &Ctx, spelled: &str) -> Run<Value> {
    if let Ok(small) = spelled.parse() {
        return Ok(Value::Int(small));
    }
    if spelled.contains(['.', 'e', 'E']) {
        return Ok(Value::Float(spelled.parse().unwrap_or(f64::NAN)));
    }
    let digits = spelled.trim_start_matches('-').len();
    if digits > number::INT_DIGITS {
        let most = number::INT_DIGITS;
        return Err(Fault::failed(format!("found an integer of {digits} digits, expected at most {most}")));
    }
    ctx.budget.steps(digits * digits / 64)?;
    Ok(number::int(BigInt::parse_bytes(spelled.as_bytes(), 10).unwrap_or_default()))
}
