//! The key-value lists of requests: look-up and parsing of single values.
//!
//! Clients write values as text, each in the manner of its language: Python sends `True`, others
//! `true`. What a key means is not known here.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use pandion_proto::common::KeyValuePair;
use pandion_types::{Error, Result};

/// A list of parameters of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a>(pub(crate) &'a [KeyValuePair]);

impl<'a> Params<'a> {
    /// The first value of `key`; an empty one counts as none, because some clients send every key.
    #[must_use]
    pub(crate) fn text(self, key: &str) -> Option<&'a str> {
        let pair = self.0.iter().find(|pair| pair.key == key)?;
        Some(pair.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of `key` as a whole number.
    ///
    /// # Errors
    /// `InvalidArgument` when it is none.
    pub(crate) fn integer(self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| {
            Error::invalid_argument(format!("{key} [{text}] is invalid")).caused_by(error)
        })
    }

    /// The value of `key` as a truth value; false when it is not given.
    ///
    /// # Errors
    /// `InvalidArgument` when it is none.
    pub(crate) fn flag(self, key: &str) -> Result<bool> {
        match self.text(key) {
            None => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some(text) => Err(Error::invalid_argument(format!(
                "{key} [{text}] is invalid, it should be true or false"
            ))),
        }
    }

    /// The value of `timezone`.
    ///
    /// # Errors
    /// `InvalidArgument` when no zone has that name.
    pub(crate) fn timezone(self) -> Result<Option<Tz>> {
        self.text("timezone").map(parse_timezone).transpose()
    }
}

/// The zone in which points in time are read and written: the one that a request asks for, else the
/// one of the collection's property `timezone`, else UTC.
///
/// # Errors
/// `InvalidArgument` when the property names no zone.
pub(crate) fn timezone_of(asked: Option<Tz>, properties: &BTreeMap<String, String>) -> Result<Tz> {
    match (asked, properties.get("timezone")) {
        (Some(asked), _) => Ok(asked),
        (None, Some(name)) => parse_timezone(name),
        (None, None) => Ok(Tz::UTC),
    }
}

/// The zone with this name of the IANA time zone database.
///
/// # Errors
/// `InvalidArgument` when there is none.
pub(crate) fn parse_timezone(name: &str) -> Result<Tz> {
    name.parse().map_err(|error| {
        Error::invalid_argument(format!("unknown or invalid IANA Time Zone ID: {name}"))
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
        pairs
            .iter()
            .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect()
    }

    #[test]
    fn first_value_counts_and_empty_is_none() {
        let list = pairs(&[("a", "1"), ("a", "2"), ("b", "")]);
        assert_eq!(Params(&list).text("a"), Some("1"));
        assert_eq!(Params(&list).text("b"), None);
        assert_eq!(Params(&list).text("c"), None);
    }

    #[test]
    fn flags_are_read_in_the_manner_of_every_client() {
        let list = pairs(&[("python", "True"), ("node", "true"), ("go", "1"), ("no", "False")]);
        let params = Params(&list);
        for key in ["python", "node", "go"] {
            assert!(params.flag(key).unwrap(), "{key}");
        }
        assert!(!params.flag("no").unwrap());
        assert!(!params.flag("missing").unwrap());
        let list = pairs(&[("bad", "yes")]);
        assert!(Params(&list).flag("bad").unwrap_err().message().starts_with("bad [yes]"));
    }

    #[test]
    fn numbers_and_zones_are_parsed_or_refused_by_name() {
        let list = pairs(&[("limit", "10"), ("offset", "ten"), ("timezone", "Asia/Shanghai")]);
        let params = Params(&list);
        assert_eq!(params.integer("limit").unwrap(), Some(10));
        assert_eq!(params.integer("missing").unwrap(), None);
        assert_eq!(params.integer("offset").unwrap_err().message(), "offset [ten] is invalid");
        assert_eq!(params.timezone().unwrap(), Some(Tz::Asia__Shanghai));
        let properties = [("timezone".to_owned(), "Asia/Tokyo".to_owned())].into();
        assert_eq!(timezone_of(None, &properties).unwrap(), Tz::Asia__Tokyo);
        assert_eq!(timezone_of(Some(Tz::GMT), &properties).unwrap(), Tz::GMT);
        assert_eq!(timezone_of(None, &BTreeMap::new()).unwrap(), Tz::UTC);
        let error = parse_timezone("Nowhere/Land").unwrap_err();
        assert_eq!(error.message(), "unknown or invalid IANA Time Zone ID: Nowhere/Land");
    }
}
