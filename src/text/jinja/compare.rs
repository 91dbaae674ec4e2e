//! Equality, order and keys of dictionaries, as Python has them; whatever is looked at is paid for.

use std::cmp::Ordering;
use std::rc::Rc;

use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use super::ctx::Ctx;
use super::fault::{Fault, Run};
use super::key::{Key, Shown};
use super::number::{self, Number};
use super::text::Text;
use super::value::{Dict, List, Value, View};

impl Key {
    fn of(ctx: &Ctx, value: &Value) -> Run<Self> {
        ctx.budget.steps(1)?;
        Ok(match value {
            Value::None => Key::None,
            Value::Undefined(_) => Key::Undefined,
            Value::Bool(b) => Key::Int(i64::from(*b)),
            Value::Int(n) => Key::Int(*n),
            Value::Big(n) => {
                ctx.budget.reads(n.bits() as usize / 8)?;
                Key::Big((**n).clone())
            }
            Value::Float(n) if n.is_finite() && n.fract() == 0.0 => {
                let whole = BigInt::from_f64(*n).unwrap_or_default();
                whole.to_i64().map_or(Key::Big(whole), Key::Int)
            }
            Value::Float(n) => Key::Float(n.to_bits()),
            Value::Str(text) => {
                ctx.budget.reads(text.text.len())?;
                if !text.hidden {
                    return Ok(Key::Str(Shown(Rc::clone(text))));
                }
                let shown = ctx.guard.show(&text.text).into_owned();
                let held = ctx.budget.hold(shown.len())?;
                Key::Str(Shown(Rc::new(Text::from_parts(shown, held, false))))
            }
            Value::Tuple(list) => {
                let keys = list.items.iter().map(|item| Key::of(ctx, item)).collect::<Run<Vec<_>>>()?;
                Key::Tuple(keys.into())
            }
            Value::Slice(_) | Value::List(_) | Value::Dict(_) | Value::View(..) => {
                return Err(Fault::failed(format!("unhashable type: '{}'", value.type_name())));
            }
            Value::Range(range) => Key::Tuple(Box::new([
                Key::Float(u64::MAX),
                Key::Int(range.length as i64),
                Key::Int(if range.length == 0 { 0 } else { range.start }),
                Key::Int(if range.length < 2 { 0 } else { range.step }),
            ])),
            other => Key::Itself(address(other)),
        })
    }
}

impl Ctx {
    pub(super) fn dict(&self, pairs: Vec<(Value, Value)>) -> Run<Value> {
        let mut keyed = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            keyed.push((self.key(&key)?, key, value));
        }
        Ok(Value::Dict(Rc::new(Dict::new(&self.budget, keyed)?)))
    }

    /// The key of a dictionary that a value is.
    pub(super) fn key(&self, value: &Value) -> Run<Key> {
        Key::of(self, value)
    }
}

/// Where a value lies, for those that are only equal to themselves.
fn address(value: &Value) -> usize {
    match value {
        Value::Iter(v) => Rc::as_ptr(v) as usize,
        Value::Namespace(v) => Rc::as_ptr(v) as usize,
        Value::Macro(v) => Rc::as_ptr(v) as usize,
        Value::Loop(v) => Rc::as_ptr(v) as usize,
        Value::Cycler(v) => Rc::as_ptr(v) as usize,
        Value::Joiner(v) => Rc::as_ptr(v) as usize,
        Value::Function(name) => name.as_ptr() as usize,
        Value::Method(v) => Rc::as_ptr(v) as usize,
        _ => 0,
    }
}

/// Whether both are the same object, so that looking inside is needless.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Rc::ptr_eq(a, b),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        _ => false,
    }
}

/// `a is b`, as far as it is defined.
pub(super) fn identical(ctx: &Ctx, a: &Value, b: &Value) -> Run<bool> {
    Ok(match (a, b) {
        (Value::List(_), _) | (Value::Dict(_), _) | (Value::Tuple(_), _) => same(a, b),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(_), Value::Str(_)) => equal(ctx, a, b)?,
        _ => a.type_name() == b.type_name() && address(a) == address(b) && equal(ctx, a, b)?,
    })
}

/// `a == b`.
pub(super) fn equal(ctx: &Ctx, a: &Value, b: &Value) -> Run<bool> {
    ctx.budget.steps(1)?;
    if same(a, b) {
        return Ok(true);
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(number::order(&a, &b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::Str(a), Value::Str(b)) => texts_equal(ctx, a, b)?,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => lists_equal(ctx, a, b)?,
        (Value::Dict(a), Value::Dict(b)) => dicts_equal(ctx, a, b)?,
        (Value::Range(_), Value::Range(_)) => ctx.key(a)? == ctx.key(b)?,
        (Value::View(View::Keys, a), Value::View(View::Keys, b)) => {
            ctx.budget.steps(a.entries.len())?;
            a.entries.len() == b.entries.len() && a.entries.keys().all(|key| b.entries.contains_key(key))
        }
        (Value::View(View::Items, a), Value::View(View::Items, b)) => dicts_equal(ctx, a, b)?,
        (Value::Slice(a), Value::Slice(b)) => {
            equal(ctx, &a[0], &b[0])? && equal(ctx, &a[1], &b[1])? && equal(ctx, &a[2], &b[2])?
        }
        _ => a.type_name() == b.type_name() && address(a) == address(b) && address(a) != 0,
    })
}

fn texts_equal(ctx: &Ctx, a: &Text, b: &Text) -> Run<bool> {
    if a.chars != b.chars {
        return Ok(false);
    }
    ctx.budget.reads(a.text.len().min(b.text.len()))?;
    if !a.hidden && !b.hidden {
        return Ok(a.text == b.text);
    }
    ctx.budget.reads(2 * (a.text.len() + b.text.len()))?;
    Ok(a.text.chars().map(|c| ctx.guard.shown(c)).eq(b.text.chars().map(|c| ctx.guard.shown(c))))
}

fn lists_equal(ctx: &Ctx, a: &List, b: &List) -> Run<bool> {
    if a.items.len() != b.items.len() {
        return Ok(false);
    }
    for (a, b) in a.items.iter().zip(&b.items) {
        if !equal(ctx, a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dicts_equal(ctx: &Ctx, a: &Dict, b: &Dict) -> Run<bool> {
    if a.entries.len() != b.entries.len() {
        return Ok(false);
    }
    for (key, (_, value)) in &a.entries {
        if let Key::Str(text) = key {
            ctx.budget.reads(text.0.text.len())?;
        }
        let Some((_, other)) = b.entries.get(key) else { return Ok(false) };
        if !equal(ctx, value, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How two texts are ordered: by their characters' numbers.
pub(super) fn text_order(ctx: &Ctx, a: &Text, b: &Text) -> Run<Ordering> {
    ctx.budget.reads(a.text.len().min(b.text.len()))?;
    if !a.hidden && !b.hidden {
        return Ok(a.text.cmp(&b.text));
    }
    ctx.budget.reads(2 * (a.text.len() + b.text.len()))?;
    Ok(a.text.chars().map(|c| ctx.guard.shown(c)).cmp(b.text.chars().map(|c| ctx.guard.shown(c))))
}

/// The order of two values, for an operator; nothing where a NaN has none.
pub(super) fn order(ctx: &Ctx, a: &Value, b: &Value, operator: &str) -> Run<Option<Ordering>> {
    ctx.budget.steps(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(number::order(&a, &b));
    }
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => text_order(ctx, a, b).map(Some),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(ctx, a, b)? {
                    return order(ctx, a, b, operator);
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        (Value::Undefined(missing), _) | (_, Value::Undefined(missing)) => Err(Value::missing(missing)),
        _ => {
            let (a, b) = (a.type_name(), b.type_name());
            Err(Fault::failed(format!("'{operator}' not supported between instances of '{a}' and '{b}'")))
        }
    }
}

/// `a < b`.
pub(super) fn less(ctx: &Ctx, a: &Value, b: &Value) -> Run<bool> {
    Ok(order(ctx, a, b, "<")? == Some(Ordering::Less))
}

/// `needle in hay`.
pub(super) fn contains(ctx: &Ctx, hay: &Value, needle: &Value) -> Run<bool> {
    match hay {
        Value::Str(hay) => {
            let Value::Str(needle) = needle else {
                let found = needle.type_name();
                return Err(Fault::failed(format!("'in <string>' requires string as left operand, not {found}")));
            };
            super::search::contains(ctx, hay, needle)
        }
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.entries.contains_key(&ctx.key(needle)?)),
        Value::Namespace(_)
        | Value::Macro(_)
        | Value::Function(_)
        | Value::None
        | Value::Int(_)
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Big(_) => Err(Fault::failed(format!("argument of type '{}' is not iterable", hay.type_name()))),
        Value::Iter(iter) => {
            while let Some(item) = iter.list.items.get(iter.at.get()) {
                iter.at.set(iter.at.get() + 1);
                if equal(ctx, item, needle)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => {
            let items = hay.items(&ctx.budget)?;
            for index in 0..items.len() {
                if let Some(item) = items.get(&ctx.budget, index)?
                    && equal(ctx, &item, needle)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Sorts `items` by `keys`, those that compare equal in the order in which they came; from large to small if `down`.
pub(super) fn sorted(ctx: &Ctx, items: Vec<Value>, keys: &[Value], down: bool) -> Run<Vec<Value>> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    let mut other = order.clone();
    ctx.budget.steps(items.len())?;
    let mut width = 1;
    while width < order.len() {
        for start in (0..order.len()).step_by(2 * width) {
            let middle = (start + width).min(order.len());
            let end = (start + 2 * width).min(order.len());
            let (mut left, mut right) = (start, middle);
            for place in &mut other[start..end] {
                let take_right = left == middle
                    || right < end
                        && if down {
                            less(ctx, &keys[order[left]], &keys[order[right]])?
                        } else {
                            less(ctx, &keys[order[right]], &keys[order[left]])?
                        };
                let from = if take_right { &mut right } else { &mut left };
                *place = order[*from];
                *from += 1;
            }
        }
        std::mem::swap(&mut order, &mut other);
        ctx.budget.steps(order.len())?;
        width *= 2;
    }
    Ok(order.into_iter().map(|at| items[at].clone()).collect())
}
