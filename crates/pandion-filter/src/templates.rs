//! Values for the `{name}` placeholders of an expression.
//!
//! A placeholder stands where a constant may stand: as one side of a comparison, as a list, as a
//! pattern. Placeholders are replaced while types are checked, never in the text, so that no value
//! can change what the expression says.

use std::collections::BTreeMap;

use crate::MAX_NODES;
use crate::fault::Fault;
use crate::typed::Value;

/// How deeply the lists of one value may nest.
const MAX_LIST_DEPTH: usize = 32;

/// The value of one placeholder, as requests carry it.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplateValue {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int64(i64),
    /// A finite floating-point number.
    Double(f64),
    /// A string; taken as it is, without escapes.
    String(String),
    /// A list of values of any kind, possibly empty. Lists may nest 32 deep.
    Array(Vec<TemplateValue>),
    /// The bytes of a JSON document: a boolean, a number, a string or an array of such.
    Json(Vec<u8>),
}

/// Placeholder names and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates {
    values: BTreeMap<String, TemplateValue>,
}

impl Templates {
    /// No placeholders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a placeholder and returns the one it had.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: TemplateValue,
    ) -> Option<TemplateValue> {
        self.values.insert(name.into(), value)
    }

    /// The value of a placeholder.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TemplateValue> {
        self.values.get(name)
    }

    /// The value of a placeholder as a literal. Takes every element that it makes from `budget`.
    pub(crate) fn value(&self, name: &str, budget: &mut usize) -> Result<Value, Fault> {
        let value = self.get(name).ok_or_else(|| {
            Fault::detail(format!(
                "the value of expression template variable name {{{name}}} is not found"
            ))
        })?;
        Conversion { name, budget }.convert(value, 0)
    }
}

impl<N: Into<String>> FromIterator<(N, TemplateValue)> for Templates {
    fn from_iter<I: IntoIterator<Item = (N, TemplateValue)>>(values: I) -> Self {
        Self { values: values.into_iter().map(|(name, value)| (name.into(), value)).collect() }
    }
}

struct Conversion<'a> {
    name: &'a str,
    budget: &'a mut usize,
}

impl Conversion<'_> {
    fn convert(&mut self, value: &TemplateValue, depth: usize) -> Result<Value, Fault> {
        self.spend(depth)?;
        Ok(match value {
            TemplateValue::Bool(value) => Value::Bool(*value),
            TemplateValue::Int64(value) => Value::Int(*value),
            TemplateValue::Double(value) if value.is_finite() => Value::Float(*value),
            TemplateValue::Double(value) => {
                return Err(self.unusable(&format!("{value} is not a finite number")));
            }
            TemplateValue::String(value) => Value::String(value.clone()),
            TemplateValue::Array(values) => {
                let values = values.iter().map(|value| self.convert(value, depth + 1));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            TemplateValue::Json(bytes) => {
                let json = serde_json::from_slice(bytes)
                    .map_err(|error| self.unusable(&format!("no JSON document: {error}")))?;
                self.convert_json(&json, depth)?
            }
        })
    }

    fn convert_json(&mut self, json: &serde_json::Value, depth: usize) -> Result<Value, Fault> {
        use serde_json::Value as Json;
        self.spend(depth)?;
        Ok(match json {
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Value::Int(value),
                (None, Some(value)) if value.is_finite() => Value::Float(value),
                _ => return Err(self.unusable(&format!("{number} is out of range"))),
            },
            Json::String(value) => Value::String(value.clone()),
            Json::Array(values) => {
                let values = values.iter().map(|value| self.convert_json(value, depth + 1));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            Json::Null | Json::Object(_) => {
                return Err(self.unusable("null and objects are no constants"));
            }
        })
    }

    fn spend(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > MAX_LIST_DEPTH {
            return Err(self.unusable(&format!("its lists nest deeper than {MAX_LIST_DEPTH}")));
        }
        *self.budget = self.budget.checked_sub(1).ok_or_else(|| {
            self.unusable(&format!("the lists together have more than {MAX_NODES} values"))
        })?;
        Ok(())
    }

    fn unusable(&self, why: &str) -> Fault {
        let name = self.name;
        Fault::detail(format!(
            "the value of expression template variable {{{name}}} cannot be used: {why}"
        ))
    }
}
