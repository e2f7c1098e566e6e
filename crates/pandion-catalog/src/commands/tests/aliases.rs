//! Aliases: create, alter, list, drop, and what is refused.

use super::*;

#[tokio::test]
async fn create_alter_list_and_drop() {
    let catalog = with_collections().await;
    catalog.create_alias("", "a", "c", 1).await.unwrap();
    catalog.create_alias("", "b", "d", 1).await.unwrap();
    let version = catalog.state().version();
    catalog.create_alias("", "a", "c", 2).await.unwrap();
    catalog.alter_alias("", "a", "c", 2).await.unwrap();
    assert_eq!(catalog.state().version(), version, "nothing is written");
    let names = |collection| -> Vec<_> {
        let aliases = catalog.state().aliases("", collection).unwrap();
        aliases.iter().map(|alias| alias.name.clone()).collect()
    };
    assert_eq!((names(None), names(Some("c"))), (vec!["a".into(), "b".into()], vec!["a".into()]));
    catalog.alter_alias("", "a", "d", 3).await.unwrap();
    assert_eq!(names(Some("d")), ["a", "b"]);
    assert_eq!(catalog.state().collection("", "a").unwrap().name, "d");
    catalog.drop_alias("", "a").await.unwrap();
    assert_eq!(
        error(catalog.drop_alias("", "a").await),
        (
            ErrorKind::NotFound,
            Subject::Alias,
            "alias not found[database=default][alias=a]".to_owned()
        )
    );
    assert!(catalog.state().alias("", "a").is_err());
}

#[tokio::test]
async fn what_is_refused() {
    let catalog = with_collections().await;
    catalog.create_alias("", "a", "c", 1).await.unwrap();
    assert_eq!(
        error(catalog.create_alias("", "a", "d", 1).await),
        (
            ErrorKind::AlreadyExists,
            Subject::Alias,
            "a is alias to another collection: c: alias already \
             exist[database=default][alias=a]"
                .to_owned()
        )
    );
    let conflict = (
        ErrorKind::Conflict,
        Subject::Alias,
        "alias and collection name conflict[database=default][alias=d]".to_owned(),
    );
    assert_eq!(error(catalog.create_alias("", "d", "c", 1).await), conflict);
    assert_eq!(error(catalog.alter_alias("", "d", "c", 1).await), conflict);
    // An alias is no name to point an alias to.
    assert_eq!(
        text(catalog.create_alias("", "b", "a", 1).await),
        "collection not found[database=default][collection=a]"
    );
    assert_eq!(
        text(catalog.alter_alias("", "b", "c", 1).await),
        "alias not found[database=default][alias=b]"
    );
    assert!(
        text(catalog.create_alias("", "", "c", 1).await)
            .starts_with("collection alias should not be empty")
    );
    assert!(
        text(catalog.create_alias("", "a-b", "c", 1).await)
            .contains("collection alias can only contain numbers, letters and underscores")
    );
    assert_eq!(
        text(catalog.create_collection(request("a")).await),
        "alias and collection name conflict[database=default][alias=a]"
    );
}
