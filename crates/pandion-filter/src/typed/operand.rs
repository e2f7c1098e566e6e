//! What predicates are made of: literals, the places in a row that they read, and operators.

use std::cmp::Ordering;
use std::sync::Arc;

use pandion_types::{DataType, FieldId, FieldSchema};

use crate::timestamp::Interval;

/// The part of a field's schema that a predicate needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRef {
    /// Number of the field.
    pub id: FieldId,
    /// Name as clients use it.
    pub name: String,
    /// Type of the values.
    pub data_type: DataType,
    /// Type of the elements of an array field.
    pub element_type: Option<DataType>,
    /// Whether rows may lack a value.
    pub nullable: bool,
    /// Whether it is the primary key.
    pub is_primary_key: bool,
}

impl From<&FieldSchema> for FieldRef {
    fn from(field: &FieldSchema) -> Self {
        Self {
            id: field.id,
            name: field.name.clone(),
            data_type: field.data_type,
            element_type: field.element_type,
            nullable: field.nullable,
            is_primary_key: field.is_primary_key,
        }
    }
}

/// A literal. Floats are finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    String(String),
    /// A list; its elements need not be of one kind when it is compared with JSON.
    Array(Vec<Value>),
    /// An instant in microseconds since 1970-01-01T00:00:00Z, within the years 1 to 9999.
    Timestamp(i64),
}

/// One step of a JSON path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathSegment {
    /// The member of an object with this name; never empty.
    Key(String),
    /// The element of an array with this number, counted from 0. As in a JSON pointer it also
    /// names the member of an object whose name is the decimal number.
    Index(u64),
}

/// What a predicate reads from a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// The value of a field; for an array field the whole array.
    Field(Arc<FieldRef>),
    /// A value inside of a JSON field; the whole document when the path is empty.
    Json {
        /// The JSON field.
        field: Arc<FieldRef>,
        /// The steps from the root of the document.
        path: Vec<PathSegment>,
    },
    /// One element of an array field.
    Element {
        /// The array field.
        field: Arc<FieldRef>,
        /// Number of the element, counted from 0.
        index: u64,
        /// Type of the element.
        element_type: DataType,
    },
    /// The element that the enclosing [`Predicate::ElementFilter`](super::Predicate::ElementFilter) or
    /// [`Predicate::ElementMatch`](super::Predicate::ElementMatch) looks at (`$`).
    CurrentElement {
        /// The array field.
        field: Arc<FieldRef>,
        /// Type of the element.
        element_type: DataType,
    },
    /// The number of elements of an array field or of a JSON array: an `Int64`.
    Length(Box<Operand>),
    /// An operand joined with a constant.
    Arithmetic {
        /// The left side: a numeric field, an array element or a JSON value.
        operand: Box<Operand>,
        /// What is done.
        op: ArithmeticOp,
        /// The right side: [`Value::Int`] when `result` is `Int64`, else [`Value::Float`]. Not
        /// zero for division and modulo.
        value: Value,
        /// `Int64` or `Double`: the type of the calculation. Division of `Int64` truncates towards
        /// zero, modulo has the sign of the left side; overflow is UNKNOWN.
        result: DataType,
    },
    /// A `Timestamptz` field moved by a calendar interval (see [`Interval::shift`]).
    Shifted {
        /// The `Timestamptz` field.
        field: Arc<FieldRef>,
        /// Whether the interval is subtracted.
        negative: bool,
        /// By how much.
        interval: Interval,
    },
}

impl Operand {
    /// The field that is read.
    #[must_use]
    pub fn field(&self) -> &Arc<FieldRef> {
        match self {
            Self::Field(field)
            | Self::Json { field, .. }
            | Self::Element { field, .. }
            | Self::CurrentElement { field, .. }
            | Self::Shifted { field, .. } => field,
            Self::Length(operand) | Self::Arithmetic { operand, .. } => operand.field(),
        }
    }

    /// The type of the value that is read: `Array` for a whole array, `Json` for a JSON value of
    /// any kind.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Field(field) => field.data_type,
            Self::Json { .. } => DataType::Json,
            Self::Element { element_type, .. } | Self::CurrentElement { element_type, .. } => {
                *element_type
            }
            Self::Length(_) => DataType::Int64,
            Self::Arithmetic { result, .. } => *result,
            Self::Shifted { .. } => DataType::Timestamptz,
        }
    }
}

/// What arithmetic joins an operand with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, integers only.
    Modulo,
    /// `&`, integers only.
    BitAnd,
    /// `|`, integers only.
    BitOr,
    /// `^`, integers only.
    BitXor,
}

impl ArithmeticOp {
    /// The result for two doubles; `None` for operators that are for integers only.
    #[inline]
    #[must_use]
    pub fn floats(self, left: f64, right: f64) -> Option<f64> {
        match self {
            Self::Add => Some(left + right),
            Self::Subtract => Some(left - right),
            Self::Multiply => Some(left * right),
            Self::Divide => Some(left / right),
            Self::Modulo | Self::BitAnd | Self::BitOr | Self::BitXor => None,
        }
    }

    /// The operator as it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "^",
        }
    }

    /// The operator as messages name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Modulo => "modulo",
            Self::BitAnd => "bitand",
            Self::BitOr => "bitor",
            Self::BitXor => "bitxor",
        }
    }

    /// Whether the two sides may change places.
    #[must_use]
    pub fn commutes(self) -> bool {
        !matches!(self, Self::Subtract | Self::Divide | Self::Modulo)
    }

    /// Whether both sides have to be integers.
    #[must_use]
    pub fn is_integer_only(self) -> bool {
        matches!(self, Self::Modulo | Self::BitAnd | Self::BitOr | Self::BitXor)
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl CompareOp {
    /// Whether it holds between two values that are ordered so.
    #[must_use]
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterEqual => ordering.is_ge(),
        }
    }

    /// Whether it holds between two numbers, as IEEE 754 compares: NaN differs from everything and
    /// has no order.
    #[inline]
    #[must_use]
    #[expect(clippy::float_cmp, reason = "equality of values is what is asked for")]
    pub fn holds_for_floats(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
        }
    }

    /// The operator as it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }

    /// The operator that says the same when the two sides change places.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// Whether it asks for an order, not only for equality.
    #[must_use]
    pub fn is_ordering(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The end itself.
    pub value: Value,
    /// Whether the end belongs to the range.
    pub inclusive: bool,
}

/// How many of the given values an array has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainsMode {
    /// The one given value.
    One,
    /// Every given value; TRUE when none is given.
    All,
    /// At least one given value; FALSE when none is given.
    Any,
}

/// How many elements of an array have to meet a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementQuantifier {
    /// Every element.
    All,
    /// At least one element.
    Any,
    /// At least so many; 1 or more.
    Least(u64),
    /// At most so many.
    Most(u64),
    /// Exactly so many.
    Exact(u64),
}

/// How two shapes lie to each other, with the field on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the OGC simple feature relations")]
pub enum SpatialRelation {
    Equals,
    Touches,
    Overlaps,
    Crosses,
    Contains,
    Intersects,
    Within,
}

impl SpatialRelation {
    /// Every relation.
    pub const ALL: [Self; 7] = [
        Self::Equals,
        Self::Touches,
        Self::Overlaps,
        Self::Crosses,
        Self::Contains,
        Self::Intersects,
        Self::Within,
    ];

    /// The function that asks for it, in lower case.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            Self::Equals => "st_equals",
            Self::Touches => "st_touches",
            Self::Overlaps => "st_overlaps",
            Self::Crosses => "st_crosses",
            Self::Contains => "st_contains",
            Self::Intersects => "st_intersects",
            Self::Within => "st_within",
        }
    }
}

/// An argument of a call that this crate does not know.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// Something read from the row.
    Operand(Operand),
    /// A constant.
    Value(Value),
}
