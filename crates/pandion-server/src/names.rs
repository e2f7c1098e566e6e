//! The rules for names: of collections, aliases, databases and fields.
//!
//! Texts and limits are Milvus's, because clients show them and match parts of them. A name that
//! passes may still be taken; that is for the catalogue to say.

use pandion_types::{Error, Result, Subject, VIRTUAL_PK_NAME};

/// Names have fewer bytes than this, or as many.
const NAME_LENGTH_MAX: usize = 255;

/// Words of the filter language: a field of such a name could not be used in a filter. Those that
/// may be written in either case stand here in small letters.
const KEYWORDS: [&str; 12] = [
    "like",
    "exists",
    "true",
    "false",
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
    "text_match",
];

/// Words of the filter language that are keywords in small letters only.
const KEYWORDS_SMALL: [&str; 4] = ["and", "or", "not", "in"];

/// Checks the name of a collection to be created, or the new name of a renamed one.
///
/// # Errors
/// `InvalidArgument` that says which rule the name breaks.
pub fn check_collection_name(name: &str) -> Result<()> {
    check_collection_name_or_alias(name, "name")
}

/// Checks an alias to be created.
///
/// # Errors
/// `InvalidArgument` that says which rule the alias breaks.
pub fn check_alias(alias: &str) -> Result<()> {
    check_collection_name_or_alias(alias, "alias")
}

fn check_collection_name_or_alias(name: &str, noun: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid_argument(format!("collection {noun} should not be empty")));
    }
    let broken = match broken_rule(name) {
        None => return Ok(()),
        Some(Rule::Length) => {
            format!(
                "the length of a collection {noun} must be less than {NAME_LENGTH_MAX} characters"
            )
        }
        Some(Rule::First) => {
            format!("the first character of a collection {noun} must be an underscore or letter")
        }
        Some(Rule::Rest) => {
            format!("collection {noun} can only contain numbers, letters and underscores")
        }
    };
    Err(Error::invalid_argument(format!(
        "Invalid collection {noun}: {name}. {broken}: invalid parameter"
    )))
}

/// Checks the name of a database to be created.
///
/// # Errors
/// `InvalidArgument` about [`Subject::Database`] that says which rule the name breaks.
pub fn check_database_name(name: &str) -> Result<()> {
    let broken = match broken_rule(name) {
        _ if name.is_empty() => "database name couldn't be empty".to_owned(),
        None => return Ok(()),
        Some(Rule::Length) => {
            format!("the length of a database name must be less than {NAME_LENGTH_MAX} characters")
        }
        Some(Rule::First) => {
            "the first character of a database name must be an underscore or letter".to_owned()
        }
        Some(Rule::Rest) => {
            "database name can only contain numbers, letters and underscores".to_owned()
        }
    };
    Err(Error::invalid_argument(format!("{broken}: invalid database name"))
        .about(Subject::Database)
        .with("database", name))
}

/// Checks the name of a user's field.
///
/// # Errors
/// `InvalidArgument` about [`Subject::Field`] that says which rule the name breaks.
pub fn check_field_name(name: &str) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid_argument(message).about(Subject::Field));
    if name.trim().is_empty() {
        return refuse("field name should not be empty".to_owned());
    }
    if matches!(name, VIRTUAL_PK_NAME | "RowID" | "Timestamp") {
        return refuse(format!("field name {name} is reserved for the system, choose another"));
    }
    let broken = match broken_rule(name) {
        None if is_keyword(name) => format!("{name} is keyword in milvus."),
        None => return Ok(()),
        Some(Rule::Length) => {
            format!("The length of a field name must be less than {NAME_LENGTH_MAX} characters.")
        }
        Some(Rule::First) => {
            "The first character of a field name must be an underscore or letter.".to_owned()
        }
        Some(Rule::Rest) => {
            "Field name can only contain numbers, letters, and underscores.".to_owned()
        }
    };
    refuse(format!("Invalid field name: {name}. {broken}"))
}

/// A rule that all names share.
enum Rule {
    Length,
    First,
    Rest,
}

/// The first rule that a name breaks. An empty name breaks none: its text differs by noun.
fn broken_rule(name: &str) -> Option<Rule> {
    if name.len() > NAME_LENGTH_MAX {
        return Some(Rule::Length);
    }
    let mut characters = name.bytes();
    let first = characters.next()?;
    if first != b'_' && !first.is_ascii_alphabetic() {
        return Some(Rule::First);
    }
    let ok = characters.all(|character| character == b'_' || character.is_ascii_alphanumeric());
    if ok { None } else { Some(Rule::Rest) }
}

fn is_keyword(name: &str) -> bool {
    let one_case = !name.bytes().any(|character| character.is_ascii_uppercase())
        || !name.bytes().any(|character| character.is_ascii_lowercase())
        || matches!(name, "True" | "False");
    KEYWORDS_SMALL.contains(&name)
        || (one_case && KEYWORDS.contains(&name.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        let longest = "a".repeat(255);
        for name in ["a", "_", "_1", "Products_2", longest.as_str()] {
            check_collection_name(name).unwrap();
            check_alias(name).unwrap();
            check_database_name(name).unwrap();
            check_field_name(name).unwrap();
        }
    }

    #[test]
    fn broken_collection_names_say_why() {
        let check = |name: &str, expected: &str| {
            let error = check_collection_name(name).unwrap_err();
            assert!(error.message().contains(expected), "{name}: {error}");
        };
        check("", "collection name should not be empty");
        check(
            "1a",
            "Invalid collection name: 1a. the first character of a collection name must be an \
             underscore or letter: invalid parameter",
        );
        check("a-b", "collection name can only contain numbers, letters and underscores");
        check("中文", "the first character of a collection name must be an underscore or letter");
        check(&"a".repeat(256), "the length of a collection name must be less than 255 characters");
    }

    #[test]
    fn broken_aliases_and_databases_say_why() {
        let error = check_alias("").unwrap_err();
        assert_eq!(error.message(), "collection alias should not be empty");
        let error = check_database_name("1x").unwrap_err();
        assert_eq!(
            error.message(),
            "the first character of a database name must be an underscore or letter: invalid \
             database name[database=1x]"
        );
        assert_eq!(error.subject(), Subject::Database);
        assert!(check_database_name("").is_err());
    }

    #[test]
    fn field_names_are_not_reserved_words() {
        for name in ["__virtual_pk__", "RowID", "Timestamp"] {
            let error = check_field_name(name).unwrap_err();
            assert!(error.message().contains(name), "{error}");
            assert!(error.message().contains("reserved"), "{error}");
        }
        for name in ["like", "LIKE", "and", "array_length", "ARRAY_LENGTH", "True"] {
            let error = check_field_name(name).unwrap_err();
            assert!(error.message().contains("is keyword in milvus"), "{error}");
        }
        for name in ["Like", "AND", "order", "timestamp"] {
            check_field_name(name).unwrap();
        }
        for name in ["", " ", "1a", "a b", "$meta"] {
            assert!(check_field_name(name).is_err(), "{name}");
        }
    }
}
