//! Typed tree to text. The text of a canonical tree parses, with the same schema, to an equal
//! tree, in any time zone.

use std::fmt::{self, Display, Formatter};

use pandion_types::DataType;

use crate::timestamp::{TimeZone, format_timestamp};
use crate::typed::{
    Argument, ContainsMode, ElementQuantifier, Filter, Operand, PathSegment, Predicate, Value,
};

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.predicate.fmt(f)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            // Debug keeps the point or the exponent that makes it a float.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(value) => Quoted(value).fmt(f),
            Self::Array(values) => List(values).fmt(f),
            Self::Timestamp(micros) => match format_timestamp(*micros, TimeZone::default()) {
                Some(text) => write!(f, "ISO '{text}'"),
                None => Err(fmt::Error),
            },
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(&field.name),
            Self::Json { field, path } => {
                f.write_str(&field.name)?;
                Path(path).fmt(f)
            }
            Self::Element { field, index, .. } => write!(f, "{}[{index}]", field.name),
            Self::CurrentElement { .. } => f.write_str("$"),
            Self::Length(operand) => write!(f, "array_length({operand})"),
            Self::Arithmetic { operand, op, value, .. } => {
                write!(f, "({operand} {} {value})", op.symbol())
            }
            Self::Shifted { field, negative, interval } => {
                let sign = if *negative { '-' } else { '+' };
                write!(f, "{} {sign} INTERVAL '{interval}'", field.name)
            }
        }
    }
}

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => value.fmt(f),
            Self::And(operands) => write_joined(f, operands, " and "),
            Self::Or(operands) => write_joined(f, operands, " or "),
            Self::Not(inner) => match inner.as_ref() {
                Self::In { operand, values } => write!(f, "{operand} not in {}", List(values)),
                Self::RegexMatch { operand, pattern } => {
                    write!(f, "{operand} !~ {}", Quoted(pattern))
                }
                other => write!(f, "not ({other})"),
            },
            Self::Compare { operand, op, value } => write!(f, "{operand} {} {value}", op.symbol()),
            Self::CompareOperands { left, op, right } => {
                write!(f, "{left} {} {right}", op.symbol())
            }
            Self::Range { operand, lower, upper } => {
                let symbol = |inclusive| if inclusive { "<=" } else { "<" };
                write!(f, "{} {} ", lower.value, symbol(lower.inclusive))?;
                write!(f, "{operand} {} {}", symbol(upper.inclusive), upper.value)
            }
            Self::In { operand, values } => write!(f, "{operand} in {}", List(values)),
            Self::Like { operand, pattern } => {
                write!(f, "{operand} like {}", Quoted(pattern.text()))
            }
            Self::RegexMatch { operand, pattern } => write!(f, "{operand} =~ {}", Quoted(pattern)),
            Self::IsNull(operand) => write!(f, "{operand} is null"),
            Self::IsNotNull(operand) => write!(f, "{operand} is not null"),
            Self::Exists { field, path } => write!(f, "exists {}{}", field.name, Path(path)),
            Self::Contains { operand, mode, values } => write_contains(f, operand, *mode, values),
            Self::Call { name, arguments } => {
                write!(f, "{name}(")?;
                for (index, argument) in arguments.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    match argument {
                        Argument::Operand(operand) => operand.fmt(f)?,
                        Argument::Value(value) => value.fmt(f)?,
                    }
                }
                f.write_str(")")
            }
            other => write_function(f, other),
        }
    }
}

/// The predicates that are calls of functions of the grammar.
fn write_function(f: &mut Formatter<'_>, predicate: &Predicate) -> fmt::Result {
    match predicate {
        Predicate::TextMatch { field, query, minimum_should_match } => {
            write!(f, "text_match({}, {}", field.name, Quoted(query))?;
            if let Some(number) = minimum_should_match {
                write!(f, ", minimum_should_match={number}")?;
            }
            f.write_str(")")
        }
        Predicate::TextMatchFuzzy { field, query, max_edit_distance } => write!(
            f,
            "text_match_fuzzy({}, {}, max_edit_distance={max_edit_distance})",
            field.name,
            Quoted(query)
        ),
        Predicate::PhraseMatch { field, query, slop } => {
            write!(f, "phrase_match({}, {}, {slop})", field.name, Quoted(query))
        }
        Predicate::Spatial { field, relation, wkt } => {
            write!(f, "{}({}, {})", relation.function(), field.name, Quoted(wkt))
        }
        Predicate::SpatialWithin { field, point, meters } => {
            write!(f, "st_dwithin({}, {}, {meters:?})", field.name, Quoted(point))
        }
        Predicate::SpatialValid { field } => write!(f, "st_isvalid({})", field.name),
        Predicate::RandomSample { factor } => write!(f, "random_sample({factor:?})"),
        Predicate::ElementFilter { field, predicate } => {
            write!(f, "element_filter({}, {predicate})", field.name)
        }
        Predicate::ElementMatch { field, quantifier, predicate } => {
            let (name, threshold) = match quantifier {
                ElementQuantifier::All => ("match_all", None),
                ElementQuantifier::Any => ("match_any", None),
                ElementQuantifier::Least(count) => ("match_least", Some(count)),
                ElementQuantifier::Most(count) => ("match_most", Some(count)),
                ElementQuantifier::Exact(count) => ("match_exact", Some(count)),
            };
            write!(f, "{name}({}, {predicate}", field.name)?;
            if let Some(count) = threshold {
                write!(f, ", threshold={count}")?;
            }
            f.write_str(")")
        }
        other => {
            debug_assert!(false, "{other:?} is no function of the grammar");
            Err(fmt::Error)
        }
    }
}

fn write_joined(f: &mut Formatter<'_>, operands: &[Predicate], joint: &str) -> fmt::Result {
    for (index, operand) in operands.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { joint })?;
        if matches!(operand, Predicate::And(_) | Predicate::Or(_)) {
            write!(f, "({operand})")?;
        } else {
            operand.fmt(f)?;
        }
    }
    Ok(())
}

fn write_contains(
    f: &mut Formatter<'_>,
    operand: &Operand,
    mode: ContainsMode,
    values: &[Value],
) -> fmt::Result {
    let family = if operand.data_type() == DataType::Json { "json" } else { "array" };
    match (mode, values) {
        (ContainsMode::One, [value]) => write!(f, "{family}_contains({operand}, {value})"),
        (ContainsMode::One, _) => Err(fmt::Error),
        (ContainsMode::All, values) => {
            write!(f, "{family}_contains_all({operand}, {})", List(values))
        }
        (ContainsMode::Any, values) => {
            write!(f, "{family}_contains_any({operand}, {})", List(values))
        }
    }
}

/// `[a, b]`.
struct List<'a>(&'a [Value]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, value) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            value.fmt(f)?;
        }
        f.write_str("]")
    }
}

/// `["key"][0]`.
struct Path<'a>(&'a [PathSegment]);

impl Display for Path<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for segment in self.0 {
            match segment {
                PathSegment::Key(key) => write!(f, "[{}]", Quoted(key))?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A string literal.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                control if u32::from(control) < 0x20 => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_str("\"")
    }
}
