//! The scripts of filters: what stands in `tests/filters/*.slt`.
//!
//! ```text
//! # A comment.
//! data edges                      which data set the filters after this line are about
//! zone Asia/Shanghai              the zone of instants without an offset; UTC at the start
//! let ids = [1, 2]                a value for the placeholder {ids}, from here to the end
//! json ids = [1, "x"]             the same, given as the bytes of a JSON document
//!
//! query i64 == 3                  the filter keeps exactly these rows
//! = 1 4-7
//!
//! query i64 in [1, 2]             several filters in a row keep the same rows
//! query i64 == 1 or
//!   i64 == 2                      two spaces: the filter goes on
//! = 3 4
//!
//! subset random_sample(0.5)       the filter keeps some of these rows, none or all included
//! = all
//!
//! error not i64 == 3              the filter is refused with a message that holds this text
//! = not op can only be applied on boolean expression
//! ```
//!
//! Rows are written as [`crate::rows`] says. Between two `@` of a filter stands something long:
//! `@repeat 1000:not @` is `not ` a thousand times, `@count 1..5@` is `1,2,3,4`; `@@` is an at sign.
//! A line that breaks these rules is an error, so that no case is lost to a slip of the pen.

use anyhow::{Context as _, Result, bail, ensure};
use pandion_filter::TemplateValue;
use serde_json::Value as Json;

/// A line, or several, of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A comment or an empty line.
    Remark(String),
    /// `data NAME`
    Data(String),
    /// `zone NAME`
    Zone(String),
    /// `let NAME = VALUE` and `json NAME = VALUE`
    Template {
        /// The placeholder.
        name: String,
        /// What stands for it.
        value: TemplateValue,
        /// The line as it was read.
        line: String,
    },
    /// Filters and what is expected of each.
    Record(Record),
}

/// Filters of which the same is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What is expected.
    pub kind: Kind,
    /// The filters as they are written.
    pub filters: Vec<String>,
    /// The line after them, without its mark: rows, or a part of a message.
    pub expected: String,
    /// Number of the first line, from 1.
    pub line: usize,
}

/// What is expected of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It keeps exactly these rows.
    Query,
    /// It keeps some of these rows.
    Subset,
    /// It is refused.
    Error,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Query, Self::Subset, Self::Error];

    /// The word at the start of the line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Subset => "subset",
            Self::Error => "error",
        }
    }

    fn of_line(line: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|kind| {
            let rest = line.strip_prefix(kind.word())?;
            Some((kind, if rest.is_empty() { rest } else { rest.strip_prefix(' ')? }))
        })
    }
}

/// Reads a script.
///
/// # Errors
/// That name the line which breaks a rule.
pub fn read(text: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        let Some((kind, filter)) = Kind::of_line(line) else {
            items.push(single(line).with_context(|| format!("line {number}"))?);
            continue;
        };
        let mut filters = vec![filter.to_owned()];
        let expected = loop {
            let Some((line, number)) = lines.next() else {
                bail!("line {number}: nothing is expected of the filter")
            };
            if let (Some(more), Some(last)) = (line.strip_prefix("  "), filters.last_mut()) {
                last.push('\n');
                last.push_str(more);
            } else if let Some(expected) = line.strip_prefix("= ") {
                break expected.to_owned();
            } else if let Some((_, filter)) = Kind::of_line(line).filter(|(same, _)| *same == kind)
            {
                filters.push(filter.to_owned());
            } else {
                bail!("line {number}: a line that begins with `= ` has to follow: {line}");
            }
        };
        ensure!(!expected.trim().is_empty(), "line {number}: nothing is expected of the filter");
        items.push(Item::Record(Record { kind, filters, expected, line: number }));
    }
    Ok(items)
}

/// The text of a script; that of [`read`]'s result is the text that was read.
#[must_use]
pub fn write(items: &[Item]) -> String {
    let mut lines = Vec::new();
    for item in items {
        match item {
            Item::Remark(line) | Item::Template { line, .. } => lines.push(line.clone()),
            Item::Data(name) => lines.push(format!("data {name}")),
            Item::Zone(name) => lines.push(format!("zone {name}")),
            Item::Record(record) => {
                let word = record.kind.word();
                for filter in &record.filters {
                    let text = format!("{word} {}", filter.replace('\n', "\n  "));
                    lines.push(if filter.is_empty() { word.to_owned() } else { text });
                }
                lines.push(format!("= {}", record.expected));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The filter that is meant by what is written: with the parts between at signs spelled out.
///
/// # Errors
/// Such a part is none of those that exist.
pub fn spell_out(filter: &str) -> Result<String> {
    let mut text = String::new();
    for (at, part) in filter.split('@').enumerate() {
        if at.is_multiple_of(2) {
            text.push_str(part);
        } else if part.is_empty() {
            text.push('@');
        } else if let Some((count, what)) =
            part.strip_prefix("repeat ").and_then(|rest| rest.split_once(':'))
        {
            text.push_str(&what.repeat(count.parse().context("no number of times")?));
        } else if let Some((first, end)) =
            part.strip_prefix("count ").and_then(|rest| rest.split_once(".."))
        {
            let numbers = first.parse::<i64>()?..end.parse::<i64>()?;
            let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
            text.push_str(&numbers.join(","));
        } else {
            bail!("@{part}@ stands for nothing");
        }
    }
    ensure!(filter.matches('@').count().is_multiple_of(2), "an at sign is left over");
    Ok(text)
}

fn single(line: &str) -> Result<Item> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(Item::Remark(line.to_owned()));
    }
    let (word, rest) = line.split_once(' ').with_context(|| format!("unknown line: {line}"))?;
    let binding = || rest.split_once(" = ").context("` = ` is missing");
    Ok(match word {
        "data" => Item::Data(rest.to_owned()),
        "zone" => Item::Zone(rest.to_owned()),
        "let" => {
            let (name, value) = binding()?;
            let value = template(&serde_json::from_str(value)?)?;
            Item::Template { name: name.to_owned(), value, line: line.to_owned() }
        }
        "json" => {
            let (name, value) = binding()?;
            let value = TemplateValue::Json(value.as_bytes().to_vec());
            Item::Template { name: name.to_owned(), value, line: line.to_owned() }
        }
        _ => bail!("unknown line: {line}"),
    })
}

fn template(value: &Json) -> Result<TemplateValue> {
    Ok(match value {
        Json::Bool(value) => TemplateValue::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => TemplateValue::Int64(value),
            (None, Some(value)) => TemplateValue::Double(value),
            (None, None) => bail!("{number} is no value of a template"),
        },
        Json::String(text) => TemplateValue::String(text.clone()),
        Json::Array(values) => {
            TemplateValue::Array(values.iter().map(template).collect::<Result<_>>()?)
        }
        Json::Null | Json::Object(_) => bail!("{value} is no value of a template"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "# head\ndata edges\nzone Asia/Shanghai\nlet x = [1, 2.5]\njson y = {}\n\n\
                          query a == 1\nquery a == 1\n  or b == 2\n= 1-3\n\nquery\n= all\nerror a\n= no\n";

    #[test]
    fn scripts_are_read_and_written() {
        let items = read(SCRIPT).unwrap();
        assert_eq!(write(&items), SCRIPT);
        let records: Vec<&Record> = items
            .iter()
            .filter_map(|item| if let Item::Record(record) = item { Some(record) } else { None })
            .collect();
        assert_eq!(records[0].filters, ["a == 1", "a == 1\nor b == 2"]);
        assert_eq!((records[0].kind, records[0].expected.as_str()), (Kind::Query, "1-3"));
        assert_eq!((records[0].line, records[1].filters[0].as_str()), (7, ""));
        assert_eq!(records[2].kind, Kind::Error);
    }

    #[test]
    fn slips_are_errors() {
        for wrong in [
            "query a == 1",
            "query a == 1\n\n= 1",
            "query a == 1\nerror a\n= 1",
            "query a == 1\n= ",
            "= 1",
            "querya\n= 1",
            "let x",
            "let x = {}",
            "select 1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_parts_are_spelled_out() {
        assert_eq!(spell_out("a @repeat 3:( @b").unwrap(), "a ( ( ( b");
        assert_eq!(spell_out("[@count -1..2@]").unwrap(), "[-1,0,1]");
        assert_eq!(spell_out("'x@@y'").unwrap(), "'x@y'");
        for wrong in ["@", "@x@", "@repeat x:y@", "@count 1@"] {
            assert!(spell_out(wrong).is_err(), "{wrong}");
        }
    }
}
