//! Collections: create, rename, properties, drop.

use super::*;

#[tokio::test]
async fn creating_again_is_the_same_collection_or_an_error() {
    let catalog = with_collections().await;
    let state = catalog.state();
    let id = catalog.create_collection(request("c")).await.unwrap();
    assert_eq!(id, state.collection("", "c").unwrap().id);
    assert_eq!(catalog.state().version(), state.version(), "nothing is written");
    let mut other = request("c");
    other.schema.description = "other".to_owned();
    assert_eq!(
        error(catalog.create_collection(other).await),
        (
            ErrorKind::AlreadyExists,
            Subject::Collection,
            "create duplicate collection with different parameters, collection: c".to_owned()
        )
    );
    let mut secret = request("c");
    secret.secret = Some(Secret::new("x"));
    assert!(catalog.create_collection(secret).await.is_err());
}

#[tokio::test]
async fn what_is_refused() {
    let catalog = with_collections().await;
    assert!(text(catalog.create_collection(request("1c")).await).starts_with(
        "Invalid collection name: 1c. the first character of a collection name must be an \
         underscore or letter"
    ));
    let mut elsewhere = request("x");
    elsewhere.database = "nowhere".to_owned();
    assert_eq!(
        text(catalog.create_collection(elsewhere).await),
        "database not found[database=nowhere]"
    );
    let mut twice = request("x");
    twice.schema.fields[1].name = "v".to_owned();
    assert_eq!(text(catalog.create_collection(twice).await), "duplicated field name v");
    let mut twice = request("x");
    twice.schema.fields[1].id = FieldId(101);
    assert!(text(catalog.create_collection(twice).await).contains("id 101 of another"));
    assert_eq!(
        error(catalog.state().collection("", "x").cloned()),
        (
            ErrorKind::NotFound,
            Subject::Collection,
            "collection not found[database=default][collection=x]".to_owned()
        )
    );
    assert_eq!(
        text(catalog.state().collection_by_id(CollectionId(77)).cloned()),
        "collection not found[collection=77]"
    );
}

#[tokio::test]
async fn drop_takes_everything_along_and_is_silent_when_there_is_nothing() {
    let catalog = catalog().await;
    let mut request = request("c");
    request.secret = Some(Secret::new("x"));
    let id = catalog.create_collection(request).await.unwrap();
    let refresh = RefreshRequest {
        database: String::new(),
        collection: "c".to_owned(),
        source: None,
        now_ms: 11,
    };
    let job = catalog.start_refresh(refresh).await.unwrap().id;
    catalog.drop_collection("", "c", 12).await.unwrap();
    catalog.drop_collection("", "c", 12).await.unwrap();
    let state = catalog.state();
    assert!(state.secret(id).is_none() && state.collection_by_id(id).is_err());
    let job = state.job(job).unwrap();
    assert_eq!((job.state, job.reason.as_str()), (JobState::Failed, "collection c was dropped"));
    assert_eq!(
        text(catalog.drop_collection("nowhere", "c", 12).await),
        "database not found[database=nowhere]"
    );
}

#[tokio::test]
async fn aliases_stand_in_the_way_of_a_drop() {
    let catalog = with_collections().await;
    for alias in ["a", "b"] {
        catalog.create_alias("", alias, "c", 1).await.unwrap();
    }
    assert_eq!(
        text(catalog.drop_collection("", "a", 1).await),
        "cannot drop the collection via alias = a"
    );
    assert_eq!(
        text(catalog.drop_collection("", "c", 1).await),
        "unable to drop the collection [c] because it has associated aliases [a b], please \
         remove all aliases before dropping the collection"
    );
}

#[tokio::test]
async fn rename_keeps_everything_but_the_name() {
    let catalog = with_collections().await;
    catalog.create_alias("", "a", "c", 1).await.unwrap();
    let before = catalog.state().collection("", "c").unwrap().as_ref().clone();
    catalog.rename_collection(("", "c"), ("", "e"), 50).await.unwrap();
    let state = catalog.state();
    let mut expected = before;
    expected.name = "e".to_owned();
    expected.updated_ms = 50;
    assert_eq!(state.collection("", "e").unwrap().as_ref(), &expected);
    assert_eq!(state.collection("", "a").unwrap().id, expected.id);
    assert!(state.collection("", "c").is_err());
}

#[tokio::test]
async fn rename_into_another_database() {
    let catalog = with_collections().await;
    catalog.create_database("db", BTreeMap::new(), 1).await.unwrap();
    catalog.rename_collection(("", "c"), ("db", "c"), 50).await.unwrap();
    let names = |database: &str| -> Vec<_> {
        let collections = catalog.state().collections(database).unwrap();
        collections.iter().map(|collection| collection.name.clone()).collect()
    };
    assert_eq!((names(""), names("db")), (vec!["d".to_owned()], vec!["c".to_owned()]));
    catalog.create_alias("", "a", "d", 1).await.unwrap();
    assert!(
        text(catalog.rename_collection(("", "d"), ("db", "d"), 1).await)
            .starts_with("fail to rename db name, must drop all aliases")
    );
    assert_eq!(
        text(catalog.rename_collection(("", "d"), ("nowhere", "d"), 1).await),
        "database not found[database=nowhere]"
    );
}

#[tokio::test]
async fn names_that_rename_refuses() {
    let catalog = with_collections().await;
    catalog.create_alias("", "a", "c", 1).await.unwrap();
    let rename =
        async |from: &str, to: &str| text(catalog.rename_collection(("", from), ("", to), 1).await);
    assert_eq!(
        rename("c", "d").await,
        "duplicated new collection name default:d with other collection name or alias: \
         invalid parameter"
    );
    assert!(rename("c", "c").await.starts_with("duplicated new collection name default:c"));
    assert_eq!(
        rename("a", "e").await,
        "unsupported use an alias to rename collection, alias:a: invalid parameter"
    );
    assert_eq!(
        rename("d", "a").await,
        "alias and collection name conflict[database=default][alias=a]"
    );
    assert!(rename("c", "e-f").await.starts_with("Invalid collection name: e-f."));
    assert_eq!(rename("x", "y").await, "collection not found[database=default][collection=x]");
}

#[tokio::test]
async fn properties_and_description() {
    let catalog = with_collections().await;
    let alter = async |change| catalog.alter_collection("", "c", change, 60).await;
    alter(set("mmap.enabled", "true")).await.unwrap();
    alter(set("collection.description", "text")).await.unwrap();
    let state = catalog.state();
    let collection = state.collection("", "c").unwrap();
    assert_eq!(collection.schema.description, "text");
    assert_eq!(collection.properties.keys().collect::<Vec<_>>(), ["mmap.enabled"]);
    assert_eq!(collection.updated_ms, 60);
    alter(delete("mmap.enabled")).await.unwrap();
    alter(delete("collection.description")).await.unwrap();
    let collection = catalog.state().collection("", "c").unwrap().as_ref().clone();
    assert!(collection.properties.is_empty() && collection.schema.description.is_empty());
    for name in ["collection.external_source", "collection.external_spec"] {
        for change in [set(name, "x"), delete(name)] {
            let refused = text(alter(change).await);
            assert!(refused.contains("use RefreshExternalCollection instead"), "{refused}");
        }
    }
}
