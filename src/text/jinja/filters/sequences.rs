//! Filters on lists, dictionaries and whatever else can be walked through.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::args::{Args, required};
use super::super::ast::Binary;
use super::super::compare::{equal, less, sorted};
use super::super::ctx::Ctx;
use super::super::fault::{Fault, Run};
use super::super::lookup::plain_item;
use super::super::methods::names;
use super::super::number::{self, Number};
use super::super::slice::{collected, reversed, slice};
use super::super::spell;
use super::super::value::{Items, List, Value, View};
use super::super::{checks, methods};

pub(super) fn apply(ctx: &Ctx, name: &str, value: &Value, args: Args) -> Run<Value> {
    match name {
        "first" | "last" => {
            args.none(name)?;
            end(ctx, value, name == "last")
        }
        "list" => {
            args.none(name)?;
            ctx.list(all(ctx, value)?)
        }
        "reverse" => {
            args.none(name)?;
            reverse(ctx, value)
        }
        "join" => join(ctx, value, args),
        "items" => {
            args.none(name)?;
            let items = match value {
                Value::Undefined(_) => Items::None,
                Value::Dict(dict) => Items::Dict(View::Items, Rc::clone(dict)),
                _ => return Err(Fault::failed("can only get item pairs from a mapping")),
            };
            Value::iter(&ctx.budget, "generator", collected(ctx, &items)?)
        }
        "dictsort" => dictsort(ctx, value, args),
        "sort" => {
            let [down, case, attribute] = args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let items = all(ctx, value)?;
            let paths = Paths::several(ctx, attribute, is_true(case))?;
            let keys = items.iter().map(|item| paths.keys(ctx, item)).collect::<Run<Vec<_>>>()?;
            ctx.list(sorted(ctx, items, &keys, is_true(down))?)
        }
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            extreme(ctx, value, name == "max", &Path::new(ctx, attribute, is_true(case), None)?)
        }
        "unique" => unique(ctx, value, args),
        "groupby" => groupby(ctx, value, args),
        "sum" => sum(ctx, value, args),
        "batch" => batch(ctx, value, args),
        "slice" => slices(ctx, value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(ctx, name, value, args),
        "attr" => {
            let [attribute] = args.bind(name, ["name"])?;
            let attribute = required(attribute, name, "name")?;
            let shown = ctx.shown(ctx.expect_text(&attribute, name)?)?;
            match names::find(value, &shown) {
                Some(method) if !names::changes(value, method) => Ok(names::method(value, method)),
                _ => Ok(Value::hint(format!("'{} object' has no attribute '{shown}'", value.type_name()))),
            }
        }
        other => Err(Fault::Forbidden(format!("found the filter '{other}', which is not offered"))),
    }
}

fn is_true(value: Option<Value>) -> bool {
    value.is_some_and(|v| v.is_true())
}

/// All items of a value.
pub(super) fn all(ctx: &Ctx, value: &Value) -> Run<Vec<Value>> {
    collected(ctx, &value.items(&ctx.budget)?.ready(&ctx.budget)?)
}

fn end(ctx: &Ctx, value: &Value, last: bool) -> Run<Value> {
    if let (true, Value::Iter(iter)) = (last, value) {
        return Err(Fault::failed(format!("'{}' object is not reversible", iter.name)));
    }
    if let Value::Str(text) = value {
        let at = if last { Value::Int(-1) } else { Value::Int(0) };
        if text.chars > 0 {
            return plain_item(ctx, value, &at);
        }
    }
    if let (false, Value::Iter(iter)) = (last, value) {
        // Only the first item is taken from what can be walked through once.
        let at = iter.at.get();
        if let Some(item) = iter.list.items.get(at) {
            iter.at.set(at + 1);
            return Ok(item.clone());
        }
    }
    let items = value.items(&ctx.budget)?;
    let hint = if last { "no last item, sequence was empty" } else { "no first item, sequence was empty" };
    if items.len() == 0 {
        return Ok(Value::hint(hint));
    }
    let at = if last { items.len() - 1 } else { 0 };
    Ok(items.get(&ctx.budget, at)?.unwrap_or_else(|| Value::hint(hint)))
}

fn reverse(ctx: &Ctx, value: &Value) -> Run<Value> {
    let name = match value {
        Value::Str(_) => return slice(ctx, value, &[Value::None, Value::None, Value::Int(-1)]),
        Value::List(_) => "list_reverseiterator",
        Value::Dict(_) => "dict_reversekeyiterator",
        Value::Range(_) => "range_iterator",
        Value::Iter(_) => {
            let mut items = all(ctx, value)?;
            items.reverse();
            return ctx.list(items);
        }
        _ => "reversed",
    };
    let items = value.items(&ctx.budget)?.ready(&ctx.budget)?;
    Value::iter(&ctx.budget, name, reversed(ctx, &items)?)
}

fn join(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let separator = spell::string(ctx, &separator.map_or_else(|| ctx.text(""), Ok)?)?;
    let separator = ctx.expect_text(&separator, "join")?;
    let path = Path::new(ctx, attribute, true, None)?;
    let items = value.items(&ctx.budget)?.ready(&ctx.budget)?;
    let mut out = ctx.builder();
    for index in 0..items.len() {
        let Some(item) = items.get(&ctx.budget, index)? else { break };
        if index > 0 {
            out.push(&separator.text)?;
        }
        spell::print(ctx, &path.key(ctx, &item)?, &mut out)?;
    }
    ctx.finish(out)
}

fn dictsort(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [case, by, down] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let dict = match value {
        Value::Dict(dict) => dict,
        Value::Undefined(missing) => return Err(Value::missing(missing)),
        other => return Err(Fault::failed(format!("'{}' object has no attribute 'items'", other.type_name()))),
    };
    let by_value = match by.as_ref().map(|by| ctx.expect_text(by, "dictsort: by")).transpose()? {
        None => false,
        Some(by) if &*by.text == "key" => false,
        Some(by) if &*by.text == "value" => true,
        Some(_) => return Err(Fault::failed("you can only sort by either \"key\" or \"value\"")),
    };
    let path = Path::new(ctx, None, is_true(case), None)?;
    let keys = dict.entries.values().map(|(key, value)| path.key(ctx, if by_value { value } else { key }));
    let keys = keys.collect::<Run<Vec<_>>>()?;
    let items = collected(ctx, &Items::Dict(View::Items, Rc::clone(dict)))?;
    ctx.list(sorted(ctx, items, &keys, is_true(down))?)
}

fn extreme(ctx: &Ctx, value: &Value, max: bool, path: &Path) -> Run<Value> {
    let mut best: Option<(Value, Value)> = None;
    for item in all(ctx, value)? {
        let key = path.key(ctx, &item)?;
        let better = match &best {
            None => true,
            Some((best, _)) if max => super::super::compare::order(ctx, &key, best, ">")?.is_some_and(|o| o.is_gt()),
            Some((best, _)) => less(ctx, &key, best)?,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| Value::hint("no aggregated item, sequence was empty"), |(_, item)| item))
}

fn unique(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [case, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let path = Path::new(ctx, attribute, is_true(case), None)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for item in all(ctx, value)? {
        let key = ctx.key(&path.key(ctx, &item)?)?;
        if seen.insert(key) {
            items.push(item);
        }
    }
    Value::iter(&ctx.budget, "generator", items)
}

fn groupby(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [attribute, default, case] = args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let attribute = required(attribute, "groupby", "attribute")?;
    let default = default.filter(|d| !matches!(d, Value::None));
    let path = Path::new(ctx, Some(attribute.clone()), is_true(case), default.clone())?;
    let real = Path::new(ctx, Some(attribute), true, default)?;
    let items = all(ctx, value)?;
    let keys = items.iter().map(|item| path.key(ctx, item)).collect::<Run<Vec<_>>>()?;
    let items = sorted(ctx, items, &keys, false)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in items {
        let key = path.key(ctx, &item)?;
        match groups.last_mut() {
            Some((last, group)) if equal(ctx, last, &key)? => group.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut out = Vec::with_capacity(groups.len());
    for (_, group) in groups {
        let first = group.first().map_or(Ok(Value::None), |item| real.key(ctx, item))?;
        let mut pair = List::new(&ctx.budget, vec![first, ctx.list(group)?])?;
        pair.group = true;
        out.push(Value::Tuple(Rc::new(pair)));
    }
    ctx.list(out)
}

fn sum(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let path = Path::new(ctx, attribute, true, None)?;
    let mut total = start.unwrap_or(Value::Int(0));
    if matches!(total, Value::Str(_)) {
        return Err(Fault::failed("sum() can't sum strings [use ''.join(seq) instead]"));
    }
    for item in all(ctx, value)? {
        let item = path.key(ctx, &item)?;
        total = match (&total, &item, Number::of(&total), Number::of(&item)) {
            (_, _, Some(a), Some(b)) => number::binary(&ctx.budget, Binary::Add, &a, &b)?,
            (Value::List(a), Value::List(b), ..) => ctx.list(both(ctx, a, b)?)?,
            (Value::Tuple(a), Value::Tuple(b), ..) => ctx.tuple(both(ctx, a, b)?)?,
            (Value::Undefined(missing), ..) | (_, Value::Undefined(missing), ..) => {
                return Err(Value::missing(missing));
            }
            (a, b, ..) => {
                let (a, b) = (a.type_name(), b.type_name());
                return Err(Fault::failed(format!("unsupported operand type(s) for +: '{a}' and '{b}'")));
            }
        };
    }
    Ok(total)
}

fn both(ctx: &Ctx, a: &List, b: &List) -> Run<Vec<Value>> {
    drop(ctx.budget.hold((a.items.len() + b.items.len()) * size_of::<Value>())?);
    Ok(a.items.iter().chain(&b.items).cloned().collect())
}

fn batch(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
    let count = required(count, "batch", "linecount")?.index("batch: linecount")?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let (mut out, mut line) = (Vec::new(), Vec::new());
    for item in all(ctx, value)? {
        if line.len() as i64 == count {
            out.push(ctx.list(std::mem::take(&mut line))?);
        }
        line.push(item);
    }
    if !line.is_empty() {
        if let Some(fill) = fill {
            let missing = usize::try_from(count - line.len() as i64).unwrap_or(0);
            drop(ctx.budget.hold(missing.checked_mul(size_of::<Value>()).ok_or(Fault::Bytes)?)?);
            line.extend(std::iter::repeat_n(fill, missing));
        }
        out.push(ctx.list(line)?);
    }
    Value::iter(&ctx.budget, "generator", out)
}

fn slices(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [count, fill] = args.bind("slice", ["slices", "fill_with"])?;
    let count = required(count, "slice", "slices")?.index("slice: slices")?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = all(ctx, value)?;
    if count == 0 {
        return Err(Fault::failed("integer division or modulo by zero"));
    }
    let count = usize::try_from(count).unwrap_or(0);
    let each = items.len().checked_div(count).unwrap_or(0);
    let extra = items.len().checked_rem(count).unwrap_or(0);
    let (mut out, mut at) = (Vec::new(), 0);
    for number in 0..count {
        let length = each + usize::from(number < extra);
        let mut part = items[at..at + length].to_vec();
        at += length;
        if let Some(fill) = fill.as_ref().filter(|_| number >= extra) {
            part.push(fill.clone());
        }
        out.push(ctx.list(part)?);
    }
    Value::iter(&ctx.budget, "generator", out)
}

fn select(ctx: &Ctx, name: &str, value: &Value, mut args: Args) -> Run<Value> {
    let wanted = name.starts_with("select");
    let path = if name.ends_with("attr") {
        if args.positional.is_empty() {
            return Err(Fault::failed("missing parameter for attribute name"));
        }
        Path::new(ctx, Some(args.positional.remove(0)), true, None)?
    } else {
        Path::new(ctx, None, true, None)?
    };
    let test = if args.positional.is_empty() { None } else { Some(args.positional.remove(0)) };
    let test = match &test {
        Some(test) => Some(ctx.shown(ctx.expect_text(test, name)?)?.into_owned()),
        None => None,
    };
    let mut out = Vec::new();
    for item in if value.is_true() { all(ctx, value)? } else { Vec::new() } {
        let tested = path.key(ctx, &item)?;
        let passes = match &test {
            Some(test) => {
                ctx.budget.steps(args.positional.len() + args.named.len())?;
                checks::apply(ctx, test, &tested, args.clone())?
            }
            None => tested.is_true(),
        };
        if passes == wanted {
            out.push(item);
        }
    }
    Value::iter(&ctx.budget, "generator", out)
}

/// A path of attributes that leads from an item to what it is compared by.
pub(super) struct Path {
    parts: Vec<Value>,
    case: bool,
    default: Option<Value>,
}

impl Path {
    /// `attribute` as jinja2 takes it: dots lead on, parts of digits are indices.
    pub(super) fn new(ctx: &Ctx, attribute: Option<Value>, case: bool, default: Option<Value>) -> Run<Self> {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(text)) => path_parts(ctx, &ctx.shown(&text)?)?,
            Some(other) => vec![other],
        };
        Ok(Self { parts, case, default })
    }

    /// What `item` is compared by.
    pub(super) fn key(&self, ctx: &Ctx, item: &Value) -> Run<Value> {
        let mut value = item.clone();
        for part in &self.parts {
            value = plain_item(ctx, &value, part)?;
            if let (Value::Undefined(_), Some(default)) = (&value, &self.default) {
                value = default.clone();
            }
        }
        match &value {
            Value::Str(text) if !self.case => methods::cased(ctx, text, "lower"),
            _ => Ok(value),
        }
    }
}

fn path_parts(ctx: &Ctx, path: &str) -> Run<Vec<Value>> {
    let mut parts = Vec::new();
    for part in path.split('.') {
        let number = part.parse().ok().filter(|_| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        parts.push(number.map_or_else(|| ctx.text(part), |n| Ok(Value::Int(n)))?);
    }
    Ok(parts)
}

/// Several paths between commas, for `sort`.
struct Paths(Vec<Path>);

impl Paths {
    fn several(ctx: &Ctx, attribute: Option<Value>, case: bool) -> Run<Self> {
        let Some(Value::Str(text)) = &attribute else { return Ok(Self(vec![Path::new(ctx, attribute, case, None)?])) };
        let shown = ctx.shown(text)?;
        let paths = shown.split(',').map(|path| Ok(Path { parts: path_parts(ctx, path)?, case, default: None }));
        paths.collect::<Run<Vec<_>>>().map(Self)
    }

    fn keys(&self, ctx: &Ctx, item: &Value) -> Run<Value> {
        ctx.list(self.0.iter().map(|path| path.key(ctx, item)).collect::<Run<Vec<_>>>()?)
    }
}
