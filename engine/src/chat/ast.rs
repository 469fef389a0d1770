//! What a parsed template is made of.
//!
//! Operators of one level, the links of a postfix chain, `elif`s and chained conditional expressions are lists, not
//! nested nodes: only brackets and blocks nest, and how deep is limited by the parser. So no template, however long its
//! chains, can overflow the stack.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A name, as an index into [`Program::names`].
pub(super) type Symbol = u32;

#[derive(Debug, Default)]
pub(super) struct Program {
    pub body: Vec<Stmt>,
    pub names: Vec<Arc<str>>,
    pub macros: Vec<Macro>,
    pub loops: Vec<For>,
}

#[derive(Debug)]
pub(super) struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
}

#[derive(Debug)]
pub(super) enum StmtKind {
    Data(Arc<str>),
    Print(Expr),
    /// Conditions with their blocks, and the `else`.
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    /// Index into [`Program::loops`].
    For(usize),
    Set(Target, Expr),
    SetBlock(Target, Vec<Link>, Vec<Stmt>),
    /// Index into [`Program::macros`].
    Macro(usize),
    /// A call with the macro (index into [`Program::macros`]) that its `caller` is.
    Call(usize, Expr),
    Filter(Vec<Link>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    /// A block with variables of its own, otherwise transparent: `generation`, `block`.
    Scope(Vec<Stmt>),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub items: Expr,
    pub condition: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub name: Symbol,
    pub params: Vec<(Symbol, Option<Expr>)>,
    pub body: Vec<Stmt>,
}

/// What can be assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Symbol),
    /// An attribute of a namespace.
    Attr(Symbol, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// A value with what is applied to it, in order.
    Chain(Box<Expr>, Vec<Link>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// `+x`.
    Plus(Box<Expr>),
    /// Operators of one level, left to right.
    Binary(Box<Expr>, Vec<(Operator, Expr)>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `value if condition else value if condition …`.
    If(Vec<(Expr, Expr)>, Option<Box<Expr>>),
}

#[derive(Debug)]
pub(super) enum Link {
    Attr(Arc<str>),
    Item(Expr),
    /// Start, stop and step.
    Slice(Box<[Option<Expr>; 3]>),
    Call(Args),
    Filter(Arc<str>, Args),
    Test {
        name: Arc<str>,
        args: Args,
        negated: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Args {
    pub positional: Vec<Expr>,
    pub named: Vec<(Arc<str>, Expr)>,
    /// `*list`.
    pub rest: Option<Box<Expr>>,
    /// `**dict`.
    pub named_rest: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
