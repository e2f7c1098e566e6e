//! Conditions on the elements of an array, inside of which `$` is an element.

use std::sync::Arc;

use pandion_types::DataType;

use super::{Checker, ElementScope, ends_in_sample};
use crate::ast::{Node, NodeKind};
use crate::fault::Fault;
use crate::typed::{ElementQuantifier, FieldRef, Predicate};

impl Checker<'_> {
    /// The array field and the condition on its elements.
    pub(super) fn elements(
        &mut self,
        field: &Node<'_>,
        condition: &Node<'_>,
        function: &str,
    ) -> Result<(Arc<FieldRef>, Box<Predicate>), Fault> {
        let (context, part) = if function == "ElementFilter" {
            ("ElementFilter", "element")
        } else {
            ("match expression", "predicate")
        };
        if let Some(scope) = &self.scope {
            return Err(Fault::detail(format!(
                "nested {function} is not supported, already inside {context} for field: {}",
                scope.name
            )));
        }
        let NodeKind::Identifier(name) = &field.kind else {
            return Err(self.no_field(field, function));
        };
        self.scope = Some(ElementScope { name: (*name).to_owned(), field: self.field(name).ok() });
        let checked = self.check(condition).and_then(|typed| {
            typed.into_predicate().map_err(|data_type| {
                Fault::detail(format!("it is not a boolean expression, data type: {data_type}"))
            })
        });
        self.scope = None;
        let predicate = checked.map_err(|fault| {
            Fault::detail(format!(
                "cannot parse {part} expression: {}, error: {}",
                self.quote(condition),
                fault.into_detail()
            ))
        })?;
        if ends_in_sample(&predicate) {
            return Err(Fault::detail(format!(
                "random sample expression cannot be used in {function}"
            )));
        }
        let field = self.field(name)?;
        if field.data_type != DataType::Array {
            return Err(Fault::detail(format!(
                "{function} is only supported on array fields, got: {name}"
            )));
        }
        Ok((field, Box::new(predicate)))
    }
}

/// The quantifier with the threshold that the call gives for it.
pub(super) fn with_threshold(
    quantifier: ElementQuantifier,
    option: Option<u64>,
    function: &str,
) -> Result<ElementQuantifier, Fault> {
    let threshold =
        option.ok_or_else(|| Fault::detail(format!("{function} takes the option threshold")));
    Ok(match quantifier {
        ElementQuantifier::All | ElementQuantifier::Any => quantifier,
        ElementQuantifier::Least(_) => match threshold? {
            0 => return Err(Fault::detail("count in MATCH_LEAST must be positive, got: 0")),
            count => ElementQuantifier::Least(count),
        },
        ElementQuantifier::Most(_) => ElementQuantifier::Most(threshold?),
        ElementQuantifier::Exact(_) => ElementQuantifier::Exact(threshold?),
    })
}
