//! Calls: the functions of the grammar, each with its own rules, and calls that are passed on.

use std::sync::Arc;

use pandion_types::{CollectionSchema, DataType};

use super::cast::{self, Shape, can_compare};
use super::elements::with_threshold;
use super::{Checker, Typed, is_whole_array};
use crate::ast::{CallNode, Node, NodeKind};
use crate::fault::Fault;
use crate::typed::{
    Argument, ContainsMode, ElementQuantifier, FieldRef, Operand, Predicate, SpatialRelation, Value,
};

/// How near a sample factor may come to 0 and to 1.
const SAMPLE_MARGIN: f64 = 1e-10;

/// The functions that the grammar knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Contains(ContainsMode),
    ArrayLength,
    TextMatch,
    TextMatchFuzzy,
    PhraseMatch,
    RandomSample,
    ElementFilter,
    ElementMatch(ElementQuantifier),
    Spatial(SpatialRelation),
    SpatialWithin,
    SpatialValid,
}

impl Function {
    /// The function with this name in lower case.
    fn of(name: &str) -> Option<Self> {
        if let Some(relation) =
            SpatialRelation::ALL.into_iter().find(|relation| relation.function() == name)
        {
            return Some(Self::Spatial(relation));
        }
        Some(match name {
            "json_contains" | "array_contains" => Self::Contains(ContainsMode::One),
            "json_contains_all" | "array_contains_all" => Self::Contains(ContainsMode::All),
            "json_contains_any" | "array_contains_any" => Self::Contains(ContainsMode::Any),
            "array_length" => Self::ArrayLength,
            "text_match" => Self::TextMatch,
            "text_match_fuzzy" => Self::TextMatchFuzzy,
            "phrase_match" => Self::PhraseMatch,
            "random_sample" => Self::RandomSample,
            "element_filter" => Self::ElementFilter,
            "match_all" => Self::ElementMatch(ElementQuantifier::All),
            "match_any" => Self::ElementMatch(ElementQuantifier::Any),
            "match_least" => Self::ElementMatch(ElementQuantifier::Least(0)),
            "match_most" => Self::ElementMatch(ElementQuantifier::Most(0)),
            "match_exact" => Self::ElementMatch(ElementQuantifier::Exact(0)),
            "st_dwithin" => Self::SpatialWithin,
            "st_isvalid" => Self::SpatialValid,
            _ => return None,
        })
    }

    /// The smallest and the largest number of arguments, and the name of the option.
    fn signature(self) -> (usize, usize, Option<&'static str>) {
        match self {
            Self::Contains(_) | Self::ElementFilter | Self::Spatial(_) => (2, 2, None),
            Self::ArrayLength | Self::RandomSample | Self::SpatialValid => (1, 1, None),
            Self::TextMatch => (2, 2, Some("minimum_should_match")),
            Self::TextMatchFuzzy => (2, 2, Some("max_edit_distance")),
            Self::PhraseMatch => (2, 3, None),
            Self::ElementMatch(ElementQuantifier::All | ElementQuantifier::Any) => (2, 2, None),
            Self::ElementMatch(_) => (2, 2, Some("threshold")),
            Self::SpatialWithin => (3, 3, None),
        }
    }
}

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &CallNode<'_>, node: &Node<'_>) -> Result<Typed, Fault> {
        let name = call.name.to_ascii_lowercase();
        let Some(function) = Function::of(&name) else {
            return self.unknown_call(name, call).map(Typed::Predicate);
        };
        if call.name != name && call.name != name.to_ascii_uppercase() {
            return Err(Fault::detail(format!(
                "function name {} must be all lower or all upper case",
                call.name
            )));
        }
        let option = option_of(function, call)?;
        let arguments = call.arguments.as_slice();
        let predicate = match (function, arguments) {
            (Function::ArrayLength, [array]) => {
                return self.array_length(array, node).map(Typed::Operand);
            }
            (Function::Contains(mode), [array, values]) => self.contains(mode, array, values),
            (Function::TextMatch, [field, query]) => self.text_match(field, query, option),
            (Function::TextMatchFuzzy, [field, query]) => {
                self.text_match_fuzzy(field, query, option)
            }
            (Function::PhraseMatch, [field, query, slop @ ..]) => {
                self.phrase_match(field, query, slop.first())
            }
            (Function::RandomSample, [factor]) => self.random_sample(factor),
            (Function::ElementFilter, [field, condition]) => {
                let (field, predicate) = self.elements(field, condition, "ElementFilter")?;
                Ok(Predicate::ElementFilter { field, predicate })
            }
            (Function::ElementMatch(quantifier), [field, condition]) => {
                let upper = name.to_ascii_uppercase();
                let quantifier = with_threshold(quantifier, option, &upper)?;
                let (field, predicate) = self.elements(field, condition, &upper)?;
                Ok(Predicate::ElementMatch { field, quantifier, predicate })
            }
            (Function::Spatial(relation), [field, wkt]) => {
                let field = self.geometry(field, node, relation.function(), "spatial")?;
                let wkt = self.string(wkt, call.name)?;
                Ok(Predicate::Spatial { field, relation, wkt })
            }
            (Function::SpatialWithin, [field, point, meters]) => {
                let field = self.geometry(field, node, "st_dwithin", "ST_DWITHIN")?;
                let point = self.string(point, call.name)?;
                let meters = self.distance(meters)?;
                Ok(Predicate::SpatialWithin { field, point, meters })
            }
            (Function::SpatialValid, [field]) => self
                .geometry(field, node, "st_isvalid", "STIsValid")
                .map(|field| Predicate::SpatialValid { field }),
            _ => Err(Fault::detail(format!("wrong number of arguments: {}", self.quote(node)))),
        };
        predicate.map(Typed::Predicate)
    }

    fn unknown_call(&mut self, name: String, call: &CallNode<'_>) -> Result<Predicate, Fault> {
        if let Some((option, _)) = call.option {
            return Err(Fault::detail(format!("function {name} has no option {option}")));
        }
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(match self.check(argument)? {
                Typed::Constant { value, .. } => Argument::Value(value),
                Typed::Operand(operand) => Argument::Operand(operand),
                Typed::Unsupported { reason, .. } => return Err(Fault::detail(reason)),
                Typed::Predicate(_) => {
                    return Err(Fault::detail(format!(
                        "an argument of function {name} is a condition: {}",
                        self.quote(argument)
                    )));
                }
            });
        }
        Ok(Predicate::Call { name, arguments })
    }

    fn contains(
        &mut self,
        mode: ContainsMode,
        array: &Node<'_>,
        values: &Node<'_>,
    ) -> Result<Predicate, Fault> {
        let (operation, op_name) = match mode {
            ContainsMode::One => ("contains", "Contains"),
            ContainsMode::All => ("contains_all", "ContainsAll"),
            ContainsMode::Any => ("contains_any", "ContainsAny"),
        };
        let operand = match self.check(array)? {
            Typed::Operand(operand)
                if is_whole_array(&operand) || matches!(operand, Operand::Json { .. }) =>
            {
                operand
            }
            _ => {
                return Err(Fault::detail(format!(
                    "{operation} operation are only supported on json or array fields now, got: {}",
                    self.quote(array)
                )));
            }
        };
        let Typed::Constant { value, .. } = self.check(values)? else {
            return Err(Fault::detail(format!(
                "{operation} operation are only supported explicitly specified element, got: {}",
                self.quote(values)
            )));
        };
        let values = match (mode, value) {
            (ContainsMode::One, value) => vec![value],
            (_, Value::Array(values)) => values,
            _ => {
                return Err(Fault::detail(format!("{op_name} operation element must be an array")));
            }
        };
        let values = match operand.field().element_type.filter(|_| is_whole_array(&operand)) {
            None => values,
            Some(element_type) => {
                if mode != ContainsMode::One {
                    check_elements(element_type, &values, op_name)?;
                }
                values
                    .into_iter()
                    .map(|value| cast::cast(element_type, value))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Predicate::Contains { operand, mode, values })
    }

    fn array_length(&mut self, array: &Node<'_>, node: &Node<'_>) -> Result<Operand, Fault> {
        let is_name = matches!(
            array.kind,
            NodeKind::Identifier(_) | NodeKind::JsonPath(_) | NodeKind::StructField(_)
        );
        match self.check(array)? {
            Typed::Operand(operand)
                if is_name
                    && (is_whole_array(&operand) || matches!(operand, Operand::Json { .. })) =>
            {
                Ok(Operand::Length(Box::new(operand)))
            }
            _ => Err(Fault::detail(format!(
                "array_length operation are only supported on json or array fields now, got: {}",
                self.quote(node)
            ))),
        }
    }

    fn text_match(
        &mut self,
        field: &Node<'_>,
        query: &Node<'_>,
        option: Option<u64>,
    ) -> Result<Predicate, Fault> {
        let field = self.text_field(field, "text match")?;
        let query = self.string(query, "text_match")?;
        match option {
            Some(0) => Err(Fault::detail("minimum_should_match should be >= 1, got 0")),
            Some(number @ 1001..) => {
                Err(Fault::detail(format!("minimum_should_match should be <= 1000, got {number}")))
            }
            minimum_should_match => Ok(Predicate::TextMatch { field, query, minimum_should_match }),
        }
    }

    fn text_match_fuzzy(
        &mut self,
        field: &Node<'_>,
        query: &Node<'_>,
        option: Option<u64>,
    ) -> Result<Predicate, Fault> {
        let field = self.text_field(field, "text match")?;
        let query = self.string(query, "text_match_fuzzy")?;
        match option {
            Some(max_edit_distance @ 0..=2) => {
                Ok(Predicate::TextMatchFuzzy { field, query, max_edit_distance })
            }
            Some(number) => Err(Fault::detail(format!(
                "max_edit_distance should be between 0 and 2, got {number}"
            ))),
            None => Err(Fault::detail("text_match_fuzzy takes the option max_edit_distance")),
        }
    }

    fn phrase_match(
        &mut self,
        field: &Node<'_>,
        query: &Node<'_>,
        slop: Option<&Node<'_>>,
    ) -> Result<Predicate, Fault> {
        let field = self.text_field(field, "phrase match")?;
        let query = self.string(query, "phrase_match")?;
        let slop = match slop {
            None => 0,
            Some(node) => match self.check(node)? {
                Typed::Constant { value: Value::Int(slop), .. } if slop < 0 => {
                    return Err(Fault::detail(format!(
                        "\"slop\" should not be a negative interger. \"slop\" passed: {}",
                        self.quote(node)
                    )));
                }
                Typed::Constant { value: Value::Int(slop), .. } => {
                    u32::try_from(slop).map_err(|_overflow| {
                        Fault::detail(format!(
                            "\"slop\" exceeds the range of \"uint32\". \"slop\" expression \
                             passed: {}",
                            self.quote(node)
                        ))
                    })?
                }
                _ => {
                    return Err(Fault::detail(format!(
                        "\"slop\" should be a const integer expression with \"uint32\" value. \
                         \"slop\" expression passed: {}",
                        self.quote(node)
                    )));
                }
            },
        };
        Ok(Predicate::PhraseMatch { field, query, slop })
    }

    fn random_sample(&mut self, node: &Node<'_>) -> Result<Predicate, Fault> {
        let factor = match self.check(node)? {
            Typed::Constant { value: Value::Float(factor), .. } => factor,
            Typed::Constant { value: Value::Int(factor), .. } => factor as f64,
            _ => {
                return Err(Fault::detail(format!(
                    "\"float factor\" should be a const float expression: \"float factor\" \
                     passed: {}",
                    self.quote(node)
                )));
            }
        };
        if factor <= SAMPLE_MARGIN || factor >= 1.0 - SAMPLE_MARGIN {
            return Err(Fault::detail(format!(
                "the sample factor should be between 0 and 1 and not too close to 0 or 1(the \
                 difference should be larger than 1e-10), but got {}",
                self.quote(node)
            )));
        }
        Ok(Predicate::RandomSample { factor })
    }

    fn text_field(&mut self, node: &Node<'_>, operation: &str) -> Result<Arc<FieldRef>, Fault> {
        let NodeKind::Identifier(name) = &node.kind else {
            return Err(self.no_field(node, operation));
        };
        let field = self.field(name)?;
        if !field.data_type.is_string() {
            return Err(Fault::detail(format!(
                "{operation} operation on non-string is unsupported"
            )));
        }
        if is_match_enabled(self.schema, &field) {
            Ok(field)
        } else {
            Err(Fault::detail(format!("field \"{name}\" does not enable match")))
        }
    }

    fn geometry(
        &mut self,
        field: &Node<'_>,
        node: &Node<'_>,
        function: &str,
        operation: &str,
    ) -> Result<Arc<FieldRef>, Fault> {
        let NodeKind::Identifier(name) = &field.kind else {
            return Err(self.no_field(field, function));
        };
        let field = self.field(name)?;
        if field.data_type == DataType::Geometry {
            return Ok(field);
        }
        Err(Fault::detail(format!(
            "{operation} operation are only supported on geometry fields now, got: {}",
            self.quote(node)
        )))
    }

    fn distance(&mut self, node: &Node<'_>) -> Result<f64, Fault> {
        let meters = match self.check(node)? {
            Typed::Constant { value: Value::Int(meters), .. } => meters as f64,
            Typed::Constant { value: Value::Float(meters), .. } => meters,
            Typed::Constant { .. } => {
                return Err(Fault::detail(format!(
                    "distance parameter must be a numeric value (int or float), got: {}",
                    self.quote(node)
                )));
            }
            _ => {
                return Err(Fault::detail(format!(
                    "distance parameter must be a constant numeric value, got: {}",
                    self.quote(node)
                )));
            }
        };
        if meters < 0.0 {
            return Err(Fault::detail(format!(
                "distance parameter must be non-negative, got: {meters:.6}"
            )));
        }
        Ok(meters)
    }

    fn string(&mut self, node: &Node<'_>, function: &str) -> Result<String, Fault> {
        match self.check(node)? {
            Typed::Constant { value: Value::String(text), .. } => Ok(text),
            _ => Err(Fault::detail(format!(
                "{function} takes a string as its second argument, got: {}",
                self.quote(node)
            ))),
        }
    }

    pub(super) fn no_field(&self, node: &Node<'_>, function: &str) -> Fault {
        Fault::detail(format!(
            "{function} takes a field name as its first argument, got: {}",
            self.quote(node)
        ))
    }
}

/// The option of a call, after the number of arguments and the option's name were checked.
fn option_of(function: Function, call: &CallNode<'_>) -> Result<Option<u64>, Fault> {
    let (arguments_min, arguments_max, option_name) = function.signature();
    let given = call.arguments.len();
    if !(arguments_min..=arguments_max).contains(&given) {
        return Err(Fault::detail(format!(
            "function {} takes {arguments_min} arguments, got {given}",
            call.name
        )));
    }
    match call.option {
        None => Ok(None),
        Some((name, value))
            if option_name.is_some_and(|known| name.eq_ignore_ascii_case(known)) =>
        {
            Ok(Some(value))
        }
        Some((name, _)) => {
            Err(Fault::detail(format!("function {} has no option {name}", call.name)))
        }
    }
}

fn check_elements(element_type: DataType, values: &[Value], op_name: &str) -> Result<(), Fault> {
    for value in values {
        let shape = Shape::of_value(value);
        let comparable = match shape {
            Shape::Scalar(data_type) => can_compare(element_type, data_type),
            Shape::Array(_) | Shape::Unknown => false,
        };
        if !comparable {
            let found = match shape {
                Shape::Scalar(data_type) => data_type,
                Shape::Array(_) | Shape::Unknown => DataType::Array,
            };
            return Err(Fault::detail(format!(
                "{op_name} operation can't compare between array element type: {element_type} and \
                 {found}"
            )));
        }
    }
    Ok(())
}

fn is_match_enabled(schema: &CollectionSchema, field: &FieldRef) -> bool {
    schema
        .field_by_id(field.id)
        .and_then(|field| field.type_params.get("enable_match"))
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
