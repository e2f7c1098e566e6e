//! What every command does and says.

use std::sync::Arc;

use object_store::memory::InMemory;
use pandion_types::{
    CollectionId, CollectionSchema, DataType, Error, ErrorKind, FieldId, FieldSchema, JobId,
    ManifestVersion, MetricType, Result, Secret, Subject,
};

use super::*;
use crate::{
    Catalog, CatalogOptions, Collection, JobState, ManifestPointer, ObjectMetastore, PublishPolicy,
    Receipt,
};

async fn catalog() -> Catalog {
    let metastore = ObjectMetastore::open(Arc::new(InMemory::new())).await.unwrap();
    Catalog::open(Arc::new(metastore), CatalogOptions::default()).await.unwrap()
}

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        nullable: true,
        is_primary_key: false,
        auto_id: false,
        external_field: Some(name.to_owned()),
        type_params: BTreeMap::new(),
    }
}

fn request(name: &str) -> CreateCollection {
    let fields = vec![
        field(101, "v", DataType::FloatVector),
        field(102, "n", DataType::Int64),
        field(103, "bits", DataType::BinaryVector),
    ];
    let schema = CollectionSchema {
        fields,
        external_source: "s3://b/p".to_owned(),
        external_spec: "{}".to_owned(),
        ..CollectionSchema::default()
    };
    CreateCollection {
        database: String::new(),
        name: name.to_owned(),
        schema,
        secret: None,
        properties: BTreeMap::new(),
        consistency_level: 2,
        now_ms: 10,
    }
}

/// A catalogue with the collections `c` and `d`.
async fn with_collections() -> Catalog {
    let catalog = catalog().await;
    for name in ["c", "d"] {
        catalog.create_collection(request(name)).await.unwrap();
    }
    catalog
}

fn error<T: std::fmt::Debug>(outcome: Result<T>) -> (ErrorKind, Subject, String) {
    let error: Error = outcome.unwrap_err();
    (error.kind(), error.subject(), error.to_string())
}

fn text<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    error(outcome).2
}

fn set(name: &str, value: &str) -> PropertyChange {
    PropertyChange { set: [(name.to_owned(), value.to_owned())].into(), delete: Vec::new() }
}

fn delete(name: &str) -> PropertyChange {
    PropertyChange { set: BTreeMap::new(), delete: vec![name.to_owned()] }
}

mod databases {
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
}

mod collections {
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
        assert_eq!(
            (job.state, job.reason.as_str()),
            (JobState::Failed, "collection c was dropped")
        );
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
        let rename = async |from: &str, to: &str| {
            text(catalog.rename_collection(("", from), ("", to), 1).await)
        };
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
}

mod aliases {
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
        assert_eq!(
            (names(None), names(Some("c"))),
            (vec!["a".into(), "b".into()], vec!["a".into()])
        );
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
}

mod indexes {
    use super::*;

    fn index(field: &str, params: &[(&str, &str)]) -> CreateIndex {
        let param = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        CreateIndex {
            collection: "c".to_owned(),
            field: field.to_owned(),
            params: params.iter().map(param).collect(),
            now_ms: 20,
            ..CreateIndex::default()
        }
    }

    async fn refused(field: &str, params: &[(&str, &str)]) -> (ErrorKind, String) {
        let (kind, _, text) =
            error(with_collections().await.create_index(index(field, params)).await);
        (kind, text)
    }

    #[tokio::test]
    async fn what_is_left_out_is_filled_in() {
        let catalog = with_collections().await;
        let id = catalog.create_index(index("v", &[])).await.unwrap();
        let bits =
            [("index_type", "BIN_FLAT"), ("metric_type", "jaccard"), ("params", "{\"x\":1}")];
        catalog.create_index(index("bits", &bits)).await.unwrap();
        catalog.create_index(index("n", &[("index_type", ""), ("metric_type", "")])).await.unwrap();
        let state = catalog.state();
        let collection = state.collection("", "c").unwrap();
        let shown = |name: &str| {
            let index = collection.index(name).unwrap();
            let params = index.params.iter().map(|(name, value)| format!("{name}={value}"));
            (index.field.0, index.metric, params.collect::<Vec<_>>().join(" "))
        };
        let auto = "index_type=AUTOINDEX metric_type=COSINE".to_owned();
        assert_eq!(shown("v"), (101, Some(MetricType::Cosine), auto));
        let flat = "index_type=BIN_FLAT metric_type=JACCARD x=1".to_owned();
        assert_eq!(shown("bits"), (103, Some(MetricType::Jaccard), flat));
        assert_eq!(shown("n"), (102, None, "index_type=AUTOINDEX".to_owned()));
        assert_eq!(collection.index("v").unwrap().id, id);
    }

    #[tokio::test]
    async fn the_same_again_is_no_error_and_another_is() {
        let catalog = with_collections().await;
        let flat = [("index_type", "FLAT"), ("metric_type", "L2")];
        let id = catalog.create_index(index("v", &flat)).await.unwrap();
        assert_eq!(catalog.create_index(index("v", &flat)).await.unwrap(), id);
        let mut named = index("v", &flat);
        named.name = "other".to_owned();
        let mut elsewhere = index("n", &[]);
        elsewhere.name = "v".to_owned();
        let metric = index("v", &[("index_type", "FLAT"), ("metric_type", "IP")]);
        for other in [named, elsewhere, metric] {
            let (kind, subject, text) = error(catalog.create_index(other).await);
            assert_eq!((kind, subject), (ErrorKind::AlreadyExists, Subject::Index));
            assert!(text.contains("at most one distinct index is allowed per field"), "{text}");
        }
    }

    #[tokio::test]
    async fn types_that_do_not_fit_or_are_not_there() {
        use ErrorKind::{InvalidArgument, Unsupported};
        let cases = [
            (
                "v",
                "NONE",
                InvalidArgument,
                "invalid parameter[expected=valid index][actual=invalid index type: NONE]",
            ),
            ("v", "HYBRID", InvalidArgument, "invalid index type: HYBRID"),
            (
                "v",
                "BIN_FLAT",
                InvalidArgument,
                "data type FloatVector can't build with this index BIN_FLAT",
            ),
            (
                "v",
                "INVERTED",
                InvalidArgument,
                "data type FloatVector can't build with this index INVERTED",
            ),
            ("n", "HNSW", InvalidArgument, "data type Int64 can't build with this index HNSW"),
            (
                "bits",
                "FLAT",
                InvalidArgument,
                "data type BinaryVector can't build with this index FLAT",
            ),
            ("v", "HNSW", Unsupported, "index type HNSW is not supported yet"),
            ("v", "DISKANN", Unsupported, "index type DISKANN is not supported yet"),
            ("bits", "BIN_IVF_FLAT", Unsupported, "index type BIN_IVF_FLAT is not supported yet"),
        ];
        for (field, index_type, kind, expected) in cases {
            let params = [("index_type", index_type), ("metric_type", "L2")];
            let found = refused(field, &params).await;
            assert_eq!(found.0, kind, "{found:?}");
            let holds = if kind == Unsupported {
                found.1.starts_with(expected)
            } else {
                found.1.contains(expected)
            };
            assert!(holds, "{found:?}");
        }
        let gone = refused("x", &[]).await;
        assert_eq!(gone, (InvalidArgument, "cannot create index on non-exist field: x".to_owned()));
    }

    #[tokio::test]
    async fn scalar_fields_have_scalar_indexes() {
        type Params<'a> = &'a [(&'a str, &'a str)];
        let catalog = with_scalars().await;
        let ngram = [("index_type", "NGRAM"), ("params", "{\"min_gram\":2,\"max_gram\":\"3\"}")];
        let cases: [(&str, Params<'_>, &str); 5] = [
            ("n", &[("index_type", "STL_SORT"), ("metric_type", "L2")], "index_type=STL_SORT"),
            ("s", &ngram, "index_type=NGRAM max_gram=3 min_gram=2"),
            ("t", &[("index_type", "Trie")], "index_type=Trie"),
            ("tags", &[("index_type", "BITMAP")], "index_type=BITMAP"),
            ("flag", &[], "index_type=AUTOINDEX"),
        ];
        for (field, params, expected) in cases {
            let id = catalog.create_index(index(field, params)).await.unwrap();
            assert_eq!(catalog.create_index(index(field, params)).await.unwrap(), id, "{field}");
            let state = catalog.state();
            let collection = state.collection("", "c").unwrap();
            let record = &collection.indexes[&id];
            let params = record.params.iter().map(|(name, value)| format!("{name}={value}"));
            assert_eq!(params.collect::<Vec<_>>().join(" "), expected);
            assert_eq!((record.metric, record.name.as_str()), (None, field));
            assert!(record.scalar_spec(&collection.schema).unwrap().is_some());
        }
        // The primary key is computed, so that an index on it has nothing to hold.
        let id = catalog.create_index(index("__virtual_pk__", &[])).await.unwrap();
        let state = catalog.state();
        let collection = state.collection("", "c").unwrap();
        assert_eq!(collection.indexes[&id].scalar_spec(&collection.schema).unwrap(), None);
    }

    #[tokio::test]
    async fn scalar_indexes_that_do_not_fit() {
        let catalog = with_scalars().await;
        let cases: [(&str, &[(&str, &str)]); 6] = [
            ("f", &[("index_type", "BITMAP")]),
            ("n", &[("index_type", "NGRAM"), ("min_gram", "2"), ("max_gram", "3")]),
            ("s", &[("index_type", "NGRAM")]),
            ("n", &[("index_type", "Trie")]),
            ("s", &[("index_type", "RTREE")]),
            ("j", &[("index_type", "INVERTED")]),
        ];
        for (field, params) in cases {
            let (kind, _, text) = error(catalog.create_index(index(field, params)).await);
            assert_eq!(kind, ErrorKind::InvalidArgument, "{field} {params:?}: {text}");
        }
        assert!(catalog.state().collection("", "c").unwrap().indexes.is_empty());
    }

    #[tokio::test]
    async fn each_path_of_a_json_field_may_have_an_index() {
        let catalog = with_scalars().await;
        let path = |path: &'static str, cast: &'static str| {
            let params =
                [("index_type", "INVERTED"), ("json_path", path), ("json_cast_type", cast)];
            index("j", &params)
        };
        let a = catalog.create_index(path("j[\"a\"]", "double")).await.unwrap();
        let b = catalog.create_index(path("j[\"b\"][0]", "varchar")).await.unwrap();
        assert_ne!(a, b);
        assert_eq!(catalog.create_index(path("j[\"a\"]", "double")).await.unwrap(), a);
        let names = || {
            let state = catalog.state();
            let collection = state.collection("", "c").unwrap();
            collection.indexes.values().map(|index| index.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["j/a", "j/b/0"]);
        // The same path, written otherwise or of another kind, is taken.
        for other in [path("j['a']", "varchar"), path("j[\"a\"]", "bool")] {
            let (kind, subject, _) = error(catalog.create_index(other).await);
            assert_eq!((kind, subject), (ErrorKind::AlreadyExists, Subject::Index));
        }
        let mut named = path("j[\"c\"]", "bool");
        named.name = "j/a".to_owned();
        assert_eq!(error(catalog.create_index(named.clone()).await).0, ErrorKind::InvalidArgument);
        named.name = "named".to_owned();
        let c = catalog.create_index(named).await.unwrap();
        // Without a name the one that stands on the path is meant.
        assert_eq!(catalog.create_index(path("j[\"c\"]", "bool")).await.unwrap(), c);
        catalog.drop_index("", "c", "j/a").await.unwrap();
        assert_eq!(names(), ["j/b/0", "named"]);
        catalog.drop_index("", "c", "").await.unwrap();
        assert!(names().is_empty());
    }

    /// A catalogue whose collection `c` has a field of many types.
    async fn with_scalars() -> Catalog {
        let catalog = catalog().await;
        let mut request = request("c");
        let mut key = field(100, "__virtual_pk__", DataType::Int64);
        key.external_field = None;
        key.is_primary_key = true;
        let mut tags = field(113, "tags", DataType::Array);
        tags.element_type = Some(DataType::VarChar);
        request.schema.fields.extend([
            key,
            field(110, "s", DataType::VarChar),
            field(111, "t", DataType::VarChar),
            field(112, "flag", DataType::Bool),
            tags,
            field(114, "j", DataType::Json),
            field(115, "f", DataType::Double),
        ]);
        catalog.create_collection(request).await.unwrap();
        catalog
    }

    #[test]
    fn records_of_earlier_releases_are_read() {
        // Indexes stood under the numbers of their fields.
        let text = r#"{"id": 7, "database": 1, "name": "c", "indexes": {
            "102": {"id": 12, "name": "n", "field": 102, "params": {"index_type": "AUTOINDEX"}},
            "101": {"id": 9, "name": "v", "field": 101, "metric": "L2"}}}"#;
        let collection: Collection = serde_json::from_str(text).unwrap();
        let found: Vec<(i64, i64, &str)> = collection
            .indexes
            .iter()
            .map(|(id, index)| (id.0, index.field.0, index.name.as_str()))
            .collect();
        assert_eq!(found, [(9, 101, "v"), (12, 102, "n")]);
        let written = serde_json::to_value(&collection).unwrap();
        assert_eq!(written["indexes"]["9"]["name"], "v");
        assert_eq!(serde_json::from_value::<Collection>(written).unwrap(), collection);
        assert_eq!(collection.indexes_of(FieldId(102)).count(), 1);
    }

    #[tokio::test]
    async fn metrics_that_do_not_fit_or_are_not_there() {
        use ErrorKind::{InvalidArgument, Unsupported};
        let suffix =
            ": invalid parameter[expected=valid index params][actual=invalid index params]";
        let invalid = |text: &str| (InvalidArgument, format!("{text}{suffix}"));
        for metric in ["HAMMING", "invalid"] {
            assert_eq!(
                refused("v", &[("metric_type", metric)]).await,
                invalid(&format!("float vector index does not support metric type: {metric}"))
            );
        }
        assert_eq!(
            refused("bits", &[("metric_type", "L2")]).await,
            invalid("binary vector index does not support metric type: L2")
        );
        assert_eq!(
            refused("v", &[("index_type", "FLAT")]).await,
            invalid("metric type not set for vector index")
        );
        let (kind, text) = refused("bits", &[("metric_type", "SUBSTRUCTURE")]).await;
        assert_eq!(kind, Unsupported);
        assert!(text.starts_with("metric type SUBSTRUCTURE is not supported yet"), "{text}");
    }

    #[tokio::test]
    async fn parameters() {
        for params in [[("M", "8")], [("params", "{\"M\":8}")]] {
            let (_, text) = refused("v", &params).await;
            assert_eq!(text, "only metric type can be passed when use AutoIndex");
        }
        let (_, text) = refused("v", &[("params", "[1]")]).await;
        assert_eq!(text, "index params [1] are no JSON object");
        let catalog = with_collections().await;
        let mut named = index("v", &[]);
        named.name = "1x".to_owned();
        assert!(text_of(catalog.create_index(named).await).starts_with("Invalid index name: 1x."));
    }

    fn text_of<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        text(outcome)
    }

    #[tokio::test]
    async fn sparse_vectors_have_none() {
        let catalog = catalog().await;
        let mut request = request("c");
        request.schema.fields.push(field(104, "s", DataType::SparseFloatVector));
        catalog.create_collection(request).await.unwrap();
        for index_type in ["AUTOINDEX", "SPARSE_INVERTED_INDEX"] {
            let params = [("index_type", index_type), ("metric_type", "IP")];
            let text = text(catalog.create_index(index("s", &params)).await);
            assert!(text.starts_with(&format!("index type {index_type} is not supported yet")));
        }
    }

    #[tokio::test]
    async fn alter_and_drop_heed_the_load() {
        let catalog = with_collections().await;
        for field in ["v", "bits", "n"] {
            catalog.create_index(index(field, &[])).await.unwrap();
        }
        let alter = async |name, change| catalog.alter_index("", "c", name, change).await;
        alter("v", set("mmap.enabled", "true")).await.unwrap();
        assert_eq!(
            catalog.state().collection("", "c").unwrap().index("v").unwrap().params["mmap.enabled"],
            "true"
        );
        assert_eq!(
            error(alter("x", set("mmap.enabled", "true")).await),
            (ErrorKind::NotFound, Subject::Index, "index not found[indexName=x]".to_owned())
        );
        assert!(
            text(alter("v", set("nlist", "1")).await)
                .starts_with("nlist is not a configable index property")
        );
        let load = LoadRequest {
            database: String::new(),
            collection: "c".to_owned(),
            publish: PublishPolicy::Immediate,
            refresh: false,
        };
        catalog.load(load).await.unwrap();
        assert_eq!(
            text(alter("v", delete("mmap.enabled")).await),
            "can't alter index on loaded collection, please release the collection first: \
             collection already loaded[collection=c]"
        );
        let drop = async |name| catalog.drop_index("", "c", name).await;
        for name in ["v", ""] {
            assert!(
                text(drop(name).await)
                    .starts_with("vector index cannot be dropped on loaded collection")
            );
        }
        drop("n").await.unwrap();
        catalog.release("", "c").await.unwrap();
        alter("v", delete("mmap.enabled")).await.unwrap();
        drop("v").await.unwrap();
        drop("v").await.unwrap();
        drop("").await.unwrap();
        assert!(catalog.state().collection("", "c").unwrap().indexes.is_empty());
    }
}

mod loads {
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
}

mod jobs {
    use super::*;

    fn refresh(source: Option<SourceBinding>) -> RefreshRequest {
        RefreshRequest { database: String::new(), collection: "c".to_owned(), source, now_ms: 20 }
    }

    fn binding(source: &str, spec: &str) -> SourceBinding {
        let (source, spec) = (source.to_owned(), spec.to_owned());
        SourceBinding { source, spec, secret: Some(Secret::new("canary")) }
    }

    fn pointer(version: u64) -> ManifestPointer {
        ManifestPointer {
            version: ManifestVersion(version),
            path: format!("m/{version}"),
            digest: "00".to_owned(),
            rows: 3,
            files: 1,
        }
    }

    fn publication(job: JobId, version: Option<u64>) -> Publication {
        let receipt = Receipt { rows: 3, ..Receipt::default() };
        Publication { job, manifest: version.map(pointer), source: None, receipt, now_ms: 30 }
    }

    pub(super) async fn publish_next(catalog: &Catalog) {
        let job = catalog.start_refresh(refresh(None)).await.unwrap();
        let end = publication(job.id, Some(job.base_version.0 + 1));
        catalog.publish(end).await.unwrap();
    }

    #[tokio::test]
    async fn from_start_to_publication() {
        let catalog = with_collections().await;
        let job = catalog.start_refresh(refresh(None)).await.unwrap();
        assert!(job.id.0 > 0);
        assert_eq!(
            (job.state, job.source.as_str(), job.start_ms),
            (JobState::Pending, "s3://b/p", 20)
        );
        let step = "diffing".to_owned();
        let receipt = Receipt { files_added: 1, ..Receipt::default() };
        let update = JobUpdate { job: job.id, step, progress: 100, receipt };
        catalog.update_job(update).await.unwrap();
        let state = catalog.state();
        let running = state.job(job.id).unwrap();
        assert_eq!((running.state, running.progress), (JobState::InProgress, 99));
        assert_eq!((running.step.as_str(), running.receipt.files_added), ("diffing", 1));
        catalog.publish(publication(job.id, Some(1))).await.unwrap();
        let state = catalog.state();
        let done = state.job(job.id).unwrap();
        assert_eq!((done.state, done.progress, done.end_ms), (JobState::Completed, 100, 30));
        let collection = state.collection("", "c").unwrap();
        assert_eq!((collection.manifest.clone(), collection.updated_ms), (Some(pointer(1)), 30));
        // The answer may have been lost.
        catalog.publish(publication(job.id, Some(1))).await.unwrap();
        assert_eq!(catalog.state().version(), state.version());
        assert!(text(catalog.publish(publication(job.id, Some(2))).await).contains("has ended as"));
    }

    #[tokio::test]
    async fn one_at_a_time() {
        let catalog = with_collections().await;
        let job = catalog.start_refresh(refresh(None)).await.unwrap();
        assert_eq!(
            error(catalog.start_refresh(refresh(None)).await),
            (
                ErrorKind::Conflict,
                Subject::Job,
                format!(
                    "refresh job {} is already in progress for collection c, please wait for it \
                     to complete or cancel it first",
                    job.id
                )
            )
        );
        let mut other = refresh(None);
        other.collection = "d".to_owned();
        catalog.start_refresh(other).await.unwrap();
        catalog.fail_job(job.id, "cancelled", Receipt::default(), 25).await.unwrap();
        catalog.start_refresh(refresh(None)).await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_refreshed() {
        let catalog = with_collections().await;
        let mut ordinary = request("o");
        ordinary.schema.external_source.clear();
        for field in &mut ordinary.schema.fields {
            field.external_field = None;
        }
        catalog.create_collection(ordinary).await.unwrap();
        let mut deferred = request("later");
        deferred.schema.external_source.clear();
        deferred.schema.external_spec.clear();
        catalog.create_collection(deferred).await.unwrap();
        let start = async |collection: &str, source| {
            let mut request = refresh(source);
            request.collection = collection.to_owned();
            text(catalog.start_refresh(request).await)
        };
        assert_eq!(start("o", None).await, "collection o is not an external collection");
        assert_eq!(start("x", None).await, "collection not found[database=default][collection=x]");
        assert!(start("later", None).await.contains("no persisted external_source/external_spec"));
        for half in [binding("", "{}"), binding("s3://b/q", "")] {
            assert_eq!(
                start("c", Some(half)).await,
                "external_source and external_spec must be both provided or both omitted"
            );
        }
        assert_eq!(
            text(catalog.state().jobs("", Some("o"))),
            "collection o is not an external collection"
        );
        assert_eq!(
            error(catalog.state().job(JobId(99)).cloned()),
            (ErrorKind::NotFound, Subject::Job, "refresh job 99 not found".to_owned())
        );
    }

    #[tokio::test]
    async fn an_override_counts_from_the_publication_on() {
        let catalog = with_collections().await;
        let id = catalog.state().collection("", "c").unwrap().id;
        let source = binding("s3://b/q", "{\"format\":\"parquet\"}");
        let failed = catalog.start_refresh(refresh(Some(source.clone()))).await.unwrap();
        assert_eq!((failed.source.as_str(), failed.overrides_source), ("s3://b/q", true));
        catalog.fail_job(failed.id, "bucket b not found", Receipt::default(), 25).await.unwrap();
        let state = catalog.state();
        let collection = state.collection("", "c").unwrap();
        assert_eq!(collection.schema.external_source, "s3://b/p");
        assert!(state.secret(id).is_none());
        assert_eq!(state.job(failed.id).unwrap().reason, "bucket b not found");

        // An unchanged source under another specification has no new manifest.
        let job = catalog.start_refresh(refresh(Some(source.clone()))).await.unwrap();
        let mut end = publication(job.id, None);
        end.source = Some(source);
        catalog.publish(end.clone()).await.unwrap();
        catalog.publish(end).await.unwrap();
        let state = catalog.state();
        let collection = state.collection("", "c").unwrap();
        assert_eq!(collection.schema.external_source, "s3://b/q");
        assert!(collection.manifest.is_none());
        assert_eq!(state.secret(id).unwrap().expose(), "canary");
    }

    #[tokio::test]
    async fn only_the_next_version_is_published() {
        let catalog = with_collections().await;
        publish_next(&catalog).await;
        let job = catalog.start_refresh(refresh(None)).await.unwrap();
        for version in [1, 3] {
            let (kind, _, text) = error(catalog.publish(publication(job.id, Some(version))).await);
            assert_eq!(kind, ErrorKind::InvalidArgument);
            assert!(text.contains("after 1"), "{text}");
        }
        catalog.drop_collection("", "c", 40).await.unwrap();
        let (kind, subject, text) = error(catalog.publish(publication(job.id, Some(2))).await);
        assert_eq!((kind, subject), (ErrorKind::Conflict, Subject::Job));
        assert!(text.contains("has ended as RefreshFailed"), "{text}");
    }

    #[tokio::test]
    async fn a_stopped_server_fails_its_jobs() {
        let catalog = with_collections().await;
        publish_next(&catalog).await;
        let job = catalog.start_refresh(refresh(None)).await.unwrap();
        assert_eq!(catalog.recover_jobs(50).await.unwrap(), [job.id]);
        assert!(catalog.recover_jobs(50).await.unwrap().is_empty());
        let state = catalog.state();
        let job = state.job(job.id).unwrap();
        assert_eq!(
            (job.state, job.reason.as_str(), job.end_ms),
            (JobState::Failed, "server stopped during refresh; run it again", 50)
        );
        assert!(
            text(
                catalog
                    .update_job(JobUpdate {
                        job: job.id,
                        step: String::new(),
                        progress: 1,
                        receipt: Receipt::default(),
                    })
                    .await
            )
            .contains("has ended as RefreshFailed")
        );
        catalog.fail_job(job.id, "again", Receipt::default(), 60).await.unwrap();
        assert_eq!(catalog.state().version(), state.version());
        publish_next(&catalog).await;
    }

    #[tokio::test]
    async fn lists_are_newest_first_and_old_jobs_are_forgotten() {
        let catalog = with_collections().await;
        for _ in 0..FINISHED_JOBS_KEPT + 5 {
            publish_next(&catalog).await;
        }
        let mut other = refresh(None);
        other.collection = "d".to_owned();
        let newest = catalog.start_refresh(other).await.unwrap().id;
        let jobs = catalog.state().jobs("", None).unwrap();
        assert_eq!(jobs[0].id, newest);
        assert!(jobs.windows(2).all(|pair| pair[0].id > pair[1].id));
        let of_c = catalog.state().jobs("", Some("c")).unwrap();
        // The last one was running when the old ones were last counted.
        assert_eq!(of_c.len(), FINISHED_JOBS_KEPT + 1);
        assert_eq!(jobs.len(), of_c.len() + 1);
        catalog.drop_collection("", "c", 1).await.unwrap();
        let jobs = catalog.state().jobs("", None).unwrap();
        assert_eq!(jobs.len(), FINISHED_JOBS_KEPT + 1);
    }

    #[test]
    fn states_have_the_published_numbers_and_names() {
        let states =
            [JobState::Pending, JobState::InProgress, JobState::Completed, JobState::Failed];
        let shown: Vec<_> = states.iter().map(|state| (state.code(), state.name())).collect();
        let expected = [
            (0, "RefreshPending"),
            (1, "RefreshInProgress"),
            (2, "RefreshCompleted"),
            (3, "RefreshFailed"),
        ];
        assert_eq!(shown, expected);
    }
}
