//! The rules for names of fields.
//!
//! Texts and limits are Milvus's, because clients show them and match parts of them. Names of
//! collections, aliases and databases are the catalogue's to check.

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

/// Checks the name of a user's field.
///
/// # Errors
/// `InvalidArgument` about [`Subject::Field`] that says which rule the name breaks.
pub(crate) fn check_field_name(name: &str) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid_argument(message).about(Subject::Field));
    if name.trim().is_empty() {
        return refuse("field name should not be empty".to_owned());
    }
    if matches!(name, VIRTUAL_PK_NAME | "RowID" | "Timestamp") {
        return refuse(format!("field name {name} is reserved for the system, choose another"));
    }
    let mut characters = name.bytes();
    let first = characters.next();
    let broken = if name.len() > NAME_LENGTH_MAX {
        format!("The length of a field name must be less than {NAME_LENGTH_MAX} characters.")
    } else if !first.is_some_and(|first| first == b'_' || first.is_ascii_alphabetic()) {
        "The first character of a field name must be an underscore or letter.".to_owned()
    } else if characters.any(|character| character != b'_' && !character.is_ascii_alphanumeric()) {
        "Field name can only contain numbers, letters, and underscores.".to_owned()
    } else if is_keyword(name) {
        format!("{name} is keyword in milvus.")
    } else {
        return Ok(());
    };
    refuse(format!("Invalid field name: {name}. {broken}"))
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
        for name in ["a", "_", "_1", "Price_2", "Like", "AND", "order", "timestamp", &longest] {
            check_field_name(name).unwrap();
        }
    }

    #[test]
    fn broken_names_say_why() {
        let check = |name: &str, expected: &str| {
            let error = check_field_name(name).unwrap_err();
            assert!(error.message().contains(expected), "{name}: {error}");
        };
        check("", "field name should not be empty");
        check(" ", "field name should not be empty");
        check("1a", "Invalid field name: 1a. The first character of a field name must be");
        check("$meta", "The first character of a field name must be an underscore or letter");
        check("a b", "Field name can only contain numbers, letters, and underscores");
        check("价格", "The first character of a field name must be an underscore or letter");
        check(&"a".repeat(256), "The length of a field name must be less than 255 characters");
    }

    #[test]
    fn names_of_the_system_are_reserved() {
        for name in ["__virtual_pk__", "RowID", "Timestamp"] {
            let error = check_field_name(name).unwrap_err();
            assert!(error.message().contains(name), "{error}");
            assert!(error.message().contains("reserved"), "{error}");
        }
    }

    #[test]
    fn words_of_the_filter_language_are_no_names() {
        for name in ["like", "LIKE", "and", "array_length", "ARRAY_LENGTH", "True"] {
            let error = check_field_name(name).unwrap_err();
            assert!(error.message().contains("is keyword in milvus"), "{error}");
        }
    }
}
