//! Untyped tree to typed tree: names are looked up in the schema, placeholders are replaced,
//! constants are folded, literals are cast, and whatever does not fit is refused with Milvus's
//! text.
//!
//! Recursion is bounded by the depth that the parser allows.

mod arithmetic;
mod cast;
mod column;
mod compare;
mod constant;
mod elements;
mod function;

use std::collections::BTreeMap;
use std::sync::Arc;

use pandion_types::{CollectionSchema, DataType, FieldId};

use crate::ast::{BinaryOp, Node, NodeKind, UnaryOp};
use crate::fault::Fault;
use crate::literal::{self, UnknownEscape};
use crate::templates::Templates;
use crate::typed::{FieldRef, Operand, Predicate, Value};
use crate::{MAX_NODES, ParseOptions};

/// How many characters of a part of the text are repeated inside a message.
const MAX_QUOTED_CHARS: usize = 256;

const ARRAY_DIRECTLY: &str = "can not comparisons array fields directly";

/// What a part of an expression is.
#[derive(Debug)]
enum Typed {
    Constant {
        value: Value,
        /// Whether a placeholder stood there: such a constant is cast, but not compared by type.
        is_template: bool,
    },
    Operand(Operand),
    /// Arithmetic of this type that is refused, for this reason, once it is compared.
    Unsupported {
        result: DataType,
        reason: &'static str,
    },
    Predicate(Predicate),
}

impl Typed {
    fn constant(value: Value) -> Self {
        Self::Constant { value, is_template: false }
    }

    fn is_template(&self) -> bool {
        matches!(self, Self::Constant { is_template: true, .. })
    }

    /// The array field when this is one as a whole.
    fn is_whole_array(&self) -> bool {
        matches!(self, Self::Operand(operand) if is_whole_array(operand))
    }

    /// The predicate that this is, or the type that keeps it from being one.
    fn into_predicate(self) -> Result<Predicate, String> {
        match self {
            Self::Predicate(predicate) => Ok(predicate),
            Self::Constant { value: Value::Bool(value), .. } => Ok(Predicate::Constant(value)),
            other => Err(other.type_name()),
        }
    }

    /// The type as messages about whole expressions name it.
    fn type_name(&self) -> String {
        match cast::Shape::of(self) {
            cast::Shape::Scalar(data_type) => data_type.name().to_owned(),
            cast::Shape::Array(_) => DataType::Array.name().to_owned(),
            cast::Shape::Unknown => "None".to_owned(),
        }
    }
}

fn is_whole_array(operand: &Operand) -> bool {
    matches!(operand, Operand::Field(field) if field.data_type == DataType::Array)
}

/// The array whose elements a predicate is about.
#[derive(Debug)]
struct ElementScope {
    name: String,
    field: Option<Arc<FieldRef>>,
}

/// Checks the tree of one text.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    text: &'a str,
    schema: &'a CollectionSchema,
    templates: &'a Templates,
    options: &'a ParseOptions,
    fields: BTreeMap<FieldId, Arc<FieldRef>>,
    scope: Option<ElementScope>,
    /// How many values templates may still bring in.
    budget: usize,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        text: &'a str,
        schema: &'a CollectionSchema,
        templates: &'a Templates,
        options: &'a ParseOptions,
    ) -> Self {
        let fields = BTreeMap::new();
        Self { text, schema, templates, options, fields, scope: None, budget: MAX_NODES }
    }

    /// The predicate that the whole text is.
    pub(crate) fn check_root(mut self, root: &Node<'_>) -> Result<Predicate, Fault> {
        self.check(root)?.into_predicate().map_err(Fault::NotBoolean)
    }

    fn check(&mut self, node: &Node<'_>) -> Result<Typed, Fault> {
        match &node.kind {
            NodeKind::Bool(value) => Ok(Typed::constant(Value::Bool(*value))),
            NodeKind::Integer(magnitude) => match i64::try_from(*magnitude) {
                Ok(value) => Ok(Typed::constant(Value::Int(value))),
                Err(_) => Err(Fault::detail(format!("int64 overflow: {magnitude}"))),
            },
            NodeKind::Float(value) => Ok(Typed::constant(Value::Float(*value))),
            NodeKind::Text(token) => literal::unquote(token, UnknownEscape::Refuse)
                .map(|text| Typed::constant(Value::String(text))),
            NodeKind::Template(name) => {
                let value = self.templates.value(name, &mut self.budget)?;
                Ok(Typed::Constant { value, is_template: true })
            }
            NodeKind::List(elements) => self.list(elements),
            NodeKind::Identifier(name) => self.identifier(name).map(Typed::Operand),
            NodeKind::JsonPath(path) => self.json_path(path).map(Typed::Operand),
            NodeKind::StructField(name) => Err(column::missing(name)),
            NodeKind::StructSubField(name) => Err(self.struct_sub_field(name)),
            NodeKind::ElementSelf => self.element_self().map(Typed::Operand),
            NodeKind::Exists(target) => self.exists(target).map(Typed::Predicate),
            NodeKind::IsNull { target, negated } => {
                self.null_test(target, *negated).map(Typed::Predicate)
            }
            NodeKind::Unary(op, operand) => self.unary(*op, operand),
            NodeKind::Binary(op, sides) => self.binary(*op, sides, node),
            NodeKind::Like(sides) => self.like(sides).map(Typed::Predicate),
            NodeKind::Regex { sides, negated } => {
                let predicate = self.regex(sides)?;
                Ok(Typed::Predicate(if *negated { predicate.negate() } else { predicate }))
            }
            NodeKind::In { sides, negated } => {
                let predicate = self.is_in(sides)?;
                Ok(Typed::Predicate(if *negated { predicate.negate() } else { predicate }))
            }
            NodeKind::Range(range) => self.range(range).map(Typed::Predicate),
            NodeKind::TimeCompare(time) => self.time_compare(time).map(Typed::Predicate),
            NodeKind::And(operands) => self.and(operands),
            NodeKind::Or(operands) => self.or(operands),
            NodeKind::Call(call) => self.call(call, node),
        }
    }

    /// The text of a node without white space, for messages.
    fn quote(&self, node: &Node<'_>) -> String {
        let position = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        let (start, end) = (position(node.start), position(node.end));
        crate::lexer::squeeze(self.text, start, end, MAX_QUOTED_CHARS)
    }

    fn list(&mut self, elements: &[Node<'_>]) -> Result<Typed, Fault> {
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            match self.check(element)? {
                Typed::Constant { value, is_template: false } => values.push(value),
                _ => {
                    return Err(Fault::detail(format!(
                        "array element type must be generic value, but got: {}",
                        self.quote(element)
                    )));
                }
            }
        }
        Ok(Typed::constant(Value::Array(values)))
    }

    fn unary(&mut self, op: UnaryOp, operand: &Node<'_>) -> Result<Typed, Fault> {
        if let (UnaryOp::Minus, NodeKind::Integer(magnitude)) = (op, &operand.kind)
            && *magnitude == i64::MIN.unsigned_abs()
        {
            return Ok(Typed::constant(Value::Int(i64::MIN)));
        }
        let typed = self.check(operand)?;
        match (op, typed) {
            (UnaryOp::Minus, Typed::Constant { value, .. }) => {
                constant::negative(&value).map(Typed::constant)
            }
            (UnaryOp::Plus, typed) => Ok(typed),
            (UnaryOp::Not, typed) => negate(typed),
            (UnaryOp::Minus, _) => Err(Fault::detail("unexpected op: -")),
            (UnaryOp::BitNot, _) => Err(Fault::detail("unexpected op: ~")),
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        sides: &[Node<'_>; 2],
        node: &Node<'_>,
    ) -> Result<Typed, Fault> {
        let [left, right] = sides;
        let left = self.check(left)?;
        let right = self.check(right)?;
        match op {
            BinaryOp::Compare(op) => compare::compare(op, left, right, || self.quote(node)),
            BinaryOp::Arithmetic(op) => arithmetic::arithmetic(op, left, right),
            BinaryOp::Power => match (&left, &right) {
                (Typed::Constant { value: base, .. }, Typed::Constant { value: exponent, .. }) => {
                    constant::power(base, exponent).map(Typed::constant)
                }
                _ => Err(Fault::detail(format!(
                    "power can only apply on constants: {}",
                    self.quote(node)
                ))),
            },
            BinaryOp::Shift => {
                Err(Fault::detail(format!("shift is not supported: {}", self.quote(node))))
            }
        }
    }

    fn and(&mut self, operands: &[Node<'_>]) -> Result<Typed, Fault> {
        let predicates = self.operands(operands, "and")?;
        let not_last = predicates
            .iter()
            .filter(|predicate| !matches!(predicate, Predicate::Constant(_)))
            .rev()
            .skip(1);
        for predicate in not_last {
            if ends_in_sample(predicate) {
                return Err(Fault::detail(
                    "random sample expression can only be the last expression in the logical and \
                     expression",
                ));
            }
            if ends_in_element_filter(predicate) {
                return Err(Fault::detail(
                    "element filter expression can only be the last expression in the logical \
                     and expression",
                ));
            }
        }
        Ok(folded(Predicate::and(predicates)))
    }

    fn or(&mut self, operands: &[Node<'_>]) -> Result<Typed, Fault> {
        let predicates = self.operands(operands, "or")?;
        let variable =
            predicates.iter().filter(|predicate| !matches!(predicate, Predicate::Constant(_)));
        if variable.clone().count() > 1 {
            // Milvus speaks of "and" here too.
            if variable.clone().any(ends_in_sample) {
                return Err(Fault::detail(
                    "random sample expression cannot be used in logical and expression",
                ));
            }
            if variable.clone().any(ends_in_element_filter) {
                return Err(Fault::detail(
                    "element filter expression can only be the last expression in the logical or \
                     expression",
                ));
            }
        }
        Ok(folded(Predicate::or(predicates)))
    }

    /// The operands of a connective, each of which has to be a predicate.
    fn operands(&mut self, nodes: &[Node<'_>], name: &str) -> Result<Vec<Predicate>, Fault> {
        let mut predicates = Vec::with_capacity(nodes.len());
        let mut all_constant = true;
        let mut all_boolean = true;
        for node in nodes {
            let typed = self.check(node)?;
            all_constant &= matches!(typed, Typed::Constant { .. });
            match typed.into_predicate() {
                Ok(predicate) => predicates.push(predicate),
                Err(_) => all_boolean = false,
            }
        }
        if all_boolean {
            Ok(predicates)
        } else if all_constant {
            Err(Fault::detail(format!("{name} can only apply on boolean")))
        } else {
            Err(Fault::detail(format!("'{name}' can only be used between boolean expressions")))
        }
    }
}

/// A predicate, or the constant that it is.
fn folded(predicate: Predicate) -> Typed {
    match predicate {
        Predicate::Constant(value) => Typed::constant(Value::Bool(value)),
        other => Typed::Predicate(other),
    }
}

fn negate(typed: Typed) -> Result<Typed, Fault> {
    if typed.is_whole_array() {
        return Err(Fault::detail(ARRAY_DIRECTLY));
    }
    let predicate = typed
        .into_predicate()
        .map_err(|_type| Fault::detail("not op can only be applied on boolean expression"))?;
    if ends_in_sample(&predicate) {
        return Err(Fault::detail("random sample expression cannot be used in unary expression"));
    }
    if ends_in_element_filter(&predicate) {
        return Err(Fault::detail("element filter expression cannot be used in unary expression"));
    }
    Ok(folded(predicate.negate()))
}

fn ends_in_sample(predicate: &Predicate) -> bool {
    matches!(predicate.conjuncts().last(), Some(Predicate::RandomSample { .. }))
}

fn ends_in_element_filter(predicate: &Predicate) -> bool {
    matches!(predicate.conjuncts().last(), Some(Predicate::ElementFilter { .. }))
}
