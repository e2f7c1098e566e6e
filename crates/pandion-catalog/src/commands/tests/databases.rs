//! Databases: create, alter, drop, and what is refused.

use super::*;

#[tokio::test]
async fn create_alter_and_drop() {
    let catalog = catalog().await;
    let properties = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let id = catalog.create_database("db", properties, 5).await.unwrap();
    catalog.alter_database("db", set("b", "2")).await.unwrap();
    catalog.alter_database("db", delete("a")).await.unwrap();
    let state = catalog.state();
    let database = state.database("db").unwrap();
    assert_eq!((database.id, database.created_ms), (id, 5));
    assert_eq!(database.properties, BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    catalog.drop_database("db").await.unwrap();
    assert_eq!(
        error(catalog.drop_database("db").await),
        (ErrorKind::NotFound, Subject::Database, "database not found[database=db]".to_owned())
    );
    let again = catalog.create_database("db", BTreeMap::new(), 5).await.unwrap();
    assert!(again > id, "an id was reused");
}

#[tokio::test]
async fn what_is_refused() {
    let catalog = catalog().await;
    catalog.create_database("db", BTreeMap::new(), 5).await.unwrap();
    assert_eq!(
        error(catalog.create_database("db", BTreeMap::new(), 5).await),
        (ErrorKind::AlreadyExists, Subject::Database, "database already exist: db".to_owned())
    );
    assert_eq!(
        error(catalog.create_database("a-b", BTreeMap::new(), 5).await).1,
        Subject::Database
    );
    assert_eq!(
        error(catalog.drop_database("default").await),
        (ErrorKind::Conflict, Subject::Database, "can not drop default database".to_owned())
    );
    let mut inside = request("x");
    inside.database = "db".to_owned();
    catalog.create_collection(inside).await.unwrap();
    assert_eq!(
        text(catalog.drop_database("db").await),
        "database:db not empty, must drop all collections before drop database"
    );
    catalog.drop_collection("db", "x", 6).await.unwrap();
    catalog.drop_database("db").await.unwrap();
    for number in 0..MAX_DATABASES {
        catalog.create_database(&format!("d{number}"), BTreeMap::new(), 5).await.unwrap();
    }
    assert_eq!(
        text(catalog.create_database("more", BTreeMap::new(), 5).await),
        "exceeded the limit number of database[limit=64]"
    );
}

#[tokio::test]
async fn the_default_one_is_there_under_two_names() {
    let catalog = catalog().await;
    catalog.alter_database("default", set("a", "1")).await.unwrap();
    let state = catalog.state();
    assert_eq!(state.database("").unwrap().properties["a"], "1");
}
