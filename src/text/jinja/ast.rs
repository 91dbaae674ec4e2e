//! A parsed template.

use std::rc::Rc;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::text::Text;

/// A name, as its place in [`Program::names`].
pub(super) type Name = u32;

/// A whole template.
pub(super) struct Program {
    pub(super) body: Vec<Stmt>,
    pub(super) names: Vec<Rc<str>>,
}

/// One statement.
pub(super) enum Stmt {
    Text(Rc<Text>),
    Print(Expr),
    For(Rc<For>),
    If {
        branches: Vec<(Expr, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    With {
        values: Vec<(Target, Expr)>,
        body: Vec<Stmt>,
    },
    Set {
        target: Target,
        value: Expr,
    },
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Vec<Stmt>,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Stmt>,
    },
    /// A body with a scope of its own: `{% generation %}`, `{% block %}`, `{% autoescape false %}`.
    Scope {
        fresh: bool,
        body: Vec<Stmt>,
    },
    Macro(Rc<Macro>),
    Call {
        call: Expr,
        body: Rc<Macro>,
    },
    Break,
    Continue,
    /// What needs other templates; an error when it is reached.
    Elsewhere(&'static str),
}

/// A loop.
pub(super) struct For {
    pub(super) target: Target,
    pub(super) over: Expr,
    pub(super) only_if: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Stmt>,
    pub(super) otherwise: Vec<Stmt>,
}

/// A macro, or the body of a call block.
pub(super) struct Macro {
    pub(super) name: Option<Rc<str>>,
    pub(super) target: Name,
    pub(super) arguments: Vec<(Name, Option<Expr>)>,
    pub(super) body: Vec<Stmt>,
    pub(super) uses: Uses,
}

/// Which of the names that macros know by themselves a body mentions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses {
    pub(super) caller: bool,
    pub(super) kwargs: bool,
    pub(super) varargs: bool,
}

/// Where an assignment goes.
pub(super) enum Target {
    Name(Name),
    Attribute(Name, Rc<str>),
    Tuple(Vec<Target>),
}

/// An expression, with its line and the height of its tree.
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) height: u32,
}

/// What an expression is.
pub(super) enum Kind {
    Const(Literal),
    Name(Name),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Cond { test: Box<Expr>, yes: Box<Expr>, no: Option<Box<Expr>> },
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Attribute(Box<Expr>, Rc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<[Option<Expr>; 3]>),
    Filter(Option<Box<Expr>>, Rc<str>, Box<Arguments>),
    Test(Box<Expr>, Rc<str>, Box<Arguments>),
    Call(Box<Expr>, Box<Arguments>),
}

/// What stands in a template as it is.
#[derive(Clone)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits.
    Big(Rc<BigInt>),
    Float(f64),
    Str(Rc<Text>),
}

impl Literal {
    /// An integer in its one form: small where it fits.
    pub(super) fn int(value: BigInt) -> Self {
        value.to_i64().map_or_else(|| Literal::Big(Rc::new(value)), Literal::Int)
    }
}

/// The arguments of a call.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Rc<str>, Expr)>,
    pub(super) all_positional: Option<Expr>,
    pub(super) all_named: Option<Expr>,
}

/// Operators of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

/// Operators of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
