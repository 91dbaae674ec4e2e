//! Attributes and items, as the sandbox of jinja2 gives them.

use std::rc::Rc;

use super::ctx::Ctx;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::key::Named;
use super::methods::names;
use super::slice::slice;
use super::value::Value;

/// `base.name`: what the type has by this name, else the item.
pub(super) fn attribute(eval: &Eval, base: &Value, name: &Rc<str>) -> Run<Value> {
    if let Value::Undefined(missing) = base {
        return Err(Value::missing(missing));
    }
    if let Some(found) = own(eval, base, name)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = base {
        eval.ctx.budget.reads(name.len())?;
        if let Some((_, value)) = dict.entries.get(&Named(name)) {
            return Ok(value.clone());
        }
    }
    Ok(no_attribute(base, name))
}

/// `base[key]`: the item, else what the type has by this name.
pub(super) fn item(eval: &Eval, base: &Value, key: &Value) -> Run<Value> {
    if let Value::Undefined(missing) = base {
        return Err(Value::missing(missing));
    }
    if let Some(value) = only_item(eval.ctx, base, key)? {
        return Ok(value);
    }
    let Value::Str(text) = key else {
        let mut out = eval.ctx.builder();
        super::spell::repr(eval.ctx, key, &mut out)?;
        return Ok(Value::hint(format!("{} has no element {}", object_name(base), out.text())));
    };
    let name: Rc<str> = eval.ctx.shown(text)?.into();
    let found = own(eval, base, &name)?;
    Ok(found.unwrap_or_else(|| no_attribute(base, &name)))
}

/// What a path of attributes leads to, each step as [`item`] goes it; without macros and loops.
pub(super) fn plain_item(ctx: &Ctx, base: &Value, key: &Value) -> Run<Value> {
    if let Value::Undefined(missing) = base {
        return Err(Value::missing(missing));
    }
    if let Some(value) = only_item(ctx, base, key)? {
        return Ok(value);
    }
    let Value::Str(text) = key else {
        return Ok(Value::hint(format!("{} has no such element", object_name(base))));
    };
    let name: Rc<str> = ctx.shown(text)?.into();
    Ok(of_type(ctx, base, &name)?.unwrap_or_else(|| no_attribute(base, &name)))
}

/// The item at `key`, and nothing where Python raises `TypeError` or `LookupError`.
fn only_item(ctx: &Ctx, base: &Value, key: &Value) -> Run<Option<Value>> {
    ctx.budget.steps(1)?;
    match base {
        Value::Dict(dict) => match ctx.key(key) {
            Ok(key) => Ok(dict.entries.get(&key).map(|(_, value)| value.clone())),
            Err(Fault::Failed(_)) => Ok(None),
            Err(other) => Err(other),
        },
        Value::List(_) | Value::Tuple(_) | Value::Str(_) | Value::Range(_) => {
            if let Value::Slice(parts) = key {
                return slice(ctx, base, parts).map(Some);
            }
            let (Some(index), Some(length)) = (key.as_index(), base.len()) else { return Ok(None) };
            let Some(at) = wrapped(index, length) else { return Ok(None) };
            match base {
                Value::List(list) | Value::Tuple(list) => Ok(list.items.get(at).cloned()),
                Value::Range(range) => Ok(Some(range.get(at))),
                Value::Str(text) if text.is_ascii() => ctx.text(&text.text[at..at + 1]).map(Some),
                Value::Str(text) => {
                    ctx.budget.reads(text.text.len())?;
                    let mut one = ctx.builder();
                    text.text.chars().nth(at).map_or(Ok(()), |c| one.push_char(c))?;
                    ctx.finish(one).map(Some)
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// An index counted from either end.
fn wrapped(index: i64, length: usize) -> Option<usize> {
    let length = length as i64;
    let at = if index < 0 { index.checked_add(length)? } else { index };
    (0..length).contains(&at).then_some(at as usize)
}

/// What the value has by this name that is no item.
fn own(eval: &Eval, base: &Value, name: &str) -> Run<Option<Value>> {
    if let (Value::Macro(found), "arguments") = (base, name) {
        let names = found.definition.arguments.iter().map(|(name, _)| eval.ctx.text(&eval.names[*name as usize]));
        return eval.ctx.tuple(names.collect::<Run<Vec<_>>>()?).map(Some);
    }
    if let Value::Loop(state) = base
        && let Some(value) = eval.loop_attribute(state, name)?
    {
        return Ok(Some(value));
    }
    of_type(eval.ctx, base, name)
}

fn of_type(ctx: &Ctx, base: &Value, name: &str) -> Run<Option<Value>> {
    if name.starts_with("__") && name.ends_with("__") && name.len() > 4 {
        return Ok(Some(untouchable(base, name)));
    }
    if let Some(method) = names::find(base, name) {
        return Ok(Some(if names::changes(base, method) {
            untouchable(base, name)
        } else {
            names::method(base, method)
        }));
    }
    Ok(match (base, name) {
        (Value::Namespace(namespace), _) => namespace.entries.borrow().get(name).cloned(),
        (Value::Range(range), "start") => Some(Value::Int(range.start)),
        (Value::Range(range), "stop") => Some(Value::Int(range.stop)),
        (Value::Range(range), "step") => Some(Value::Int(range.step)),
        (Value::Tuple(list), "grouper") if list.group => list.items.first().cloned(),
        (Value::Tuple(list), "list") if list.group => list.items.get(1).cloned(),
        (Value::Int(_) | Value::Big(_) | Value::Bool(_), "real" | "numerator") => Some(base.clone()),
        (Value::Int(_) | Value::Big(_) | Value::Bool(_), "imag") => Some(Value::Int(0)),
        (Value::Int(_) | Value::Big(_) | Value::Bool(_), "denominator") => Some(Value::Int(1)),
        (Value::Float(_), "real") => Some(base.clone()),
        (Value::Float(_), "imag") => Some(Value::Float(0.0)),
        (Value::Macro(found), "name") => match &found.definition.name {
            Some(name) => Some(ctx.text(name)?),
            None => Some(Value::None),
        },
        (Value::Macro(found), "catch_kwargs") => Some(Value::Bool(found.definition.uses.kwargs)),
        (Value::Macro(found), "catch_varargs") => Some(Value::Bool(found.definition.uses.varargs)),
        (Value::Macro(found), "caller") => Some(Value::Bool(found.definition.uses.caller)),
        (Value::Cycler(cycler), "current") => cycler.items.get(cycler.at.get()).cloned(),
        _ => None,
    })
}

fn untouchable(base: &Value, name: &str) -> Value {
    let text = format!("access to attribute '{name}' of '{}' object is unsafe", base.type_name());
    Value::Undefined(Rc::new(super::value::Missing::Unsafe(text)))
}

fn no_attribute(base: &Value, name: &str) -> Value {
    Value::hint(format!("'{}' has no attribute '{name}'", object_name(base)))
}

/// How messages name what has no such attribute.
fn object_name(base: &Value) -> String {
    match base {
        Value::None => "None".into(),
        other => format!("{} object", other.type_name()),
    }
}
