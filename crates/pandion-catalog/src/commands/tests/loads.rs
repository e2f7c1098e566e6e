//! Loading: what it asks for, and which version serves.

use super::*;

fn load(publish: PublishPolicy, refresh: bool) -> LoadRequest {
    LoadRequest { database: String::new(), collection: "c".to_owned(), publish, refresh }
}

async fn with_indexes() -> Catalog {
    let catalog = with_collections().await;
    for field in ["v", "bits"] {
        let (collection, field) = ("c".to_owned(), field.to_owned());
        let index = CreateIndex { collection, field, ..CreateIndex::default() };
        catalog.create_index(index).await.unwrap();
    }
    catalog
}

fn serving(catalog: &Catalog) -> Option<u64> {
    let state = catalog.state();
    state.collection("", "c").unwrap().serving().map(|pointer| pointer.version.0)
}

#[tokio::test]
async fn every_vector_field_needs_an_index() {
    let catalog = with_collections().await;
    assert_eq!(
        error(catalog.load(load(PublishPolicy::Immediate, false)).await),
        (ErrorKind::NotFound, Subject::Index, "index not found[collection=c]".to_owned())
    );
    let (collection, field) = ("c".to_owned(), "n".to_owned());
    let index = CreateIndex { collection, field, ..CreateIndex::default() };
    catalog.create_index(index).await.unwrap();
    assert_eq!(
        text(catalog.load(load(PublishPolicy::Immediate, false)).await),
        "there is no vector index on field: [v bits], please create index firstly"
    );
}

#[tokio::test]
async fn a_loaded_collection_serves_what_its_policy_says() {
    for (policy, after_publish) in
        [(PublishPolicy::Immediate, Some(2)), (PublishPolicy::OnLoad, Some(1))]
    {
        let catalog = with_indexes().await;
        jobs::publish_next(&catalog).await;
        assert_eq!(serving(&catalog), None, "not loaded");
        catalog.load(load(policy, false)).await.unwrap();
        assert_eq!(serving(&catalog), Some(1));
        jobs::publish_next(&catalog).await;
        assert_eq!(serving(&catalog), after_publish);
        let kept: Vec<_> =
            catalog.state().manifests().map(|(_, pointer)| pointer.version.0).collect();
        assert!(kept.contains(&2) && kept.contains(&after_publish.unwrap()));
        catalog.load(load(policy, false)).await.unwrap();
        assert_eq!(serving(&catalog), after_publish, "a second load changes nothing");
        catalog.load(load(policy, true)).await.unwrap();
        assert_eq!(serving(&catalog), Some(2));
        jobs::publish_next(&catalog).await;
        catalog.release("", "c").await.unwrap();
        catalog.release("", "c").await.unwrap();
        assert_eq!(serving(&catalog), None);
        catalog.load(load(policy, false)).await.unwrap();
        assert_eq!(serving(&catalog), Some(3));
    }
}

#[tokio::test]
async fn a_collection_loaded_before_its_first_refresh_serves_nothing_under_on_load() {
    let catalog = with_indexes().await;
    catalog.load(load(PublishPolicy::OnLoad, false)).await.unwrap();
    jobs::publish_next(&catalog).await;
    assert_eq!(serving(&catalog), None);
}
