//! Indexes: which may stand on which field, with which parameters.

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
    let (kind, _, text) = error(with_collections().await.create_index(index(field, params)).await);
    (kind, text)
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let catalog = with_collections().await;
    let id = catalog.create_index(index("v", &[])).await.unwrap();
    let bits = [("index_type", "BIN_FLAT"), ("metric_type", "jaccard"), ("params", "{\"x\":1}")];
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
        let params = [("index_type", "INVERTED"), ("json_path", path), ("json_cast_type", cast)];
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
    let suffix = ": invalid parameter[expected=valid index params][actual=invalid index params]";
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
