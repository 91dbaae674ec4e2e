//! Calls: macros, recursive loops, functions and methods.

use std::rc::Rc;

use super::args::Args;
use super::ast::{Expr, Kind};
use super::compare;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::methods::names;
use super::value::{Loop, MacroValue, Scope, Value};
use super::{functions, methods};

impl Eval<'_> {
    /// The result of a call expression; `caller` is the body of a call block.
    pub(super) fn call_with(&self, expr: &Expr, scope: &Rc<Scope>, caller: Option<Value>) -> Run<Value> {
        let Kind::Call(callee, arguments) = &expr.kind else { return self.expr(expr, scope) };
        let callee = self.expr(callee, scope)?;
        let mut args = self.args(arguments, scope)?;
        if let Some(caller) = caller {
            args.named.push(("caller".into(), caller));
        }
        self.call(&callee, args)
    }

    fn call(&self, callee: &Value, args: Args) -> Run<Value> {
        match callee {
            Value::Macro(found) => self.call_macro(found, args),
            Value::Function(name) => functions::call(self, name, args),
            Value::Method(method) => methods::call(self, method, args),
            Value::Loop(inner) => self.call_loop(inner, args),
            Value::Joiner(joiner) => {
                args.none("joiner")?;
                if joiner.used.replace(true) { Ok(joiner.text.clone()) } else { self.ctx.text("") }
            }
            Value::Undefined(missing) => Err(Value::missing(missing)),
            other => Err(Fault::failed(format!("'{}' object is not callable", other.type_name()))),
        }
    }

    fn call_macro(&self, found: &MacroValue, mut args: Args) -> Run<Value> {
        let definition = &found.definition;
        let name = definition.name.as_deref().unwrap_or("caller");
        let scope = Scope::inside(&found.scope);
        let expected = definition.arguments.len();
        let rest = args.positional.split_off(expected.min(args.positional.len()));
        if !rest.is_empty() && !definition.uses.varargs {
            return Err(Fault::failed(format!("macro '{name}' takes not more than {expected} argument(s)")));
        }
        let mut given = args.positional.into_iter();
        let mut explicit_caller = false;
        for (argument, default) in &definition.arguments {
            let spelled = &self.names[*argument as usize];
            explicit_caller |= &**spelled == "caller";
            let named = || args.named.iter().position(|(known, _)| known == spelled);
            self.ctx.budget.steps(1 + args.named.len() / 16)?;
            let value = match given.next() {
                Some(value) => value,
                None => match (named(), default) {
                    (Some(at), _) => args.named.remove(at).1,
                    (None, Some(default)) => self.expr(default, &scope)?,
                    (None, None) => Value::hint(format!("parameter '{spelled}' was not provided")),
                },
            };
            scope.set(&self.ctx.budget, *argument, value)?;
        }
        if definition.uses.caller && !explicit_caller {
            let at = args.named.iter().position(|(known, _)| &**known == "caller");
            let caller = at.map_or_else(|| Value::hint("No caller defined"), |at| args.named.remove(at).1);
            self.set_named(&scope, "caller", caller)?;
        }
        if definition.uses.kwargs {
            let pairs = std::mem::take(&mut args.named).into_iter();
            let pairs = pairs.map(|(name, value)| Ok((self.ctx.text(&name)?, value))).collect::<Run<Vec<_>>>()?;
            self.set_named(&scope, "kwargs", self.ctx.dict(pairs)?)?;
        } else if let Some((keyword, _)) = args.named.first() {
            return Err(Fault::failed(format!("macro '{name}' takes no keyword argument '{keyword}'")));
        }
        if definition.uses.varargs {
            self.set_named(&scope, "varargs", self.ctx.tuple(rest)?)?;
        }
        let mut out = self.ctx.builder();
        self.run(&definition.body, &scope, &mut out)?;
        self.ctx.finish(out)
    }

    fn set_named(&self, scope: &Scope, name: &str, value: Value) -> Run<()> {
        self.ctx.budget.steps(self.names.len() / 16)?;
        match self.names.iter().position(|known| &**known == name) {
            Some(at) => scope.set(&self.ctx.budget, at as u32, value),
            None => Ok(()),
        }
    }

    fn call_loop(&self, state: &Loop, args: Args) -> Run<Value> {
        let [over] = args.bind("loop", ["iterable"])?;
        let Some((node, outer)) = state.node.as_ref().filter(|(node, _)| node.recursive) else {
            let text = "the loop must have the 'recursive' marker to be called recursively";
            return Err(Fault::failed(text));
        };
        let over = over.ok_or_else(|| Fault::failed("loop: missing the argument 'iterable'"))?;
        let mut out = self.ctx.builder();
        self.for_loop(node, &over, outer, state.depth + 1, &mut out)?;
        self.ctx.finish(out)
    }

    /// An attribute of `loop`; nothing if it has none of this name.
    pub(super) fn loop_attribute(&self, state: &Rc<Loop>, name: &str) -> Run<Option<Value>> {
        let number = |n: usize| Some(Value::Int(n as i64));
        let index = state.index.get();
        Ok(match name {
            "index" => number(index + 1),
            "index0" => number(index),
            "first" => Some(Value::Bool(index == 0)),
            "last" => Some(Value::Bool(self.peek_item(state)?.is_none())),
            "length" => number(self.loop_length(state)?),
            "revindex" => number(self.loop_length(state)? - index),
            "revindex0" => number(self.loop_length(state)? - index - 1),
            "depth" => number(state.depth + 1),
            "depth0" => number(state.depth),
            "previtem" if index == 0 => Some(Value::hint("there is no previous item")),
            "previtem" => state.before.borrow().clone(),
            "nextitem" => Some(self.peek_item(state)?.unwrap_or_else(|| Value::hint("there is no next item"))),
            "cycle" => Some(names::method(&Value::Loop(Rc::clone(state)), "cycle")),
            "changed" => Some(names::method(&Value::Loop(Rc::clone(state)), "changed")),
            _ => None,
        })
    }

    /// `loop.changed(...)`.
    pub(super) fn loop_changed(&self, state: &Loop, args: Args) -> Run<Value> {
        let now = self.ctx.tuple(args.positional)?;
        let before = state.changed.borrow().clone();
        let same = before.map_or(Ok(false), |before| compare::equal(self.ctx, &before, &now))?;
        if !same {
            state.changed.replace(Some(now));
        }
        Ok(Value::Bool(!same))
    }
}
