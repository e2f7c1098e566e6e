//! The rules for names, and Milvus's texts for breaking them.

use pandion_types::{Error, Result, Subject};

/// The most characters of a name.
const NAME_LENGTH_MAX: usize = 255;

/// Refuses what is no name of a collection.
pub(crate) fn check_collection_name(name: &str) -> Result<()> {
    check_collection("name", name)
}

/// Refuses what is no name of an alias.
pub(crate) fn check_alias_name(name: &str) -> Result<()> {
    check_collection("alias", name)
}

/// Refuses what is no name of a database.
pub(crate) fn check_database_name(name: &str) -> Result<()> {
    check("database name", name).map_err(|broken| {
        let broken = match broken {
            Broken::Empty => "database name couldn't be empty".to_owned(),
            Broken::Rule(rule) => rule,
        };
        Error::invalid_argument(format!("{broken}: invalid database name"))
            .about(Subject::Database)
            .with("database", name)
    })
}

/// Refuses what is no name of an index.
pub(crate) fn check_index_name(name: &str) -> Result<()> {
    check("index name", name).map_err(|broken| {
        let broken = match broken {
            Broken::Empty => "index name should not be empty".to_owned(),
            Broken::Rule(rule) => rule,
        };
        Error::invalid_argument(format!("Invalid index name: {name}. {broken}: invalid parameter"))
    })
}

fn check_collection(what: &str, name: &str) -> Result<()> {
    check(&format!("collection {what}"), name).map_err(|broken| {
        Error::invalid_argument(match broken {
            Broken::Empty => format!("collection {what} should not be empty: invalid parameter"),
            Broken::Rule(rule) => {
                format!("Invalid collection {what}: {name}. {rule}: invalid parameter")
            }
        })
    })
}

enum Broken {
    Empty,
    Rule(String),
}

fn check(what: &str, name: &str) -> Result<(), Broken> {
    let Some(first) = name.chars().next() else { return Err(Broken::Empty) };
    // The length is the first rule, so that an endless name is not searched.
    if name.len() > NAME_LENGTH_MAX {
        return Err(Broken::Rule(format!(
            "the length of {} {what} must be less than {NAME_LENGTH_MAX} characters",
            article(what)
        )));
    }
    if first != '_' && !first.is_ascii_alphabetic() {
        return Err(Broken::Rule(format!(
            "the first character of {} {what} must be an underscore or letter",
            article(what)
        )));
    }
    if !name.chars().all(|at| at == '_' || at.is_ascii_alphanumeric()) {
        return Err(Broken::Rule(format!(
            "{what} can only contain numbers, letters and underscores"
        )));
    }
    Ok(())
}

fn article(what: &str) -> &'static str {
    if what.starts_with('i') { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    fn text(result: Result<()>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    }

    #[test]
    fn collection_names() {
        assert!(check_collection_name("_a1").is_ok());
        assert!(check_collection_name(&"a".repeat(255)).is_ok());
        assert_eq!(
            text(check_collection_name("1a")),
            "Invalid collection name: 1a. the first character of a collection name must be an \
             underscore or letter: invalid parameter"
        );
        assert_eq!(
            text(check_collection_name("a-b")),
            "Invalid collection name: a-b. collection name can only contain numbers, letters and \
             underscores: invalid parameter"
        );
        assert!(
            text(check_collection_name(&"a".repeat(256)))
                .contains("the length of a collection name must be less than 255 characters")
        );
        assert_eq!(
            text(check_collection_name("")),
            "collection name should not be empty: invalid parameter"
        );
        assert!(text(check_collection_name("größe")).contains("can only contain"));
    }

    #[test]
    fn alias_names() {
        assert!(text(check_alias_name("")).starts_with("collection alias should not be empty"));
        assert_eq!(
            text(check_alias_name("%a")),
            "Invalid collection alias: %a. the first character of a collection alias must be an \
             underscore or letter: invalid parameter"
        );
    }

    #[test]
    fn database_names() {
        assert_eq!(
            text(check_database_name("1x")),
            "the first character of a database name must be an underscore or letter: invalid \
             database name[database=1x]"
        );
        assert!(text(check_database_name("")).contains("invalid database name"));
        assert!(text(check_database_name("a b")).contains("numbers, letters and underscores"));
    }

    #[test]
    fn index_names() {
        assert!(
            text(check_index_name("1x"))
                .contains("the first character of an index name must be an underscore or letter")
        );
    }
}
