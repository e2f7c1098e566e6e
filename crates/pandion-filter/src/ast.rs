//! The tree of an expression before its types are known.
//!
//! Literals and names stay slices of the text: the tree of a list with a million elements is one
//! vector. A node knows how deep its subtree is, which bounds every recursion over the tree, the
//! dropping of it included.

/// A node and the bytes of the text that it came from, enclosing parentheses included.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) kind: NodeKind<'a>,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) depth: u16,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum NodeKind<'a> {
    Bool(bool),
    /// The magnitude of an integer, at most 2^63.
    Integer(u64),
    Float(f64),
    /// A string token with its quotes.
    Text(&'a str),
    /// A field name, or `$meta`.
    Identifier(&'a str),
    /// `field["key"][0]`.
    JsonPath(&'a str),
    /// `struct[sub]` or `struct[0][sub]`.
    StructField(&'a str),
    /// The name inside `$[name]`.
    StructSubField(&'a str),
    ElementSelf,
    /// The name inside `{name}`.
    Template(&'a str),
    List(Vec<Node<'a>>),
    Exists(Box<Node<'a>>),
    IsNull {
        target: Box<Node<'a>>,
        negated: bool,
    },
    Like(Box<[Node<'a>; 2]>),
    Regex {
        sides: Box<[Node<'a>; 2]>,
        negated: bool,
    },
    Unary(UnaryOp, Box<Node<'a>>),
    Binary(BinaryOp, Box<[Node<'a>; 2]>),
    In {
        sides: Box<[Node<'a>; 2]>,
        negated: bool,
    },
    Range(Box<RangeNode<'a>>),
    And(Vec<Node<'a>>),
    Or(Vec<Node<'a>>),
    Call(Box<CallNode<'a>>),
    TimeCompare(Box<TimeNode<'a>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Plus,
    Minus,
    BitNot,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Compare(crate::typed::CompareOp),
    Arithmetic(crate::typed::ArithmeticOp),
    Power,
    Shift,
}

/// `lower < middle <= upper`, or the same written from the upper end.
#[derive(Debug)]
pub(crate) struct RangeNode<'a> {
    pub(crate) lower: Node<'a>,
    pub(crate) lower_inclusive: bool,
    pub(crate) middle: Node<'a>,
    pub(crate) upper: Node<'a>,
    pub(crate) upper_inclusive: bool,
}

/// `name(arguments, option=number)`.
#[derive(Debug)]
pub(crate) struct CallNode<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: Vec<Node<'a>>,
    pub(crate) option: Option<(&'a str, u64)>,
}

/// `field [+|- INTERVAL 'duration'] op ISO 'instant'`, or the same from the other side.
#[derive(Debug)]
pub(crate) struct TimeNode<'a> {
    pub(crate) field: &'a str,
    /// Whether the interval is subtracted, and its string token.
    pub(crate) interval: Option<(bool, &'a str)>,
    /// The operator as it reads with the field on the left.
    pub(crate) op: crate::typed::CompareOp,
    /// The string token of the instant.
    pub(crate) instant: &'a str,
}
