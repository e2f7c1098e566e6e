//! Comparisons, ranges, lists and patterns.

use pandion_types::DataType;

use super::arithmetic::is_column;
use super::cast::{self, Shape, can_compare, cast, cast_for, try_cast_for};
use super::{ARRAY_DIRECTLY, Checker, Typed, constant, is_whole_array};
use crate::ast::{Node, NodeKind, RangeNode};
use crate::fault::Fault;
use crate::like::LikePattern;
use crate::literal::{self, UnknownEscape};
use crate::typed::{Bound, CompareOp, Operand, Predicate, Value};

/// `left op right`; `quote` gives the text of the comparison for a message.
pub(super) fn compare(
    op: CompareOp,
    left: Typed,
    right: Typed,
    quote: impl FnOnce() -> String,
) -> Result<Typed, Fault> {
    if let (Typed::Constant { value: left_value, .. }, Typed::Constant { value: right_value, .. }) =
        (&left, &right)
    {
        if left.is_template() || right.is_template() {
            return Err(Fault::detail(format!(
                "placeholder was not supported between two constants with operator: {}",
                op.symbol()
            )));
        }
        return constant::compare(op, left_value, right_value)
            .map(|value| Typed::constant(Value::Bool(value)))
            .ok_or_else(|| {
                Fault::detail(format!(
                    "comparison operations cannot be applied to two incompatible operands: {}",
                    quote()
                ))
            });
    }
    if op.is_ordering() && (left.is_whole_array() || right.is_whole_array()) {
        return Err(Fault::detail(ARRAY_DIRECTLY));
    }
    if !(left.is_template() || right.is_template()) {
        check_comparable(Shape::of(&left), Shape::of(&right))?;
    }
    match (left, right) {
        (Typed::Constant { value, .. }, right) => with_constant(op.flipped(), right, value),
        (left, Typed::Constant { value, .. }) => with_constant(op, left, value),
        (left, right) => between_fields(op, left, right),
    }
    .map(Typed::Predicate)
}

fn check_comparable(left: Shape, right: Shape) -> Result<(), Fault> {
    // A list without elements compares with any array: it has no element to disagree.
    let comparable = match (left.compared(), right.compared()) {
        (Some(left), Some(right)) => can_compare(left, right),
        _ => matches!(
            (left, right),
            (Shape::Array(_), Shape::Array(_))
                | (Shape::Scalar(DataType::Json), Shape::Array(None))
                | (Shape::Array(None), Shape::Scalar(DataType::Json))
        ),
    };
    if comparable {
        return Ok(());
    }
    Err(Fault::detail(format!(
        "comparisons between {} and {} are not supported",
        left.name(),
        right.name()
    )))
}

fn with_constant(op: CompareOp, side: Typed, value: Value) -> Result<Predicate, Fault> {
    match side {
        Typed::Operand(operand) => {
            let value = cast_for(&operand, value)?;
            Ok(Predicate::Compare { operand, op, value })
        }
        Typed::Unsupported { result, reason } => {
            cast(result, value)?;
            Err(Fault::detail(reason))
        }
        Typed::Predicate(_) | Typed::Constant { .. } => {
            cast(DataType::Bool, value)?;
            Err(Fault::detail("not supported to combine multiple fields"))
        }
    }
}

fn between_fields(op: CompareOp, left: Typed, right: Typed) -> Result<Predicate, Fault> {
    let (left, right) = match (left, right) {
        (Typed::Operand(left), Typed::Operand(right)) if is_column(&left) && is_column(&right) => {
            (left, right)
        }
        _ => return Err(Fault::detail("only comparison between two fields is supported")),
    };
    match (&left, &right) {
        (Operand::Json { .. }, _) | (_, Operand::Json { .. }) => {
            Err(Fault::detail("two column comparison with JSON type is not supported"))
        }
        (Operand::Field(_), Operand::Field(_))
            if !is_whole_array(&left) && !is_whole_array(&right) =>
        {
            Ok(Predicate::CompareOperands { left, op, right })
        }
        _ => Err(Fault::detail("two column comparison with Array type is not supported")),
    }
}

impl Checker<'_> {
    pub(super) fn range(&mut self, range: &RangeNode<'_>) -> Result<Predicate, Fault> {
        let Typed::Operand(operand) = self.check(&range.middle)? else {
            return Err(Fault::detail(format!(
                "range operations are only supported on single fields now, got: {}",
                self.quote(&range.middle)
            )));
        };
        if is_whole_array(&operand) {
            return Err(Fault::detail(ARRAY_DIRECTLY));
        }
        let lower = self.bound(&operand, &range.lower, "lowerbound")?;
        let upper = self.bound(&operand, &range.upper, "upperbound")?;
        let both_inclusive = range.lower_inclusive && range.upper_inclusive;
        let is_empty = if both_inclusive { CompareOp::Greater } else { CompareOp::GreaterEqual };
        if constant::compare(is_empty, &lower, &upper) == Some(true) {
            return Err(Fault::detail("invalid range: lowerbound is greater than upperbound"));
        }
        let lower = Bound { value: lower, inclusive: range.lower_inclusive };
        let upper = Bound { value: upper, inclusive: range.upper_inclusive };
        Ok(Predicate::Range { operand, lower, upper })
    }

    fn bound(&mut self, operand: &Operand, node: &Node<'_>, name: &str) -> Result<Value, Fault> {
        let Typed::Constant { value, is_template } = self.check(node)? else {
            return Err(Fault::detail(format!(
                "{name} cannot be a non-const expression: {}",
                self.quote(node)
            )));
        };
        let data_type = operand.data_type();
        match data_type {
            DataType::Json => Ok(value),
            DataType::Bool => Err(Fault::detail("invalid range operations on boolean expr")),
            _ => cast(data_type, value).map_err(|fault| {
                if is_template { fault } else { Fault::detail("invalid range operations") }
            }),
        }
    }

    pub(super) fn is_in(&mut self, sides: &[Node<'_>; 2]) -> Result<Predicate, Fault> {
        let [tested, list] = sides;
        let operand = match self.check(tested)? {
            Typed::Operand(operand) if is_column(&operand) => operand,
            Typed::Constant { .. } => {
                return Err(Fault::detail(format!(
                    "'term' can only be used on non-const expression, but got: {}",
                    self.quote(tested)
                )));
            }
            _ => {
                return Err(Fault::detail(format!(
                    "'term' can only be used on single field, but got: {}",
                    self.quote(tested)
                )));
            }
        };
        let (values, is_template) = self.in_list(list)?;
        let values = values
            .into_iter()
            .map(|value| {
                try_cast_for(&operand, value).map_err(|value| {
                    let (quoted, data_type) = (cast::quote(&value), operand.data_type());
                    Fault::detail(if is_template {
                        format!("cannot cast value to {data_type}, value: {quoted}")
                    } else {
                        format!("value '{quoted}' in list cannot be casted to {data_type}")
                    })
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Predicate::In { operand, values })
    }

    fn in_list(&mut self, list: &Node<'_>) -> Result<(Vec<Value>, bool), Fault> {
        match (self.check(list)?, &list.kind) {
            (Typed::Constant { value: Value::Array(values), is_template }, _) => {
                Ok((values, is_template))
            }
            (Typed::Constant { is_template: true, .. }, NodeKind::Template(name)) => {
                Err(Fault::detail(format!(
                    "the value of term expression template variable {{{name}}} is not array"
                )))
            }
            (Typed::Constant { .. }, _) => Err(Fault::detail(format!(
                "the right-hand side of 'in' must be a list, but got: {}",
                self.quote(list)
            ))),
            _ => Err(Fault::detail(format!(
                "value '{}' in list cannot be a non-const expression",
                self.quote(list)
            ))),
        }
    }

    pub(super) fn like(&mut self, sides: &[Node<'_>; 2]) -> Result<Predicate, Fault> {
        let [tested, pattern] = sides;
        let operand = self.matched_operand(tested, "like")?;
        let pattern = LikePattern::new(self.pattern(pattern, "like")?);
        Ok(Predicate::Like { operand, pattern })
    }

    pub(super) fn regex(&mut self, sides: &[Node<'_>; 2]) -> Result<Predicate, Fault> {
        let [tested, pattern] = sides;
        let operand = self.matched_operand(tested, "regex")?;
        let pattern = self.pattern(pattern, "regex")?;
        Ok(Predicate::RegexMatch { operand, pattern })
    }

    /// What a pattern is matched against: a string, or JSON that may hold one.
    fn matched_operand(&mut self, node: &Node<'_>, name: &str) -> Result<Operand, Fault> {
        let operand = match self.check(node)? {
            Typed::Operand(operand) if is_column(&operand) => operand,
            _ => {
                return Err(Fault::detail(format!(
                    "{name} operation on complicated expr is unsupported"
                )));
            }
        };
        if is_whole_array(&operand) {
            return Err(Fault::detail(ARRAY_DIRECTLY));
        }
        let data_type = operand.data_type();
        if data_type.is_string() || data_type == DataType::Json {
            Ok(operand)
        } else {
            Err(Fault::detail(format!(
                "{name} operation on non-string or no-json field is unsupported"
            )))
        }
    }

    /// A pattern: escapes that C does not know belong to the pattern.
    fn pattern(&mut self, node: &Node<'_>, name: &str) -> Result<String, Fault> {
        if let NodeKind::Text(token) = &node.kind {
            return literal::unquote(token, UnknownEscape::Keep);
        }
        match (self.check(node)?, &node.kind) {
            (Typed::Constant { value: Value::String(text), .. }, _) => Ok(text),
            (_, NodeKind::Template(template)) => Err(Fault::detail(format!(
                "the value of {name} expression template variable {{{template}}} is not string"
            ))),
            _ => Err(Fault::detail(format!(
                "the right operand of {name} must be a string, but got: {}",
                self.quote(node)
            ))),
        }
    }
}
