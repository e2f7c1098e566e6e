//! The typed tree of a filter, and what it means.
//!
//! **Three values.** A predicate is TRUE, FALSE or UNKNOWN for a row, and a filter keeps the rows
//! for which it is TRUE (Kleene's logic; [`Predicate::Not`] of UNKNOWN is UNKNOWN). Every predicate
//! that reads a null field is UNKNOWN, except [`Predicate::IsNull`] and [`Predicate::Exists`],
//! which are never UNKNOWN. A JSON path that leads nowhere, leads to JSON null, or leads to a value
//! of another kind than the literal makes comparisons UNKNOWN; JSON integers and doubles compare as
//! numbers. An array index past the end is UNKNOWN too.
//!
//! **Documents.** A document is read from its start, only as far as the answer needs: one that is
//! malformed up to there, or empty, leads nowhere, so that comparisons are UNKNOWN, `is null` of a
//! path is TRUE and `exists` FALSE. It is no error: a lake holds what it holds. `is null` of the
//! field itself asks whether the row has a document, be it JSON null or malformed. Of members with the same
//! name the first counts. An integer of 64 bits is exact, every other number is the nearest double,
//! and one beyond the doubles is malformed.
//!
//! **Numbers.** Integer fields compare as mathematical integers: a literal may lie outside of the
//! range of a narrow field, and then no row equals it. Literals for `Float` fields are rounded to
//! `f32` and kept as the same number in `f64`; one beyond the range of `f32` is kept as it is.
//!
//! **Canonical form.** The parser, [`Predicate::and`], [`Predicate::or`] and [`Predicate::negate`]
//! build flat trees: no `And` directly in an `And`, no constant inside of a connective, no double
//! negation, at least two operands. The `Display` form of such a tree parses to an equal
//! tree, unless the parentheses that it adds nest deeper than the parser allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use pandion_types::FieldId;

use crate::like::LikePattern;

mod operand;

pub use operand::{
    Argument, ArithmeticOp, Bound, CompareOp, ContainsMode, ElementQuantifier, FieldRef, Operand,
    PathSegment, SpatialRelation, Value,
};

/// A parsed and type-checked filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The condition on a row.
    pub predicate: Predicate,
}

impl Filter {
    /// Whether the filter keeps every row, whatever its values.
    #[must_use]
    pub fn is_match_all(&self) -> bool {
        self.predicate == Predicate::Constant(true)
    }

    /// Whether the filter keeps a random part of what meets its conditions, which its text alone
    /// does not determine.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        matches!(self.predicate.conjuncts().last(), Some(Predicate::RandomSample { .. }))
    }

    /// Every field that the filter reads. A random sample reads none, and is taken by row id.
    #[must_use]
    pub fn referenced_fields(&self) -> BTreeSet<FieldId> {
        let mut fields = BTreeSet::new();
        self.predicate.visit_fields(&mut |field| {
            fields.insert(field.id);
        });
        fields
    }
}

/// A condition on a row. See the module's head for null, numbers and the canonical form.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The same for every row.
    Constant(bool),
    /// All of two or more.
    And(Vec<Predicate>),
    /// At least one of two or more.
    Or(Vec<Predicate>),
    /// The opposite.
    Not(Box<Predicate>),
    /// An operand against a literal of its type; for JSON a literal of any kind. Order between
    /// kinds, and order of arrays, is UNKNOWN.
    Compare {
        /// The left side.
        operand: Operand,
        /// The comparison.
        op: CompareOp,
        /// The right side.
        value: Value,
    },
    /// One field against another: both numeric, both strings or both Bool.
    CompareOperands {
        /// The left side.
        left: Operand,
        /// The comparison.
        op: CompareOp,
        /// The right side.
        right: Operand,
    },
    /// Between two ends. The lower end is not above the upper one, when both are of one kind.
    Range {
        /// What is tested: a field, an array element or a JSON value.
        operand: Operand,
        /// The lower end.
        lower: Bound,
        /// The upper end.
        upper: Bound,
    },
    /// Equal to one of the values, which may be none: then FALSE for every row with a value and,
    /// as always, UNKNOWN for a null. `not in` is [`Predicate::Not`] of this. Values for JSON may
    /// be of several kinds: a row matches when it equals one of its own kind, numbers being one
    /// kind.
    In {
        /// What is tested.
        operand: Operand,
        /// The values, as given: neither sorted nor unique.
        values: Vec<Value>,
    },
    /// A string matches a pattern.
    Like {
        /// What is tested: a string field, a string element or a JSON value.
        operand: Operand,
        /// The pattern.
        pattern: LikePattern,
    },
    /// A part of a string matches a regular expression of RE2's syntax, which is not checked here.
    /// `!~` is [`Predicate::Not`] of this.
    RegexMatch {
        /// What is tested: a string field, a string element or a JSON value.
        operand: Operand,
        /// The regular expression.
        pattern: String,
    },
    /// The field is null; the array has no such element; the JSON path leads nowhere or to null.
    IsNull(Operand),
    /// The opposite of [`Predicate::IsNull`].
    IsNotNull(Operand),
    /// The JSON path leads to a value that is not null. FALSE, not UNKNOWN, for a null field.
    Exists {
        /// The JSON field.
        field: Arc<FieldRef>,
        /// The path; at least one step.
        path: Vec<PathSegment>,
    },
    /// An array field or a JSON array holds values.
    Contains {
        /// What is searched: a whole array field or a JSON value.
        operand: Operand,
        /// How many of the values have to be there.
        mode: ContainsMode,
        /// The values; exactly one in mode [`ContainsMode::One`].
        values: Vec<Value>,
    },
    /// The tokens of a text meet those of a query.
    TextMatch {
        /// A string field with `enable_match`.
        field: Arc<FieldRef>,
        /// The query, not yet tokenised.
        query: String,
        /// How many tokens have to be there, 1 to 1000; one when absent.
        minimum_should_match: Option<u64>,
    },
    /// As [`Predicate::TextMatch`], with spelling mistakes.
    TextMatchFuzzy {
        /// A string field with `enable_match`.
        field: Arc<FieldRef>,
        /// The query, not yet tokenised.
        query: String,
        /// Edits allowed in each token, 0 to 2.
        max_edit_distance: u64,
    },
    /// The tokens of a query stand in a text in their order.
    PhraseMatch {
        /// A string field with `enable_match`.
        field: Arc<FieldRef>,
        /// The query, not yet tokenised.
        query: String,
        /// How many positions the tokens may be off.
        slop: u32,
    },
    /// A shape lies so to another.
    Spatial {
        /// A geometry field.
        field: Arc<FieldRef>,
        /// How they have to lie.
        relation: SpatialRelation,
        /// The other shape as well-known text, which is not checked here.
        wkt: String,
    },
    /// A shape is near a point.
    SpatialWithin {
        /// A geometry field.
        field: Arc<FieldRef>,
        /// The point as well-known text, which is not checked here.
        point: String,
        /// The greatest distance; not negative.
        meters: f64,
    },
    /// A shape is valid.
    SpatialValid {
        /// A geometry field.
        field: Arc<FieldRef>,
    },
    /// A random part of the rows that meet the conditions before it: each is kept with the same
    /// probability. Only as the last operand of the outermost `And`, or alone.
    RandomSample {
        /// The part, between 0 and 1 and equal to neither.
        factor: f64,
    },
    /// Results are the elements of an array that meet a condition. Only as the last operand of the
    /// outermost `And`, or alone.
    ElementFilter {
        /// The array field.
        field: Arc<FieldRef>,
        /// The condition on [`Operand::CurrentElement`].
        predicate: Box<Predicate>,
    },
    /// So many elements of an array meet a condition.
    ElementMatch {
        /// The array field.
        field: Arc<FieldRef>,
        /// How many.
        quantifier: ElementQuantifier,
        /// The condition on [`Operand::CurrentElement`].
        predicate: Box<Predicate>,
    },
    /// A function that the grammar does not know.
    Call {
        /// Its name in lower case.
        name: String,
        /// Its arguments.
        arguments: Vec<Argument>,
    },
}

impl Predicate {
    /// All of `operands`, in canonical form; TRUE when there are none.
    #[must_use]
    pub fn and(operands: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(operands.len());
        for operand in operands {
            match operand {
                Self::Constant(false) => return Self::Constant(false),
                Self::Constant(true) => {}
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        single(&mut flat, true).unwrap_or(Self::And(flat))
    }

    /// At least one of `operands`, in canonical form; FALSE when there are none.
    #[must_use]
    pub fn or(operands: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(operands.len());
        for operand in operands {
            match operand {
                Self::Constant(true) => return Self::Constant(true),
                Self::Constant(false) => {}
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        single(&mut flat, false).unwrap_or(Self::Or(flat))
    }

    /// The opposite, in canonical form.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// The predicates that all have to hold: the operands of an `And`, or the predicate itself.
    #[must_use]
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(operands) => operands,
            other => std::slice::from_ref(other),
        }
    }

    /// Calls `visit` with every field that is read; a field that is read twice comes twice.
    pub fn visit_fields(&self, visit: &mut dyn FnMut(&FieldRef)) {
        match self {
            Self::Constant(_) | Self::RandomSample { .. } => {}
            Self::And(operands) | Self::Or(operands) => {
                for operand in operands {
                    operand.visit_fields(visit);
                }
            }
            Self::Not(inner) => inner.visit_fields(visit),
            Self::Compare { operand, .. }
            | Self::Range { operand, .. }
            | Self::In { operand, .. }
            | Self::Like { operand, .. }
            | Self::RegexMatch { operand, .. }
            | Self::Contains { operand, .. }
            | Self::IsNull(operand)
            | Self::IsNotNull(operand) => visit(operand.field()),
            Self::CompareOperands { left, right, .. } => {
                visit(left.field());
                visit(right.field());
            }
            Self::Exists { field, .. }
            | Self::TextMatch { field, .. }
            | Self::TextMatchFuzzy { field, .. }
            | Self::PhraseMatch { field, .. }
            | Self::Spatial { field, .. }
            | Self::SpatialWithin { field, .. }
            | Self::SpatialValid { field } => visit(field),
            Self::ElementFilter { field, predicate }
            | Self::ElementMatch { field, predicate, .. } => {
                visit(field);
                predicate.visit_fields(visit);
            }
            Self::Call { arguments, .. } => {
                for argument in arguments {
                    if let Argument::Operand(operand) = argument {
                        visit(operand.field());
                    }
                }
            }
        }
    }
}

/// What a connective of no operand (`empty`) or of one operand stands for.
fn single(operands: &mut Vec<Predicate>, empty: bool) -> Option<Predicate> {
    match operands.len() {
        0 => Some(Predicate::Constant(empty)),
        1 => operands.pop(),
        _ => None,
    }
}
