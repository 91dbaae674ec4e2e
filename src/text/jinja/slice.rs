//! Slices, and what is collected of something that can be walked through.

use std::rc::Rc;

use super::ctx::Ctx;
use super::fault::{Fault, Run};
use super::value::{Items, List, Range, Value};

/// `base[start:stop:step]`.
pub(super) fn slice(ctx: &Ctx, base: &Value, parts: &[Value; 3]) -> Run<Value> {
    if let Value::Undefined(missing) = base {
        return Err(Value::missing(missing));
    }
    let sliced = matches!(base, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_));
    let Some(length) = base.len().filter(|_| sliced) else {
        return Err(Fault::failed(format!("'{}' object is not subscriptable by a slice", base.type_name())));
    };
    let bounds = Bounds::new(parts, length)?;
    match base {
        Value::List(list) => ctx.list(bounds.of_list(ctx, list)?),
        Value::Tuple(list) => ctx.tuple(bounds.of_list(ctx, list)?),
        Value::Range(range) => Ok(Value::Range(Rc::new(Range {
            start: range.start + range.step * bounds.start,
            stop: range.start + range.step * bounds.start + range.step * bounds.step * bounds.count as i64,
            step: range.step.saturating_mul(bounds.step),
            length: bounds.count,
        }))),
        Value::Str(text) => {
            let mut out = ctx.builder();
            if bounds.count > 0 && bounds.step == 1 {
                let (start, end) = (bounds.start as usize, bounds.start as usize + bounds.count);
                if text.is_ascii() {
                    out.push(&text.text[start..end])?;
                } else {
                    ctx.budget.reads(text.text.len())?;
                    let place = |n: usize| text.text.char_indices().nth(n).map_or(text.text.len(), |(at, _)| at);
                    out.push(&text.text[place(start)..place(end)])?;
                }
            } else if bounds.count > 0 {
                drop(ctx.budget.hold(4 * text.text.len())?);
                let chars: Vec<char> = text.text.chars().collect();
                for n in 0..bounds.count as i64 {
                    out.push_char(chars[(bounds.start + n * bounds.step) as usize])?;
                }
            }
            ctx.finish(out)
        }
        _ => Ok(Value::None),
    }
}

/// A slice of something with a length: the first index, the step and how many there are.
struct Bounds {
    start: i64,
    step: i64,
    count: usize,
}

impl Bounds {
    fn new(parts: &[Value; 3], length: usize) -> Run<Self> {
        let number = |value: &Value| match value {
            Value::None => Ok(None),
            other => other
                .as_index()
                .map(Some)
                .ok_or_else(|| Fault::failed("slice indices must be integers or None or have an __index__ method")),
        };
        let step = number(&parts[2])?.unwrap_or(1);
        if step == 0 {
            return Err(Fault::failed("slice step cannot be zero"));
        }
        let length = length as i64;
        let (least, most) = if step < 0 { (-1, length - 1) } else { (0, length) };
        let clamp = |index: i64| if index < 0 { index.saturating_add(length).max(least) } else { index.min(most) };
        let start = number(&parts[0])?.map_or(if step < 0 { most } else { least }, clamp);
        let stop = number(&parts[1])?.map_or(if step < 0 { least } else { most }, clamp);
        let span = if step < 0 { start - stop } else { stop - start };
        let count = if span <= 0 { 0 } else { (span - 1) / step.saturating_abs() + 1 };
        Ok(Self { start, step, count: count as usize })
    }

    fn of_list(&self, ctx: &Ctx, list: &List) -> Run<Vec<Value>> {
        drop(ctx.budget.hold(self.count * size_of::<Value>())?);
        Ok((0..self.count as i64).map(|n| list.items[(self.start + n * self.step) as usize].clone()).collect())
    }
}

/// `items` from the last to the first.
pub(super) fn reversed(ctx: &Ctx, items: &Items) -> Run<Vec<Value>> {
    let mut all = collected(ctx, items)?;
    all.reverse();
    Ok(all)
}

/// All of `items`.
pub(super) fn collected(ctx: &Ctx, items: &Items) -> Run<Vec<Value>> {
    drop(ctx.budget.hold(items.len() * size_of::<Value>())?);
    let mut all = Vec::with_capacity(items.len());
    for index in 0..items.len() {
        all.extend(items.get(&ctx.budget, index)?);
    }
    Ok(all)
}
