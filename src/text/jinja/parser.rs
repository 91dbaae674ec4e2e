//! Statements of a template, by the rules of jinja2's parser with `loopcontrols` and transformers' `generation`.
//!
//! Nesting is bounded, in statements, brackets and chains of operators alike: jinja2 itself cannot have more than 200
//! of them in one another, as it writes Python with so many parentheses. What is deeper is refused here, so that
//! parsing, walking and dropping the tree need no more stack than the thread has.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::ast::{Expr, For, Kind, Literal, Macro, Name, Program, Stmt, Target, Uses};
use super::budget::Budget;
use super::fault::{Fault, Run};
use super::lexer::{self, Token};
use super::text::Text;

/// Deepest nesting of statements, and of expressions.
pub(super) const MAX_NESTING: u32 = 200;

/// Parses `source`.
pub(super) fn parse(source: &str, budget: &Budget) -> Run<Program> {
    let source = lexer::normalized(source);
    let tokens = lexer::tokens(&source)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        soft: 0,
        loops: 0,
        uses: Uses::default(),
        names: Vec::new(),
        places: HashMap::new(),
        blocks: HashSet::new(),
        unknown: None,
        budget,
    };
    let body = parser.body(&[])?;
    if let Some(unknown) = parser.unknown {
        return Err(unknown);
    }
    Ok(Program { body, names: parser.names })
}

pub(super) struct Parser<'b> {
    tokens: Vec<Token>,
    at: usize,
    pub(super) depth: u32,
    /// Inside a condition names of filters may be unknown until they are used.
    pub(super) soft: u32,
    /// Loops around this place within one function.
    loops: u32,
    pub(super) uses: Uses,
    names: Vec<Rc<str>>,
    places: HashMap<Rc<str>, Name>,
    blocks: HashSet<Rc<str>>,
    /// The first name of a filter or test that nobody knows, outside of conditions.
    pub(super) unknown: Option<Fault>,
    budget: &'b Budget,
}

impl Parser<'_> {
    pub(super) fn kind(&self) -> &lexer::Kind {
        &self.tokens[self.at].kind
    }

    pub(super) fn look(&self) -> &lexer::Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    /// The current token, which is passed; the end is never passed.
    pub(super) fn next(&mut self) -> lexer::Kind {
        let kind = self.kind().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    pub(super) fn fault<T>(&self, text: impl std::fmt::Display) -> Run<T> {
        Err(Fault::Syntax(format!("{text} in line {}", self.tokens[self.at].line)))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.kind(), lexer::Kind::Op(found) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), lexer::Kind::Name(found) if &**found == name)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Run<()> {
        if self.skip_op(op) { Ok(()) } else { self.fault(format!("found {}, expected '{op}'", self.found())) }
    }

    fn expect_name(&mut self, name: &str) -> Run<()> {
        if self.skip_name(name) { Ok(()) } else { self.fault(format!("found {}, expected '{name}'", self.found())) }
    }

    pub(super) fn identifier(&mut self) -> Run<Rc<str>> {
        let lexer::Kind::Name(name) = self.kind() else {
            return self.fault(format!("found {}, expected a name", self.found()));
        };
        let name = Rc::clone(name);
        self.next();
        Ok(name)
    }

    fn block_end(&mut self) -> Run<()> {
        if *self.kind() == lexer::Kind::BlockEnd {
            self.next();
            return Ok(());
        }
        self.fault(format!("found {}, expected the end of the block", self.found()))
    }

    /// The current token for a message.
    pub(super) fn found(&self) -> String {
        match self.kind() {
            lexer::Kind::Data(_) => "text".into(),
            lexer::Kind::VariableBegin => "'{{'".into(),
            lexer::Kind::VariableEnd => "'}}'".into(),
            lexer::Kind::BlockBegin => "'{%'".into(),
            lexer::Kind::BlockEnd => "'%}'".into(),
            lexer::Kind::Name(name) => format!("'{name}'"),
            lexer::Kind::Str(_) => "a string".into(),
            lexer::Kind::Int(_) | lexer::Kind::Float(_) => "a number".into(),
            lexer::Kind::Op(op) => format!("'{op}'"),
            lexer::Kind::End => "the end of the template".into(),
        }
    }

    /// Goes one level deeper; whoever calls this takes the level back.
    pub(super) fn enter(&mut self) -> Run<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return self.too_deep();
        }
        Ok(())
    }

    pub(super) fn too_deep<T>(&self) -> Run<T> {
        self.fault(format!("found nesting deeper than {MAX_NESTING}, expected less,"))
    }

    pub(super) fn name(&mut self, name: &Rc<str>) -> Name {
        match &**name {
            "caller" => self.uses.caller = true,
            "kwargs" => self.uses.kwargs = true,
            "varargs" => self.uses.varargs = true,
            _ => {}
        }
        let next = self.names.len() as Name;
        let place = *self.places.entry(Rc::clone(name)).or_insert(next);
        if place == next {
            self.names.push(Rc::clone(name));
        }
        place
    }

    pub(super) fn text(&self, text: &str) -> Run<Rc<Text>> {
        Text::plain(self.budget, text).map(Rc::new)
    }

    /// Statements up to a tag of `ends`, which is left to be read.
    fn body(&mut self, ends: &[&str]) -> Run<Vec<Stmt>> {
        self.enter()?;
        let mut body = Vec::new();
        loop {
            match self.next() {
                lexer::Kind::Data(text) => body.push(Stmt::Text(self.text(&text)?)),
                lexer::Kind::VariableBegin => {
                    body.push(Stmt::Print(self.tuple(true, &[], false)?));
                    if self.next() != lexer::Kind::VariableEnd {
                        self.at -= 1;
                        return self.fault(format!("found {}, expected '}}}}'", self.found()));
                    }
                }
                lexer::Kind::BlockBegin => {
                    if ends.iter().any(|end| self.is_name(end)) {
                        break;
                    }
                    let tag = self.identifier()?;
                    body.push(self.statement(&tag)?);
                    self.block_end()?;
                }
                _ if ends.is_empty() => break,
                _ => return self.fault(format!("found the end of the template, expected '{}'", ends.join("' or '"))),
            }
        }
        self.depth -= 1;
        Ok(body)
    }

    /// The end of a tag, the body up to one of `ends`, and which one it was.
    fn statements(&mut self, ends: &[&str]) -> Run<(Vec<Stmt>, Rc<str>)> {
        self.skip_op(":");
        self.block_end()?;
        let body = self.body(ends)?;
        Ok((body, self.identifier()?))
    }

    fn statement(&mut self, tag: &str) -> Run<Stmt> {
        match tag {
            "for" => self.for_loop(),
            "if" => self.condition(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => self.macro_definition(),
            "call" => self.call_block(),
            "filter" => {
                let filter = self.filter(None, true)?.expect("a filter stands at the start");
                let (body, _) = self.statements(&["endfilter"])?;
                Ok(Stmt::FilterBlock { filter, body })
            }
            "generation" => {
                let loops = std::mem::take(&mut self.loops);
                let (body, _) = self.statements(&["endgeneration"])?;
                self.loops = loops;
                Ok(Stmt::Scope { fresh: false, body })
            }
            "block" => self.block(),
            "autoescape" => {
                let expr = self.expression()?;
                if !matches!(expr.kind, Kind::Const(Literal::Bool(false))) {
                    return self.fault("found autoescape, which is not offered");
                }
                Ok(Stmt::Scope { fresh: false, body: self.statements(&["endautoescape"])?.0 })
            }
            "print" => self.print(),
            "break" | "continue" if self.loops == 0 => {
                self.fault(format!("found '{tag}' outside of a loop, expected a loop"))
            }
            "break" => Ok(Stmt::Break),
            "continue" => Ok(Stmt::Continue),
            "extends" | "include" | "import" | "from" => {
                while !matches!(self.kind(), lexer::Kind::BlockEnd | lexer::Kind::End) {
                    self.next();
                }
                Ok(Stmt::Elsewhere(match tag {
                    "extends" => "extends",
                    "include" => "include",
                    _ => "import",
                }))
            }
            _ => {
                self.at -= 1;
                self.fault(format!("encountered unknown tag '{tag}'"))
            }
        }
    }

    fn for_loop(&mut self) -> Run<Stmt> {
        let target = self.target(&["in"], false)?;
        self.expect_name("in")?;
        let over = self.tuple(false, &["recursive"], false)?;
        let only_if = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        // A recursive loop is a function: what is around it cannot be left from inside.
        let outer = if recursive { std::mem::take(&mut self.loops) } else { self.loops };
        self.loops += 1;
        let (body, end) = self.statements(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if &*end == "else" { self.statements(&["endfor"])?.0 } else { Vec::new() };
        self.loops = outer;
        Ok(Stmt::For(Rc::new(For { target, over, only_if, recursive, body, otherwise })))
    }

    fn condition(&mut self) -> Run<Stmt> {
        self.soft += 1;
        let mut branches = Vec::new();
        let otherwise = loop {
            let test = self.tuple(false, &[], false)?;
            let (body, end) = self.statements(&["elif", "else", "endif"])?;
            branches.push((test, body));
            match &*end {
                "elif" => {}
                "else" => break self.statements(&["endif"])?.0,
                _ => break Vec::new(),
            }
        };
        self.soft -= 1;
        Ok(Stmt::If { branches, otherwise })
    }

    fn set(&mut self) -> Run<Stmt> {
        let target = self.target(&[], true)?;
        if self.skip_op("=") {
            return Ok(Stmt::Set { target, value: self.tuple(true, &[], false)? });
        }
        let filter = self.filter(None, false)?;
        let (body, _) = self.statements(&["endset"])?;
        Ok(Stmt::SetBlock { target, filter, body })
    }

    fn with(&mut self) -> Run<Stmt> {
        let mut values = Vec::new();
        while !matches!(self.kind(), lexer::Kind::BlockEnd | lexer::Kind::End) && !self.is_op(":") {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        let (body, _) = self.statements(&["endwith"])?;
        Ok(Stmt::With { values, body })
    }

    fn block(&mut self) -> Run<Stmt> {
        let name = self.identifier()?;
        if !self.blocks.insert(Rc::clone(&name)) {
            return self.fault(format!("block '{name}' defined twice"));
        }
        let scoped = self.skip_name("scoped");
        self.skip_name("required");
        let loops = std::mem::take(&mut self.loops);
        let (body, _) = self.statements(&["endblock"])?;
        self.loops = loops;
        self.skip_name(&name);
        Ok(Stmt::Scope { fresh: !scoped, body })
    }

    fn print(&mut self) -> Run<Stmt> {
        let mut items = Vec::new();
        while !matches!(self.kind(), lexer::Kind::BlockEnd | lexer::Kind::End) {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            items.push(self.expression()?);
        }
        let height = 1 + items.iter().map(|item| item.height).max().unwrap_or(0);
        Ok(Stmt::Print(Expr { kind: Kind::Concat(items), height }))
    }

    fn signature(&mut self) -> Run<Vec<(Name, Option<Expr>)>> {
        let mut arguments: Vec<(Name, Option<Expr>)> = Vec::new();
        let mut known = HashSet::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !arguments.is_empty() {
                self.expect_op(",")?;
            }
            let identifier = self.identifier()?;
            let name = self.name(&identifier);
            if !known.insert(name) {
                return self.fault(format!("found the argument '{identifier}' twice"));
            }
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && arguments.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fault("non-default argument follows default argument");
            }
            arguments.push((name, default));
        }
        self.expect_op(")")?;
        Ok(arguments)
    }

    fn macro_definition(&mut self) -> Run<Stmt> {
        let name = self.identifier()?;
        let target = self.name(&name);
        self.function(Some(name), target, "endmacro", |parser| parser.signature()).map(Stmt::Macro)
    }

    /// A macro's or call block's arguments and body, as one function.
    fn function(
        &mut self,
        name: Option<Rc<str>>,
        target: Name,
        end: &str,
        signature: impl FnOnce(&mut Self) -> Run<Vec<(Name, Option<Expr>)>>,
    ) -> Run<Rc<Macro>> {
        let outer = std::mem::take(&mut self.uses);
        let loops = std::mem::take(&mut self.loops);
        let arguments = signature(self)?;
        self.uses = Uses::default();
        let (body, _) = self.statements(&[end])?;
        let uses = self.uses;
        self.loops = loops;
        self.uses = Uses {
            caller: outer.caller || uses.caller,
            kwargs: outer.kwargs || uses.kwargs,
            varargs: outer.varargs || uses.varargs,
        };
        Ok(Rc::new(Macro { name, target, arguments, body, uses }))
    }

    fn call_block(&mut self) -> Run<Stmt> {
        let arguments = if self.is_op("(") { self.signature()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, Kind::Call(..)) {
            return self.fault("found another expression, expected a call");
        }
        let caller: Rc<str> = "caller".into();
        let uses = self.uses;
        let target = self.name(&caller);
        self.uses = uses;
        let body = self.function(None, target, "endcall", |_| Ok(arguments))?;
        Ok(Stmt::Call { call, body })
    }

    /// What is assigned to: a name, a namespace's attribute, or a tuple of them.
    fn target(&mut self, ends: &[&str], attributes: bool) -> Run<Target> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if ends.iter().any(|end| self.is_name(end)) || self.at_tuple_end() {
                break;
            }
            items.push(self.target_item(attributes)?);
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, items.pop()) {
            (false, Some(one)) => Ok(one),
            (false, None) => self.fault(format!("found {}, expected a name", self.found())),
            (true, last) => Ok(Target::Tuple(items.into_iter().chain(last).collect())),
        }
    }

    fn target_item(&mut self, attributes: bool) -> Run<Target> {
        self.enter()?;
        let target = if self.skip_op("(") {
            let inner = self.target(&[], attributes)?;
            self.expect_op(")")?;
            inner
        } else {
            let identifier = self.identifier()?;
            if matches!(&*identifier, "true" | "false" | "none" | "True" | "False" | "None") {
                return self.fault(format!("can't assign to '{identifier}'"));
            }
            let name = self.name(&identifier);
            if attributes && self.skip_op(".") {
                Target::Attribute(name, self.identifier()?)
            } else {
                Target::Name(name)
            }
        };
        self.depth -= 1;
        Ok(target)
    }

    pub(super) fn at_tuple_end(&self) -> bool {
        matches!(self.kind(), lexer::Kind::VariableEnd | lexer::Kind::BlockEnd) || self.is_op(")")
    }
}
