//! The values of a template, and the scopes of its variables: macros and loops hold scopes, and scopes hold values.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use indexmap::IndexMap;
use num_bigint::BigInt;

use super::ast::{self, Literal, Name};
use super::budget::{Budget, Builder, Held};
use super::fault::{Fault, Run};
use super::key::Key;
use super::text::{OVERHEAD, Text};

/// Deepest nesting of values: Python's own bound for whoever walks through one.
pub(super) const MAX_DEPTH: u32 = 500;

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    Undefined(Rc<Missing>),
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits.
    Big(Rc<BigInt>),
    Float(f64),
    Str(Rc<Text>),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Rc<Range>),
    /// Something that can be walked through once.
    Iter(Rc<Iter>),
    Slice(Rc<[Value; 3]>),
    Namespace(Rc<Namespace>),
    Macro(Rc<MacroValue>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    /// A global function.
    Function(&'static str),
    Method(Rc<Method>),
}

/// What is not there.
pub(super) enum Missing {
    /// A variable.
    Name(Rc<str>),
    /// Something else, with what is said about it.
    Hint(String),
    /// Something that is there and that templates must not touch.
    Unsafe(String),
}

/// The items of a list or tuple.
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) depth: u32,
    /// Whether it is a pair that `groupby` makes, with names for its items.
    pub(super) group: bool,
    _held: Held,
}

/// A dictionary, in the order in which its keys came.
pub(super) struct Dict {
    pub(super) entries: IndexMap<Key, (Value, Value)>,
    pub(super) depth: u32,
    /// Whether it is what a tool answered: then `is sequence` says no. Gemma 4's template means to write such an
    /// answer as an object, but takes it for a list of parts in Python, where dictionaries pass as sequences.
    pub(super) answer: bool,
    _held: Held,
}

/// What a view of a dictionary shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// `range(start, stop, step)` with its length.
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
    pub(super) length: usize,
}

/// What is left of something that can be walked through once.
pub(super) struct Iter {
    /// The name of its type.
    pub(super) name: &'static str,
    pub(super) list: Rc<List>,
    pub(super) at: Cell<usize>,
}

/// `namespace()`.
pub(super) struct Namespace {
    pub(super) entries: RefCell<IndexMap<Rc<str>, Value>>,
    pub(super) held: RefCell<Held>,
}

/// A macro with the scope that it was defined in.
pub(super) struct MacroValue {
    pub(super) definition: Rc<ast::Macro>,
    pub(super) scope: Rc<Scope>,
}

/// `loop`.
pub(super) struct Loop {
    pub(super) items: Items,
    /// Items that were taken so far, and those that were looked at ahead of their turn.
    pub(super) taken: Cell<usize>,
    pub(super) ahead: RefCell<VecDeque<Value>>,
    pub(super) index: Cell<usize>,
    pub(super) before: RefCell<Option<Value>>,
    pub(super) current: RefCell<Option<Value>>,
    pub(super) depth: usize,
    pub(super) changed: RefCell<Option<Value>>,
    /// The loop itself and the scope around it, where it has a condition or is recursive.
    pub(super) node: Option<(Rc<ast::For>, Rc<Scope>)>,
}

/// `cycler()`.
pub(super) struct Cycler {
    pub(super) items: Vec<Value>,
    pub(super) at: Cell<usize>,
}

/// `joiner()`.
pub(super) struct Joiner {
    pub(super) text: Value,
    pub(super) used: Cell<bool>,
}

/// A method of a value.
pub(super) struct Method {
    pub(super) of: Value,
    pub(super) name: &'static str,
}

/// Items to be walked through.
#[derive(Clone)]
pub(super) enum Items {
    List(Rc<List>),
    Chars(Rc<Text>),
    Dict(View, Rc<Dict>),
    Range(Rc<Range>),
    None,
}

impl From<Literal> for Value {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::None => Value::None,
            Literal::Bool(b) => Value::Bool(b),
            Literal::Int(n) => Value::Int(n),
            Literal::Big(n) => Value::Big(n),
            Literal::Float(n) => Value::Float(n),
            Literal::Str(text) => Value::Str(text),
        }
    }
}

/// Bytes of an entry in a dictionary.
const ENTRY: usize = 120;

impl Value {
    pub(super) fn list(budget: &Budget, items: Vec<Value>) -> Run<Value> {
        List::new(budget, items).map(|list| Value::List(Rc::new(list)))
    }

    pub(super) fn tuple(budget: &Budget, items: Vec<Value>) -> Run<Value> {
        List::new(budget, items).map(|list| Value::Tuple(Rc::new(list)))
    }

    /// What a generator of Python's would be; its items are there at once here.
    pub(super) fn iter(budget: &Budget, name: &'static str, items: Vec<Value>) -> Run<Value> {
        let list = Rc::new(List::new(budget, items)?);
        Ok(Value::Iter(Rc::new(Iter { name, list, at: Cell::new(0) })))
    }

    pub(super) fn hint(text: impl Into<String>) -> Value {
        Value::Undefined(Rc::new(Missing::Hint(text.into())))
    }

    pub(super) fn as_text(&self) -> Option<&Rc<Text>> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// How deep values are nested in this one. What can change later counts as one.
    pub(super) fn depth(&self) -> u32 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth,
            Value::Iter(iter) => iter.list.depth,
            Value::Slice(parts) => 1 + parts.iter().map(Value::depth).max().unwrap_or(0),
            Value::Cycler(cycler) => 1 + cycler.items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Joiner(joiner) => 1 + joiner.text.depth(),
            Value::Method(method) => 1 + method.of.depth(),
            Value::Loop(inner) => inner.items.depth(),
            Value::Namespace(_) | Value::Macro(_) => 1,
            _ => 0,
        }
    }

    /// The name of its type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(_) => "range",
            Value::Iter(iter) => iter.name,
            Value::Slice(_) => "slice",
            Value::Namespace(_) => "Namespace",
            Value::Macro(_) => "Macro",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
            Value::Function(_) => "function",
            Value::Method(_) => "builtin_function_or_method",
        }
    }

    /// Python's truth of the value.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(n) => *n != 0.0,
            Value::Loop(inner) => inner.items.len() > 0,
            other => other.len().is_none_or(|len| len > 0),
        }
    }

    /// `len`, for what has one.
    pub(super) fn len(&self) -> Option<usize> {
        Some(match self {
            Value::Undefined(_) => 0,
            Value::Str(text) => text.chars,
            Value::List(list) | Value::Tuple(list) => list.items.len(),
            Value::Dict(dict) | Value::View(_, dict) => dict.entries.len(),
            Value::Range(range) => range.length,
            Value::Loop(inner) => inner.items.len(),
            _ => return None,
        })
    }

    /// Why what is not there cannot be used.
    pub(super) fn missing(missing: &Missing) -> Fault {
        match missing {
            Missing::Name(name) => Fault::failed(format!("'{name}' is undefined")),
            Missing::Hint(hint) => Fault::failed(hint.clone()),
            Missing::Unsafe(hint) => Fault::Forbidden(hint.clone()),
        }
    }

    /// The items of something that can be walked through; what can be walked through once is used up.
    pub(super) fn items(&self, budget: &Budget) -> Run<Items> {
        Ok(match self {
            Value::Undefined(_) => Items::None,
            Value::Str(text) => Items::Chars(Rc::clone(text)),
            Value::List(list) | Value::Tuple(list) => Items::List(Rc::clone(list)),
            Value::Dict(dict) => Items::Dict(View::Keys, Rc::clone(dict)),
            Value::View(view, dict) => Items::Dict(*view, Rc::clone(dict)),
            Value::Range(range) => Items::Range(Rc::clone(range)),
            Value::Iter(iter) => {
                let at = iter.at.replace(iter.list.items.len());
                if at == 0 {
                    return Ok(Items::List(Rc::clone(&iter.list)));
                }
                let rest = iter.list.items[at..].to_vec();
                Items::List(Rc::new(List::new(budget, rest)?))
            }
            other => return Err(Fault::failed(format!("'{}' object is not iterable", other.type_name()))),
        })
    }
}

impl List {
    pub(super) fn new(budget: &Budget, items: Vec<Value>) -> Run<Self> {
        let held = budget.hold(items.capacity() * size_of::<Value>() + OVERHEAD)?;
        let depth = nested(items.iter().map(Value::depth).max().unwrap_or(0))?;
        Ok(Self { items, depth, group: false, _held: held })
    }
}

impl Dict {
    /// A dictionary of these entries; a key that comes again keeps its place and takes the last value.
    pub(super) fn new(budget: &Budget, pairs: impl IntoIterator<Item = (Key, Value, Value)>) -> Run<Self> {
        let (mut entries, mut deepest, mut held) = (IndexMap::<Key, (Value, Value)>::new(), 0, budget.hold(OVERHEAD)?);
        for (key, spelled, value) in pairs {
            budget.grow(&mut held, ENTRY + key.bytes())?;
            deepest = deepest.max(value.depth()).max(spelled.depth());
            match entries.get_mut(&key) {
                Some(entry) => entry.1 = value,
                None => {
                    entries.insert(key, (spelled, value));
                }
            }
        }
        Ok(Self { entries, depth: nested(deepest)?, answer: false, _held: held })
    }
}

fn nested(deepest: u32) -> Run<u32> {
    if deepest >= MAX_DEPTH { Err(Fault::Deep("values")) } else { Ok(deepest + 1) }
}

impl Range {
    pub(super) fn get(&self, index: usize) -> Value {
        Value::Int(self.start.wrapping_add(self.step.wrapping_mul(index as i64)))
    }
}

impl Items {
    pub(super) fn len(&self) -> usize {
        match self {
            Items::List(list) => list.items.len(),
            Items::Chars(text) => text.chars,
            Items::Dict(_, dict) => dict.entries.len(),
            Items::Range(range) => range.length,
            Items::None => 0,
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Items::List(list) => list.depth,
            Items::Dict(_, dict) => dict.depth,
            _ => 0,
        }
    }

    /// The item at `index`, a step paid for it.
    pub(super) fn get(&self, budget: &Budget, index: usize) -> Run<Option<Value>> {
        budget.steps(1)?;
        Ok(match self {
            Items::List(list) => list.items.get(index).cloned(),
            Items::Range(range) => (index < range.length).then(|| range.get(index)),
            Items::Dict(view, dict) => match dict.entries.get_index(index) {
                Some((_, entry)) => Some(view.show(budget, entry)?),
                None => None,
            },
            // Text that is walked through is cut into a list first: see `ready`.
            Items::Chars(text) if text.is_ascii() => match text.text.get(index..index + 1) {
                Some(one) => {
                    let held = budget.hold(1 + OVERHEAD)?;
                    Some(Value::Str(Rc::new(Text::from_parts(one.to_owned(), held, false))))
                }
                None => None,
            },
            Items::Chars(_) | Items::None => None,
        })
    }

    /// Items that can be asked for by their index: longer characters are cut apart.
    pub(super) fn ready(self, budget: &Budget) -> Run<Items> {
        let Items::Chars(text) = &self else { return Ok(self) };
        if text.is_ascii() {
            return Ok(self);
        }
        let mut items = Vec::new();
        for c in text.text.chars() {
            let mut builder = Builder::new(budget);
            builder.push_char(c)?;
            let (one, mut held) = builder.into_parts();
            budget.grow(&mut held, OVERHEAD)?;
            items.push(Value::Str(Rc::new(Text::from_parts(one, held, text.hidden))));
        }
        Ok(Items::List(Rc::new(List::new(budget, items)?)))
    }
}

impl View {
    pub(super) fn show(self, budget: &Budget, (key, value): &(Value, Value)) -> Run<Value> {
        match self {
            View::Keys => Ok(key.clone()),
            View::Values => Ok(value.clone()),
            View::Items => Value::tuple(budget, vec![key.clone(), value.clone()]),
        }
    }
}

/// Variables, in scopes that lie in one another.
#[derive(Default)]
pub(super) struct Scope {
    variables: RefCell<Vec<(Name, Value)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    /// An empty scope inside `parent`.
    pub(super) fn inside(parent: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), parent: Some(Rc::clone(parent)) })
    }

    pub(super) fn set(&self, budget: &Budget, name: Name, value: Value) -> Run<()> {
        let mut variables = self.variables.borrow_mut();
        budget.steps(variables.len() / 16)?;
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    /// The value of a variable here or further out.
    pub(super) fn get(&self, budget: &Budget, name: Name) -> Run<Option<Value>> {
        let mut scope = self;
        loop {
            let variables = scope.variables.borrow();
            budget.steps(variables.len() / 16)?;
            if let Some((_, value)) = variables.iter().find(|(known, _)| *known == name) {
                return Ok(Some(value.clone()));
            }
            match &scope.parent {
                Some(parent) => scope = parent,
                None => return Ok(None),
            }
        }
    }

    /// The outermost scope around this one.
    pub(super) fn root(scope: &Rc<Scope>) -> Rc<Scope> {
        let mut scope = scope;
        while let Some(parent) = &scope.parent {
            scope = parent;
        }
        Rc::clone(scope)
    }

    /// Takes all variables out.
    pub(super) fn clear(&self) -> Vec<(Name, Value)> {
        self.variables.take()
    }
}
