//! Expressions of a template: precedence and forms as jinja2 has them.

use std::rc::Rc;

use super::ast::{Arguments, Binary, Comparison, Expr, Kind, Literal};
use super::checks;
use super::fault::Run;
use super::filters::names;
use super::lexer;
use super::parser::{MAX_NESTING, Parser};

impl Parser<'_> {
    /// A node that stands over trees of at most `below`.
    fn node(&self, kind: Kind, below: u32) -> Run<Expr> {
        if below >= MAX_NESTING { self.too_deep() } else { Ok(Expr { kind, height: below + 1 }) }
    }

    pub(super) fn expression(&mut self) -> Run<Expr> {
        self.enter()?;
        let fine = self.unknown.is_none();
        let mut expr = self.or()?;
        while self.skip_name("if") {
            // Inside a condition an unknown name is a fault only where it is used.
            if fine {
                self.unknown = None;
            }
            self.soft += 1;
            let test = self.or()?;
            let no = if self.skip_name("else") { Some(self.expression()?) } else { None };
            self.soft -= 1;
            let below = expr.height.max(test.height).max(height(&no));
            let no = no.map(Box::new);
            expr = self.node(Kind::Cond { test: Box::new(test), yes: Box::new(expr), no }, below)?;
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn or(&mut self) -> Run<Expr> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            let below = left.height.max(right.height);
            left = self.node(Kind::Or(Box::new(left), Box::new(right)), below)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Run<Expr> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            let below = left.height.max(right.height);
            left = self.node(Kind::And(Box::new(left), Box::new(right)), below)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Run<Expr> {
        if !self.skip_name("not") {
            return self.compare();
        }
        self.enter()?;
        let inner = self.not()?;
        self.depth -= 1;
        let below = inner.height;
        self.node(Kind::Not(Box::new(inner)), below)
    }

    fn compare(&mut self) -> Run<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let not_in = |kind: &lexer::Kind| matches!(kind, lexer::Kind::Name(name) if &**name == "in");
            let op = match self.kind() {
                lexer::Kind::Op("==") => Comparison::Eq,
                lexer::Kind::Op("!=") => Comparison::Ne,
                lexer::Kind::Op("<") => Comparison::Lt,
                lexer::Kind::Op("<=") => Comparison::Le,
                lexer::Kind::Op(">") => Comparison::Gt,
                lexer::Kind::Op(">=") => Comparison::Ge,
                kind if not_in(kind) => Comparison::In,
                lexer::Kind::Name(name) if &**name == "not" && not_in(self.look()) => {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((op, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let below = rest.iter().map(|(_, e)| e.height).fold(first.height, u32::max);
        self.node(Kind::Compare(Box::new(first), rest), below)
    }

    fn binary(&mut self, ops: &[(&str, Binary)], next: fn(&mut Self) -> Run<Expr>) -> Run<Expr> {
        let mut left = next(self)?;
        while let Some((_, op)) = ops.iter().find(|(spelling, _)| self.is_op(spelling)) {
            self.next();
            let right = next(self)?;
            let below = left.height.max(right.height);
            left = self.node(Kind::Binary(*op, Box::new(left), Box::new(right)), below)?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Run<Expr> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Run<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op("~") {
            items.push(self.product()?);
        }
        let below = items.iter().map(|item| item.height).max().unwrap_or(0);
        self.node(Kind::Concat(items), below)
    }

    fn product(&mut self) -> Run<Expr> {
        let ops = [("*", Binary::Mul), ("/", Binary::Div), ("//", Binary::FloorDiv), ("%", Binary::Mod)];
        self.binary(&ops, Self::power)
    }

    fn power(&mut self) -> Run<Expr> {
        self.binary(&[("**", Binary::Pow)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filter: bool) -> Run<Expr> {
        let sign = match self.kind() {
            lexer::Kind::Op("-") => Kind::Negative as fn(Box<Expr>) -> Kind,
            lexer::Kind::Op("+") => Kind::Positive,
            _ => {
                let primary = self.primary()?;
                let expr = self.postfix(primary)?;
                return if with_filter { self.filters(expr) } else { Ok(expr) };
            }
        };
        self.next();
        self.enter()?;
        let inner = self.unary(false)?;
        self.depth -= 1;
        let below = inner.height;
        let signed = self.node(sign(Box::new(inner)), below)?;
        let expr = self.postfix(signed)?;
        if with_filter { self.filters(expr) } else { Ok(expr) }
    }

    fn primary(&mut self) -> Run<Expr> {
        let leaf = |value| Ok(Expr { kind: Kind::Const(value), height: 1 });
        match self.kind().clone() {
            lexer::Kind::Name(name) => {
                self.next();
                match &*name {
                    "true" | "True" => leaf(Literal::Bool(true)),
                    "false" | "False" => leaf(Literal::Bool(false)),
                    "none" | "None" => leaf(Literal::None),
                    _ => Ok(Expr { kind: Kind::Name(self.name(&name)), height: 1 }),
                }
            }
            lexer::Kind::Str(first) => {
                self.next();
                let mut text = first.to_string();
                while let lexer::Kind::Str(more) = self.kind() {
                    text.push_str(more);
                    self.next();
                }
                leaf(Literal::Str(self.text(&text)?))
            }
            lexer::Kind::Int(value) => {
                self.next();
                leaf(Literal::int((*value).clone()))
            }
            lexer::Kind::Float(value) => {
                self.next();
                leaf(Literal::Float(value))
            }
            lexer::Kind::Op("(") => {
                self.next();
                let inner = self.tuple(true, &[], true)?;
                self.expect_op(")")?;
                Ok(inner)
            }
            lexer::Kind::Op("[") => {
                self.next();
                let items = self.items("]", |parser| parser.expression())?;
                let below = items.iter().map(|item| item.height).max().unwrap_or(0);
                self.node(Kind::List(items), below)
            }
            lexer::Kind::Op("{") => {
                self.next();
                let items = self.items("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect_op(":")?;
                    Ok((key, parser.expression()?))
                })?;
                let below = items.iter().map(|(k, v)| k.height.max(v.height)).max().unwrap_or(0);
                self.node(Kind::Dict(items), below)
            }
            _ => self.fault(format!("unexpected {}", self.found())),
        }
    }

    /// Items between commas up to `end`, one comma ahead of it allowed.
    fn items<T>(&mut self, end: &str, item: fn(&mut Self) -> Run<T>) -> Run<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        self.expect_op(end)?;
        Ok(items)
    }

    /// One expression, or several with commas as a tuple.
    pub(super) fn tuple(&mut self, conditions: bool, ends: &[&str], parentheses: bool) -> Run<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.at_tuple_end() || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            items.push(if conditions {
                self.expression()?
            } else {
                self.enter()?;
                let expr = self.or()?;
                self.depth -= 1;
                expr
            });
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple && let Some(one) = items.pop() {
            return Ok(one);
        }
        if !is_tuple && !parentheses {
            return self.fault(format!("found {}, expected an expression", self.found()));
        }
        let below = items.iter().map(|item| item.height).max().unwrap_or(0);
        self.node(Kind::Tuple(items), below)
    }

    fn postfix(&mut self, mut expr: Expr) -> Run<Expr> {
        loop {
            expr = match self.kind() {
                lexer::Kind::Op(".") => self.attribute(expr)?,
                lexer::Kind::Op("[") => self.subscript(expr)?,
                lexer::Kind::Op("(") => self.call(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    fn filters(&mut self, mut expr: Expr) -> Run<Expr> {
        loop {
            expr = if self.is_op("|") {
                self.filter(Some(expr), false)?.expect("a filter stands here")
            } else if self.is_name("is") {
                self.test(expr)?
            } else if self.is_op("(") {
                self.call(expr)?
            } else {
                return Ok(expr);
            };
        }
    }

    fn attribute(&mut self, expr: Expr) -> Run<Expr> {
        self.next();
        let below = expr.height;
        match self.next() {
            lexer::Kind::Name(name) => self.node(Kind::Attribute(Box::new(expr), name), below),
            lexer::Kind::Int(value) => {
                let index = Expr { kind: Kind::Const(Literal::int((*value).clone())), height: 1 };
                self.node(Kind::Item(Box::new(expr), Box::new(index)), below)
            }
            _ => self.fault("expected a name or a number behind '.'"),
        }
    }

    fn subscript(&mut self, expr: Expr) -> Run<Expr> {
        self.next();
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            items.push(self.subscribed()?);
        }
        self.expect_op("]")?;
        let below = items.iter().map(|item| item.height).fold(expr.height, u32::max);
        let index = match (items.len(), items.pop()) {
            (1, Some(one)) => one,
            (_, last) => self.node(Kind::Tuple(items.into_iter().chain(last).collect()), below)?,
        };
        self.node(Kind::Item(Box::new(expr), Box::new(index)), below + 1)
    }

    fn subscribed(&mut self) -> Run<Expr> {
        let mut parts = [None, None, None];
        if !self.is_op(":") {
            let first = self.expression()?;
            if !self.is_op(":") {
                return Ok(first);
            }
            parts[0] = Some(first);
        }
        for part in &mut parts[1..] {
            if !self.skip_op(":") {
                break;
            }
            if !self.is_op(":") && !self.is_op("]") && !self.is_op(",") {
                *part = Some(self.expression()?);
            }
        }
        let below = parts.iter().map(height).max().unwrap_or(0);
        self.node(Kind::Slice(Box::new(parts)), below)
    }

    fn call(&mut self, expr: Expr) -> Run<Expr> {
        let arguments = self.arguments()?;
        let below = expr.height.max(arguments.height());
        self.node(Kind::Call(Box::new(expr), Box::new(arguments)), below)
    }

    fn arguments(&mut self) -> Run<Arguments> {
        self.expect_op("(")?;
        let mut found = Arguments::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            let named = matches!(self.kind(), lexer::Kind::Name(_)) && *self.look() == lexer::Kind::Op("=");
            let fits = if self.skip_op("*") {
                let fits = found.all_positional.is_none() && found.all_named.is_none();
                found.all_positional = Some(self.expression()?);
                fits
            } else if self.skip_op("**") {
                let fits = found.all_named.is_none();
                found.all_named = Some(self.expression()?);
                fits
            } else if named {
                let name = self.identifier()?;
                self.next();
                found.named.push((name, self.expression()?));
                found.all_named.is_none()
            } else {
                found.positional.push(self.expression()?);
                found.all_positional.is_none() && found.all_named.is_none() && found.named.is_empty()
            };
            if !fits {
                return self.fault("invalid syntax for function call expression");
            }
        }
        self.expect_op(")")?;
        Ok(found)
    }

    /// A chain of filters on `expr`; `first` when one must stand here without its `|`.
    pub(super) fn filter(&mut self, mut expr: Option<Expr>, mut first: bool) -> Run<Option<Expr>> {
        while first || self.is_op("|") {
            if !std::mem::take(&mut first) {
                self.next();
            }
            let name = self.dotted()?;
            if !names::is_known(&name) {
                self.note_unknown("filter", &name);
            }
            let arguments = if self.is_op("(") { self.arguments()? } else { Arguments::default() };
            let below = height(&expr).max(arguments.height());
            expr = Some(self.node(Kind::Filter(expr.map(Box::new), name, Box::new(arguments)), below)?);
        }
        Ok(expr)
    }

    fn note_unknown(&mut self, what: &str, name: &str) {
        if self.soft == 0 && self.unknown.is_none() {
            self.unknown = self.fault::<()>(format!("no {what} named '{name}'")).err();
        }
    }

    fn dotted(&mut self) -> Run<Rc<str>> {
        let first = self.identifier()?;
        if !self.is_op(".") {
            return Ok(first);
        }
        let mut name = first.to_string();
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.identifier()?);
        }
        Ok(name.into())
    }

    fn test(&mut self, expr: Expr) -> Run<Expr> {
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        if !checks::is_known(&name) {
            self.note_unknown("test", &name);
        }
        let mut arguments = Arguments::default();
        if self.is_op("(") {
            arguments = self.arguments()?;
        } else if self.starts_argument() {
            if self.is_name("is") {
                return self.fault("you cannot chain multiple tests with is");
            }
            self.enter()?;
            let primary = self.primary()?;
            arguments.positional.push(self.postfix(primary)?);
            self.depth -= 1;
        }
        let below = expr.height.max(arguments.height());
        let test = self.node(Kind::Test(Box::new(expr), name, Box::new(arguments)), below)?;
        if negated { self.node(Kind::Not(Box::new(test)), below + 1) } else { Ok(test) }
    }

    /// Whether a test's argument without parentheses stands here.
    fn starts_argument(&self) -> bool {
        match self.kind() {
            lexer::Kind::Name(name) => !matches!(&**name, "else" | "or" | "and"),
            lexer::Kind::Str(_) | lexer::Kind::Int(_) | lexer::Kind::Float(_) => true,
            lexer::Kind::Op(op) => matches!(*op, "[" | "{"),
            _ => false,
        }
    }
}

impl Arguments {
    fn height(&self) -> u32 {
        let named = self.named.iter().map(|(_, e)| e.height);
        let all = height(&self.all_positional).max(height(&self.all_named));
        self.positional.iter().map(|e| e.height).chain(named).fold(all, u32::max)
    }
}

fn height(expr: &Option<Expr>) -> u32 {
    expr.as_ref().map_or(0, |e| e.height)
}
