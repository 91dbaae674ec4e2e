//! The global functions of templates, and the objects that they make.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use indexmap::IndexMap;

use super::args::Args;
use super::ctx::Ctx;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::slice::collected;
use super::value::{Cycler, Joiner, Namespace, Range, Value};
use super::{args, spell};
use crate::error::harmless;
use crate::text::clock::{MOST_PER_BYTE, strftime};

/// The longest range that the sandbox of jinja2 makes.
const MAX_RANGE: usize = 100_000;

/// Calls a global function.
pub(super) fn call(eval: &Eval, name: &str, args: Args) -> Run<Value> {
    let ctx = eval.ctx;
    match name {
        "range" => range(args),
        "dict" => Ok(ctx.dict(pairs(ctx, "dict", args)?)?),
        "namespace" => namespace(eval, args),
        "cycler" => {
            let items = args.positional;
            if items.is_empty() {
                return Err(Fault::failed("at least one item has to be provided"));
            }
            // The list pays for the items.
            drop(ctx.list(items.clone())?);
            Ok(Value::Cycler(Rc::new(Cycler { items, at: Cell::new(0) })))
        }
        "joiner" => {
            let [separator] = args.bind("joiner", ["sep"])?;
            let text = separator.map_or_else(|| ctx.text(", "), Ok)?;
            Ok(Value::Joiner(Rc::new(Joiner { text, used: Cell::new(false) })))
        }
        "raise_exception" => {
            let [message] = args.bind("raise_exception", ["message"])?;
            let message = args::required(message, "raise_exception", "message")?;
            let mut out = ctx.builder();
            spell::print(ctx, &message, &mut out)?;
            Err(Fault::Refused(out.text().to_owned()))
        }
        "strftime_now" => {
            let [format] = args.bind("strftime_now", ["format"])?;
            let format = args::required(format, "strftime_now", "format")?;
            let format = ctx.expect_text(&format, "strftime_now")?;
            drop(ctx.budget.hold(format.text.len().saturating_mul(MOST_PER_BYTE))?);
            ctx.text(&strftime(&format.text, ctx.now))
        }
        other => Err(Fault::Forbidden(format!("found '{other}', which is not offered"))),
    }
}

fn range(args: Args) -> Run<Value> {
    let mut numbers = Vec::new();
    let count = args.positional.len();
    if !args.named.is_empty() || !(1..=3).contains(&count) {
        return Err(Fault::failed(format!("range expected 1 to 3 arguments, got {count}")));
    }
    for value in &args.positional {
        let number = value.index("range")?;
        numbers.push(number.clamp(-(1 << 62), 1 << 62));
    }
    let (start, stop, step) = match numbers[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        _ => (numbers[0], numbers[1], numbers[2]),
    };
    if step == 0 {
        return Err(Fault::failed("range() arg 3 must not be zero"));
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let length = if span <= 0 { 0 } else { ((span - 1) / step.abs() + 1) as usize };
    if length > MAX_RANGE {
        return Err(Fault::Forbidden(format!("found a range of {length} items, expected at most {MAX_RANGE}")));
    }
    Ok(Value::Range(Rc::new(Range { start, stop, step, length })))
}

/// Keys and values of a mapping, or of a list of pairs, with keyword arguments behind them.
fn pairs(ctx: &Ctx, function: &str, args: Args) -> Run<Vec<(Value, Value)>> {
    let mut pairs = Vec::new();
    if args.positional.len() > 1 {
        let found = args.positional.len();
        return Err(Fault::failed(format!("{function} expected at most 1 argument, got {found}")));
    }
    match args.positional.first() {
        None => {}
        Some(Value::Dict(dict)) => {
            drop(ctx.budget.hold(dict.entries.len() * size_of::<(Value, Value)>())?);
            pairs.extend(dict.entries.values().cloned());
        }
        Some(other) => {
            let items = other.items(&ctx.budget)?.ready(&ctx.budget)?;
            for pair in collected(ctx, &items)? {
                let pair = collected(ctx, &pair.items(&ctx.budget)?.ready(&ctx.budget)?)?;
                let [key, value] = <[Value; 2]>::try_from(pair)
                    .map_err(|_| Fault::failed(format!("{function}: found an item that is no pair")))?;
                pairs.push((key, value));
            }
        }
    }
    for (name, value) in args.named {
        pairs.push((ctx.text(&name)?, value));
    }
    Ok(pairs)
}

fn namespace(eval: &Eval, args: Args) -> Run<Value> {
    let held = RefCell::new(eval.ctx.budget.hold(200)?);
    let namespace = Rc::new(Namespace { entries: RefCell::new(IndexMap::new()), held });
    for (key, value) in pairs(eval.ctx, "namespace", args)? {
        if let Value::Str(name) = &key {
            let name: Rc<str> = eval.ctx.shown(name)?.into();
            namespace.set(eval.ctx, &name, value)?;
        }
    }
    eval.namespaces.borrow_mut().push(Rc::clone(&namespace));
    Ok(Value::Namespace(namespace))
}

impl Namespace {
    /// Sets an attribute.
    pub(super) fn set(&self, ctx: &Ctx, name: &Rc<str>, value: Value) -> Run<()> {
        // As the sandbox of transformers does it.
        if name.starts_with('_') {
            let name = harmless(name, 60);
            return Err(Fault::Forbidden(format!(
                "namespace: found the name '{name}', expected one without '_' in front"
            )));
        }
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.get_mut(name) {
            *entry = value;
            return Ok(());
        }
        ctx.budget.grow(&mut self.held.borrow_mut(), 100 + name.len())?;
        entries.insert(Rc::clone(name), value);
        Ok(())
    }
}
