//! Arithmetic: between constants, and between a field and a constant. Everything else gets the
//! refusal that comparing it will meet.

use pandion_types::DataType;

use super::cast::{Shape, cast, is_number};
use super::{ARRAY_DIRECTLY, Typed, constant};
use crate::fault::Fault;
use crate::typed::{ArithmeticOp, Operand, Value};

/// `left op right`.
pub(super) fn arithmetic(op: ArithmeticOp, left: Typed, right: Typed) -> Result<Typed, Fault> {
    if let (Typed::Constant { value: left_value, .. }, Typed::Constant { value: right_value, .. }) =
        (&left, &right)
    {
        if left.is_template() || right.is_template() {
            return Err(Fault::detail(format!(
                "placeholder was not supported between two constants with operator: {}",
                op.symbol()
            )));
        }
        return constant::arithmetic(op, left_value, right_value).map(Typed::constant);
    }
    if left.is_whole_array() || right.is_whole_array() {
        return Err(Fault::detail(ARRAY_DIRECTLY));
    }
    match (left, right) {
        (left, Typed::Constant { value, .. }) => with_constant(op, left, value, false),
        (Typed::Constant { value, .. }, right) => with_constant(op, right, value, true),
        (left, right) => {
            let result = result_type(op, Shape::of(&left), Shape::of(&right))?;
            let is_field = |typed: &Typed| matches!(typed, Typed::Operand(o) if is_column(o));
            let reason = if is_field(&left) && is_field(&right) {
                "not supported to do arithmetic operations between multiple fields"
            } else {
                "complicated arithmetic operations are not supported"
            };
            Ok(Typed::Unsupported { result, reason })
        }
    }
}

/// `side op value`, or `value op side` when `reversed`.
fn with_constant(
    op: ArithmeticOp,
    side: Typed,
    value: Value,
    reversed: bool,
) -> Result<Typed, Fault> {
    let result = result_type(op, Shape::of(&side), Shape::of_value(&value))?;
    let operand = match side {
        Typed::Operand(operand) if is_column(&operand) => operand,
        _ => {
            let reason = "complicated arithmetic operations are not supported";
            return Ok(Typed::Unsupported { result, reason });
        }
    };
    if reversed && !op.commutes() {
        return Ok(Typed::Unsupported { result, reason: "module field is not yet supported" });
    }
    let value = cast(result, value)?;
    let is_zero = matches!(&value, Value::Int(0)) || matches!(&value, Value::Float(v) if *v == 0.0);
    if is_zero && matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo) {
        return Err(Fault::detail("division or modulus by zero"));
    }
    let operand = Box::new(operand);
    Ok(Typed::Operand(Operand::Arithmetic { operand, op, value, result }))
}

/// Whether an operand is a plain place in a row.
pub(super) fn is_column(operand: &Operand) -> bool {
    matches!(
        operand,
        Operand::Field(_)
            | Operand::Json { .. }
            | Operand::Element { .. }
            | Operand::CurrentElement { .. }
    )
}

/// The type of `left op right`: `Int64` or `Double`.
fn result_type(op: ArithmeticOp, left: Shape, right: Shape) -> Result<DataType, Fault> {
    let types = left.compared().zip(right.compared());
    let result = types.and_then(|(left, right)| {
        if left == DataType::Json {
            is_number(right).then_some(right)
        } else if left.is_integer() {
            (right.is_integer() || right == DataType::Json).then_some(left)
        } else if left.is_float() {
            (is_number(right) || right == DataType::Json).then_some(left)
        } else {
            None
        }
    });
    let Some(result) = result else {
        let name = |shape: Shape| shape.compared().map_or("None", DataType::name);
        return Err(Fault::detail(format!(
            "'{}' cannot perform arithmetic between {} field and {}",
            op.name(),
            name(left),
            name(right)
        )));
    };
    if result.is_integer() {
        return Ok(DataType::Int64);
    }
    match op {
        ArithmeticOp::Modulo => Err(Fault::detail("modulo can only apply on integer types")),
        _ if op.is_integer_only() => {
            Err(Fault::detail(format!("{} can only apply on integer types", op.name())))
        }
        _ => Ok(DataType::Double),
    }
}
