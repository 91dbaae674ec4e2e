//! Computes the expressions of a template.

use std::cmp::Ordering;
use std::rc::Rc;

use super::args::Args;
use super::ast::{Arguments, Binary, Comparison, Expr, Kind};
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::number::{self, Number, int};
use super::slice::slice;
use super::value::{List, Scope, Value};
use super::{checks, compare, filters, format, lookup, spell};

impl Eval<'_> {
    pub(super) fn expr(&self, expr: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        self.ctx.budget.steps(1)?;
        match &expr.kind {
            Kind::Const(literal) => Ok(literal.clone().into()),
            Kind::Name(name) => self.name(*name, scope),
            _ => {
                self.enter()?;
                let value = self.compound(expr, scope)?;
                self.leave();
                Ok(value)
            }
        }
    }

    fn compound(&self, expr: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        match &expr.kind {
            Kind::Attribute(base, name) => lookup::attribute(self, &self.expr(base, scope)?, name),
            Kind::Item(base, key) => self.item(base, key, scope),
            Kind::Call(..) => self.call_with(expr, scope, None),
            Kind::Filter(base, name, arguments) => {
                let base = base.as_ref().map_or(Ok(Value::None), |base| self.expr(base, scope))?;
                let args = self.args(arguments, scope)?;
                filters::apply(self.ctx, name, &base, args)
            }
            Kind::Test(base, name, arguments) => {
                let base = self.expr(base, scope)?;
                let args = self.args(arguments, scope)?;
                checks::apply(self.ctx, name, &base, args).map(Value::Bool)
            }
            Kind::Compare(first, rest) => self.comparisons(first, rest, scope),
            Kind::Not(inner) => Ok(Value::Bool(!self.expr(inner, scope)?.is_true())),
            Kind::And(left, right) => {
                let left = self.expr(left, scope)?;
                if left.is_true() { self.expr(right, scope) } else { Ok(left) }
            }
            Kind::Or(left, right) => {
                let left = self.expr(left, scope)?;
                if left.is_true() { Ok(left) } else { self.expr(right, scope) }
            }
            Kind::Cond { test, yes, no } => match (self.expr(test, scope)?.is_true(), no) {
                (true, _) => self.expr(yes, scope),
                (false, Some(no)) => self.expr(no, scope),
                (false, None) => Ok(Value::hint("the inline if-expression evaluated to false and no else is there")),
            },
            Kind::Binary(op, left, right) => {
                let left = self.expr(left, scope)?;
                self.binary(*op, left, self.expr(right, scope)?)
            }
            _ => self.literal(expr, scope),
        }
    }

    fn literal(&self, expr: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        match &expr.kind {
            Kind::Tuple(items) => self.ctx.tuple(self.all(items, scope)?),
            Kind::List(items) => self.ctx.list(self.all(items, scope)?),
            Kind::Dict(items) => {
                let mut pairs = Vec::with_capacity(items.len());
                for (key, value) in items {
                    pairs.push((self.expr(key, scope)?, self.expr(value, scope)?));
                }
                self.ctx.dict(pairs)
            }
            Kind::Concat(items) => {
                let values = self.all(items, scope)?;
                let mut out = self.ctx.builder();
                for value in &values {
                    spell::print(self.ctx, value, &mut out)?;
                }
                self.ctx.finish(out)
            }
            Kind::Slice(parts) => {
                let mut values = [Value::None, Value::None, Value::None];
                for (value, part) in values.iter_mut().zip(parts.iter()) {
                    if let Some(part) = part {
                        *value = self.expr(part, scope)?;
                    }
                }
                Ok(Value::Slice(Rc::new(values)))
            }
            Kind::Negative(inner) => match self.expr(inner, scope)? {
                Value::Undefined(missing) => Err(Value::missing(&missing)),
                value => match Number::of(&value) {
                    Some(Number::Float(n)) => Ok(Value::Float(-n)),
                    Some(number) => Ok(int(-number.big().unwrap_or_default())),
                    None => Err(Fault::failed(format!("bad operand type for unary -: '{}'", value.type_name()))),
                },
            },
            Kind::Positive(inner) => match self.expr(inner, scope)? {
                Value::Undefined(missing) => Err(Value::missing(&missing)),
                Value::Bool(b) => Ok(Value::Int(i64::from(b))),
                value if Number::of(&value).is_some() => Ok(value),
                value => Err(Fault::failed(format!("bad operand type for unary +: '{}'", value.type_name()))),
            },
            _ => Ok(Value::None),
        }
    }

    fn all(&self, items: &[Expr], scope: &Rc<Scope>) -> Run<Vec<Value>> {
        items.iter().map(|item| self.expr(item, scope)).collect()
    }

    fn item(&self, base: &Expr, key: &Expr, scope: &Rc<Scope>) -> Run<Value> {
        let base = self.expr(base, scope)?;
        let value = self.expr(key, scope)?;
        // Slices go past the environment: what cannot be sliced is an error, not undefined.
        if let (Kind::Slice(_), Value::Slice(parts)) = (&key.kind, &value) {
            return slice(self.ctx, &base, parts);
        }
        lookup::item(self, &base, &value)
    }

    fn comparisons(&self, first: &Expr, rest: &[(Comparison, Expr)], scope: &Rc<Scope>) -> Run<Value> {
        let mut left = self.expr(first, scope)?;
        for (op, right) in rest {
            let right = self.expr(right, scope)?;
            if !self.compare(*op, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn compare(&self, op: Comparison, a: &Value, b: &Value) -> Run<bool> {
        let order = |spelling| compare::order(self.ctx, a, b, spelling);
        Ok(match op {
            Comparison::Eq => compare::equal(self.ctx, a, b)?,
            Comparison::Ne => !compare::equal(self.ctx, a, b)?,
            Comparison::In => compare::contains(self.ctx, b, a)?,
            Comparison::NotIn => !compare::contains(self.ctx, b, a)?,
            Comparison::Lt => order("<")? == Some(Ordering::Less),
            Comparison::Gt => order(">")? == Some(Ordering::Greater),
            Comparison::Le => order("<=")?.is_some_and(Ordering::is_le),
            Comparison::Ge => order(">=")?.is_some_and(Ordering::is_ge),
        })
    }

    fn binary(&self, op: Binary, a: Value, b: Value) -> Run<Value> {
        if let (Some(a), Some(b)) = (Number::of(&a), Number::of(&b)) {
            return number::binary(&self.ctx.budget, op, &a, &b);
        }
        match (op, &a, &b) {
            (Binary::Mod, Value::Str(format), _) => format::percent(self.ctx, format, &b),
            (_, Value::Undefined(missing), _) | (_, _, Value::Undefined(missing)) => Err(Value::missing(missing)),
            (Binary::Add, Value::Str(x), Value::Str(y)) => {
                let mut out = self.ctx.builder();
                out.push(&x.text)?;
                out.push(&y.text)?;
                self.ctx.finish(out)
            }
            (Binary::Add, Value::List(x), Value::List(y)) => self.ctx.list(self.joined(x, y)?),
            (Binary::Add, Value::Tuple(x), Value::Tuple(y)) => self.ctx.tuple(self.joined(x, y)?),
            (Binary::Mul, sequence, count) if count.as_index().is_some() => self.repeated(sequence, count, &a, &b),
            (Binary::Mul, count, sequence) if count.as_index().is_some() => self.repeated(sequence, count, &a, &b),
            (Binary::Add, Value::Str(_), other) => {
                Err(Fault::failed(format!("can only concatenate str (not \"{}\") to str", other.type_name())))
            }
            _ => Err(unsupported(op, &a, &b)),
        }
    }

    fn joined(&self, a: &List, b: &List) -> Run<Vec<Value>> {
        drop(self.ctx.budget.hold((a.items.len() + b.items.len()) * size_of::<Value>())?);
        Ok(a.items.iter().chain(&b.items).cloned().collect())
    }

    fn repeated(&self, sequence: &Value, count: &Value, a: &Value, b: &Value) -> Run<Value> {
        let count = usize::try_from(count.as_index().unwrap_or(0)).unwrap_or(0);
        match sequence {
            Value::Str(text) => {
                let mut out = self.ctx.builder();
                out.repeat(&text.text, count)?;
                self.ctx.finish(out)
            }
            Value::List(list) | Value::Tuple(list) => {
                let bytes = list.items.len().checked_mul(count).and_then(|n| n.checked_mul(size_of::<Value>()));
                drop(self.ctx.budget.hold(bytes.ok_or(Fault::Bytes)?)?);
                let count = if list.items.is_empty() { 0 } else { count };
                let items = (0..count).flat_map(|_| list.items.iter().cloned()).collect();
                if matches!(sequence, Value::List(_)) { self.ctx.list(items) } else { self.ctx.tuple(items) }
            }
            _ => Err(unsupported(Binary::Mul, a, b)),
        }
    }

    pub(super) fn args(&self, arguments: &Arguments, scope: &Rc<Scope>) -> Run<Args> {
        let mut args = Args { positional: self.all(&arguments.positional, scope)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            if args.named.iter().any(|(known, _)| known == name) {
                return Err(Fault::Syntax(format!("keyword argument repeated: {name}")));
            }
            args.named.push((Rc::clone(name), self.expr(value, scope)?));
        }
        if let Some(all) = &arguments.all_positional {
            let all = self.expr(all, scope)?;
            let items = all.items(&self.ctx.budget)?.ready(&self.ctx.budget)?;
            drop(self.ctx.budget.hold(items.len() * size_of::<Value>())?);
            for index in 0..items.len() {
                args.positional.extend(items.get(&self.ctx.budget, index)?);
            }
        }
        if let Some(all) = &arguments.all_named {
            let Value::Dict(dict) = self.expr(all, scope)? else {
                return Err(Fault::failed("argument after ** must be a mapping"));
            };
            for (key, value) in dict.entries.values() {
                let name: Rc<str> = (*ctx_text(self, key)?).into();
                self.ctx.budget.steps(1 + args.named.len() / 16)?;
                if args.named.iter().any(|(known, _)| *known == name) {
                    return Err(Fault::failed(format!("got multiple values for keyword argument '{name}'")));
                }
                args.named.push((name, value.clone()));
            }
        }
        Ok(args)
    }
}

fn ctx_text<'v>(eval: &Eval, key: &'v Value) -> Run<std::borrow::Cow<'v, str>> {
    match key {
        Value::Str(text) => eval.ctx.shown(text),
        _ => Err(Fault::failed("keywords must be strings")),
    }
}

fn unsupported(op: Binary, a: &Value, b: &Value) -> Fault {
    let spelling = match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "** or pow()",
    };
    let (a, b) = (a.type_name(), b.type_name());
    Fault::failed(format!("unsupported operand type(s) for {spelling}: '{a}' and '{b}'"))
}
