//! A term, taken apart into where its values come from and what is asked of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, PrimitiveArray, Scalar, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use pandion_filter::{
    Argument, ArithmeticOp, CompareOp, ContainsMode, Interval, Operand, PathSegment, Predicate,
    Value,
};
use pandion_index::geometry::SpatialTest;
use pandion_types::{DataType, Error, FieldId, Result};

use super::arithmetic::calculate_column;
use super::bits::answers;
use super::columns::{test_column, unreadable};
use super::documents::{DocumentTest, test_documents};
use super::list_columns::{all_elements, any_element, elements_at, every_element, lengths};
use super::lists::AllOf;
use super::operands::compare_columns;
use super::text::TextMatcher;
use super::values::ValueTest;

/// Elements are compared with up to so many literals one after the other, which is faster than
/// looking each of them up.
const FEW_LITERALS: usize = 8;

/// How a term is tested on the columns of its fields.
#[derive(Debug)]
pub(super) enum Plan {
    Values {
        source: Source,
        test: ValueTest,
    },
    IsNull {
        source: Source,
        negated: bool,
    },
    Document {
        path: Vec<PathSegment>,
        test: DocumentTest,
    },
    /// A list column holds one of the values that pass.
    AnyElement(ValueTest),
    /// For each of these, a list column holds a value that passes.
    EveryElement(Vec<ValueTest>),
    AllElements(AllOf),
    /// The columns with these numbers.
    CompareColumns {
        left: usize,
        op: CompareOp,
        right: usize,
    },
    StartsWith {
        text: Text,
        prefix: Text,
    },
    Shape(Box<SpatialTest>),
}

/// Where the values of a term come from.
#[derive(Debug)]
pub(super) enum Source {
    Column,
    Element(u64),
    Length,
    Arithmetic { of: Box<Source>, op: ArithmeticOp, literal: Value },
    Shifted { negative: bool, interval: Interval },
}

/// A string of every row: that of a column, or always the same.
#[derive(Debug)]
pub(super) enum Text {
    Column(usize),
    Literal(Scalar<StringArray>),
}

/// What an operand is read from.
enum Place<'a> {
    Typed(Source),
    Document { path: &'a [PathSegment], part: Part<'a> },
}

/// What of a JSON value is asked about.
enum Part<'a> {
    Whole,
    Length,
    Arithmetic(ArithmeticOp, &'a Value),
}

impl Plan {
    /// Takes a term apart. `fields` are those of the columns that it will be tested on.
    ///
    /// # Errors
    /// `InvalidArgument` when a regular expression or well-known text is none; `Internal` for a
    /// term that is none of those that are tested here.
    pub(super) fn new(term: &Predicate, fields: &[FieldId]) -> Result<Self> {
        let column = |field: FieldId| {
            fields.iter().position(|&known| known == field).ok_or_else(|| not_a_test(term))
        };
        let value_test = |operand, test| Self::values(term, operand, test);
        match term {
            Predicate::Compare { operand, op, value } => {
                value_test(operand, ValueTest::compare(*op, value))
            }
            Predicate::Range { operand, lower, upper } => {
                value_test(operand, ValueTest::range(lower, upper))
            }
            Predicate::In { operand, values } => value_test(operand, ValueTest::is_in(values)),
            Predicate::Like { operand, pattern } => {
                value_test(operand, ValueTest::matches(TextMatcher::like(pattern)))
            }
            Predicate::RegexMatch { operand, pattern } => {
                value_test(operand, ValueTest::matches(TextMatcher::regex(pattern)?))
            }
            Predicate::IsNull(operand) => Self::null_test(term, operand, false),
            Predicate::IsNotNull(operand) => Self::null_test(term, operand, true),
            Predicate::Exists { path, .. } => Ok(Self::Document {
                path: path.clone(),
                test: DocumentTest::Exists { negated: false },
            }),
            Predicate::Contains { operand, mode, values } => {
                Self::contains(term, operand, *mode, values)
            }
            Predicate::CompareOperands { left, op, right } => match (left, right) {
                (Operand::Field(left), Operand::Field(right)) => Ok(Self::CompareColumns {
                    left: column(left.id)?,
                    op: *op,
                    right: column(right.id)?,
                }),
                _ => Err(not_a_test(term)),
            },
            Predicate::Spatial { .. }
            | Predicate::SpatialWithin { .. }
            | Predicate::SpatialValid { .. } => {
                SpatialTest::new(term).map(|test| Self::Shape(Box::new(test)))
            }
            Predicate::Call { name, arguments } if name == "starts_with" => {
                let text = |argument: &Argument| match argument {
                    Argument::Operand(operand) => column(operand.field().id).map(Text::Column),
                    Argument::Value(Value::String(text)) => {
                        Ok(Text::Literal(StringArray::new_scalar(text)))
                    }
                    Argument::Value(_) => Err(not_a_test(term)),
                };
                match arguments.as_slice() {
                    [first, second] => {
                        Ok(Self::StartsWith { text: text(first)?, prefix: text(second)? })
                    }
                    _ => Err(not_a_test(term)),
                }
            }
            _ => Err(not_a_test(term)),
        }
    }

    fn values(term: &Predicate, operand: &Operand, test: ValueTest) -> Result<Self> {
        Ok(match Place::of(operand).ok_or_else(|| not_a_test(term))? {
            Place::Typed(source) => Self::Values { source, test },
            Place::Document { path, part } => {
                let test = match part {
                    Part::Whole => DocumentTest::Value(test),
                    Part::Length => DocumentTest::Length(test),
                    Part::Arithmetic(op, literal) => {
                        DocumentTest::Arithmetic { op, literal: literal.clone(), test }
                    }
                };
                Self::Document { path: path.to_vec(), test }
            }
        })
    }

    fn null_test(term: &Predicate, operand: &Operand, negated: bool) -> Result<Self> {
        // A whole document is a value of its field, whatever it holds.
        if let Operand::Field(_) = operand {
            return Ok(Self::IsNull { source: Source::Column, negated });
        }
        match Place::of(operand) {
            Some(Place::Typed(source)) => Ok(Self::IsNull { source, negated }),
            Some(Place::Document { path, part: Part::Whole }) => Ok(Self::Document {
                path: path.to_vec(),
                test: DocumentTest::Exists { negated: !negated },
            }),
            _ => Err(not_a_test(term)),
        }
    }

    fn contains(
        term: &Predicate,
        operand: &Operand,
        mode: ContainsMode,
        values: &[Value],
    ) -> Result<Self> {
        let all = mode == ContainsMode::All;
        match Place::of(operand) {
            Some(Place::Typed(Source::Column)) if all => {
                Ok(if (1..=FEW_LITERALS).contains(&values.len()) {
                    let tests =
                        values.iter().map(|value| ValueTest::is_in(std::slice::from_ref(value)));
                    Self::EveryElement(tests.collect())
                } else {
                    Self::AllElements(AllOf::new(values))
                })
            }
            Some(Place::Typed(Source::Column)) => Ok(Self::AnyElement(ValueTest::is_in(values))),
            Some(Place::Document { path, part: Part::Whole }) => {
                let test = if all {
                    DocumentTest::AllElements(AllOf::new(values))
                } else {
                    DocumentTest::AnyElement(ValueTest::is_in(values))
                };
                Ok(Self::Document { path: path.to_vec(), test })
            }
            _ => Err(not_a_test(term)),
        }
    }

    /// The answers for all rows of the columns.
    pub(super) fn test(&self, arrays: &[ArrayRef]) -> DataFusionResult<BooleanArray> {
        let column = |number: usize| {
            arrays
                .get(number)
                .ok_or_else(|| DataFusionError::Internal("a filter lacks a column".to_owned()))
        };
        match self {
            Self::Values { source, test } => test_column(&source.column(column(0)?)?, test),
            Self::IsNull { source, negated } => {
                let values = source.column(column(0)?)?;
                let nulls = values.logical_nulls();
                let is_null =
                    |row| nulls.as_ref().is_some_and(|nulls: &NullBuffer| nulls.is_null(row));
                Ok(answers(values.len(), |row| Some(is_null(row) != *negated)))
            }
            Self::Document { path, test } => Ok(test_documents(strings(column(0)?)?, path, test)),
            Self::AnyElement(test) => any_element(lists(column(0)?)?, test),
            Self::EveryElement(tests) => every_element(lists(column(0)?)?, tests),
            Self::AllElements(all) => all_elements(lists(column(0)?)?, all),
            Self::CompareColumns { left, op, right } => {
                compare_columns(column(*left)?, *op, column(*right)?)
            }
            Self::StartsWith { text, prefix } => {
                use arrow::compute::starts_with;
                let outcome = match (text, prefix) {
                    (Text::Column(text), Text::Column(prefix)) => {
                        starts_with(column(*text)?, column(*prefix)?)
                    }
                    (Text::Column(text), Text::Literal(prefix)) => {
                        starts_with(column(*text)?, prefix)
                    }
                    (Text::Literal(text), Text::Column(prefix)) => {
                        starts_with(text, column(*prefix)?)
                    }
                    (Text::Literal(text), Text::Literal(prefix)) => starts_with(text, prefix),
                };
                outcome.map_err(DataFusionError::from)
            }
            Self::Shape(test) => {
                let shapes = strings(column(0)?)?;
                Ok(answers(shapes.len(), |row| {
                    if shapes.is_null(row) { None } else { test.test(shapes.value(row)) }
                }))
            }
        }
    }
}

impl<'a> Place<'a> {
    fn of(operand: &'a Operand) -> Option<Self> {
        let whole = |path| Self::Document { path, part: Part::Whole };
        Some(match operand {
            Operand::Field(field) if field.data_type == DataType::Json => whole(&[]),
            Operand::Field(_) => Self::Typed(Source::Column),
            Operand::Json { path, .. } => whole(path),
            Operand::Element { index, .. } => Self::Typed(Source::Element(*index)),
            Operand::Length(inner) => match Self::of(inner)? {
                Self::Typed(Source::Column) => Self::Typed(Source::Length),
                Self::Document { path, part: Part::Whole } => {
                    Self::Document { path, part: Part::Length }
                }
                _ => return None,
            },
            Operand::Arithmetic { operand, op, value, .. } => match Self::of(operand)? {
                Self::Typed(of @ (Source::Column | Source::Element(_))) => {
                    Self::Typed(Source::Arithmetic {
                        of: Box::new(of),
                        op: *op,
                        literal: value.clone(),
                    })
                }
                Self::Document { path, part: Part::Whole } => {
                    Self::Document { path, part: Part::Arithmetic(*op, value) }
                }
                _ => return None,
            },
            Operand::Shifted { negative, interval, .. } => {
                Self::Typed(Source::Shifted { negative: *negative, interval: *interval })
            }
            Operand::CurrentElement { .. } => return None,
        })
    }
}

impl Source {
    /// The values, made from the column of the field.
    fn column(&self, column: &ArrayRef) -> DataFusionResult<ArrayRef> {
        Ok(match self {
            Self::Column => Arc::clone(column),
            Self::Element(index) => elements_at(lists(column)?, *index)?,
            Self::Length => Arc::new(lengths(lists(column)?)),
            Self::Arithmetic { of, op, literal } => {
                calculate_column(&of.column(column)?, *op, literal)?
            }
            Self::Shifted { negative, interval } => {
                let instants = column
                    .as_primitive_opt::<TimestampMicrosecondType>()
                    .ok_or_else(|| unreadable(column.data_type()))?;
                let shifted: PrimitiveArray<TimestampMicrosecondType> =
                    instants.unary_opt(|micros| interval.shift(micros, *negative));
                Arc::new(shifted)
            }
        })
    }
}

fn strings(array: &ArrayRef) -> DataFusionResult<&StringArray> {
    array.as_string_opt::<i32>().ok_or_else(|| unreadable(array.data_type()))
}

fn lists(array: &ArrayRef) -> DataFusionResult<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(|| unreadable(array.data_type()))
}

fn not_a_test(term: &Predicate) -> Error {
    let mut text = term.to_string();
    text.truncate(text.floor_char_boundary(200));
    Error::internal(format!("there is no test for {text}"))
}
