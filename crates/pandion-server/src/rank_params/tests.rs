use pandion_types::{ErrorKind, FieldSchema};

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
        .collect()
}

fn schema() -> CollectionSchema {
    let types = [("n", DataType::Int64), ("s", DataType::VarChar)];
    let fields = (101..)
        .zip(types)
        .map(|(id, (name, data_type))| FieldSchema::mapped(id, name, data_type))
        .collect();
    CollectionSchema { fields, ..CollectionSchema::default() }
}

fn function(input: &[&str], params: &[(&str, &str)]) -> FunctionSchema {
    FunctionSchema {
        r#type: FunctionType::Rerank.into(),
        input_field_names: input.iter().map(|name| (*name).to_owned()).collect(),
        params: pairs(params),
        ..FunctionSchema::default()
    }
}

fn decode(functions: Vec<FunctionSchema>, params: &[(&str, &str)]) -> Result<Scoring> {
    let score = FunctionScore { functions, params: pairs(params) };
    let schema = schema();
    let filter = |text: &str| {
        let filter = pandion_filter::parse(text, &schema, &pandion_filter::Templates::new())?;
        Ok(Some(filter))
    };
    decode_function_score(&score, &schema, 2, &filter)
}

fn legacy(list: &[(&str, &str)]) -> Result<Ranker> {
    decode_rank_params(Params(&pairs(list)), 2)
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    error.message().to_owned()
}

#[test]
fn rankers_of_hybrid_searches_are_understood() {
    assert_eq!(legacy(&[]).unwrap(), Ranker::ReciprocalRank { k: 60.0 });
    let rrf = [("strategy", "rrf"), ("params", r#"{"k": 100}"#)];
    assert_eq!(legacy(&rrf).unwrap(), Ranker::ReciprocalRank { k: 100.0 });
    let weighted =
        [("strategy", "weighted"), ("params", r#"{"weights":[0.25,1],"norm_score":true}"#)];
    let expected = Ranker::Weighted { weights: vec![0.25, 1.0], normalize: true };
    assert_eq!(legacy(&weighted).unwrap(), expected);
}

#[test]
fn rankers_of_hybrid_searches_are_refused_with_milvus_texts() {
    let of = |strategy: &str, params: &str| {
        refusal(legacy(&[("strategy", strategy), ("params", params)]))
    };
    for k in ["0", "-1", "16384", "16385"] {
        let text = of("rrf", &format!(r#"{{"k": {k}}}"#));
        assert_eq!(text, "The rank params k should be in range (0, 16384)", "{k}");
    }
    assert!(of("rrf", r#"{"k": "x"}"#).contains("k should be float"));
    assert!(of("rrf", "{").contains("parse rerank params failed"));
    assert!(of("weighted", "{}").contains("weights not found"));
    assert!(of("weighted", r#"{"weights": 1}"#).contains("weights param should be an array"));
    for weights in ["[-0.1, 1]", "[1.5, 1, 1]"] {
        let text = of("weighted", &format!(r#"{{"weights": {weights}}}"#));
        assert_eq!(text, "rank param weight should be in range [0, 1]");
    }
    assert_eq!(
        of("weighted", r#"{"weights": [0.2]}"#),
        "the length of weights param mismatch with ann search requests: invalid \
         parameter[expected=2][actual=1]"
    );
    let text = of("weighted", r#"{"weights": [0, 1], "norm_score": 3}"#);
    assert!(text.contains("norm_score should be bool"), "{text}");
    assert_eq!(of("best", "{}"), "unsupported rank type best");
}

#[test]
fn functions_are_understood() {
    let rrf = function(&[], &[("reranker", "RRF"), ("k", "10")]);
    let found = decode(vec![rrf], &[]).unwrap();
    assert_eq!(found.ranker, Some(Ranker::ReciprocalRank { k: 10.0 }));
    let weights = [("reranker", "weighted"), ("weights", "[0.1, 0.9]"), ("norm_score", "True")];
    let found = decode(vec![function(&[], &weights)], &[]).unwrap();
    let expected = Ranker::Weighted { weights: vec![0.1, 0.9], normalize: true };
    assert_eq!(found.ranker, Some(expected));
    let decay = [
        ("reranker", "decay"),
        ("function", "gauss"),
        ("origin", "100"),
        ("scale", "20"),
        ("score_mode", "avg"),
    ];
    let expected = Decay {
        field: FieldId(101),
        curve: DecayCurve::Gauss,
        origin: 100.0,
        scale: 20.0,
        offset: 0.0,
        decay: 0.5,
        combine: Combine::Average,
        normalize: false,
    };
    let found = decode(vec![function(&["n"], &decay)], &[]).unwrap();
    assert_eq!(found, Scoring { boosts: None, ranker: Some(Ranker::Decay(expected)) });
}

#[test]
fn boosts_are_understood_beside_a_ranker() {
    let first = function(&[], &[("reranker", "boost"), ("weight", "1.5"), ("filter", "n > 1")]);
    let random = r#"{"seed": 126, "field": "n"}"#;
    let second = function(&[], &[("reranker", "boost"), ("weight", "2"), ("random_score", random)]);
    let rrf = function(&[], &[("reranker", "rrf")]);
    let found = decode(vec![first, rrf, second], &[("boost_mode", "Sum")]).unwrap();
    assert_eq!(found.ranker, Some(Ranker::ReciprocalRank { k: 60.0 }));
    let boosts = found.boosts.unwrap();
    assert_eq!(boosts.boost_mode, ScoreOperator::Sum);
    assert_eq!(boosts.function_mode, ScoreOperator::Multiply);
    assert!(boosts.functions[0].filter.is_some());
    let expected = Some(RandomScore { seed: 126, field: Some(FieldId(101)) });
    assert_eq!((boosts.functions[1].random, boosts.functions[1].weight), (expected, 2.0));
}

#[test]
fn functions_are_refused_with_milvus_texts() {
    let of = |input: &[&str], params: &[(&str, &str)]| {
        refusal(decode(vec![function(input, params)], &[]))
    };
    assert_eq!(of(&[], &[]), "reranker name not specified");
    assert_eq!(of(&[], &[("reranker", "best")]), "unsupported reranker best");
    let boost = ("reranker", "boost");
    assert!(of(&[], &[boost]).contains("must set weight params"));
    assert!(of(&[], &[boost, ("weight", "heavy")]).contains("weight params failed with error"));
    let text = of(&[], &[boost, ("weight", "1"), ("filter", "x @@@ 1")]);
    assert!(text.contains("parse expr failed"), "{text}");
    let text = of(&[], &[boost, ("weight", "1"), ("random_score", r#"{"seed": "x"}"#)]);
    assert!(text.contains("random seed must be int"), "{text}");
    let decay = |extra: &[(&str, &str)], input: &[&str]| {
        let base = [("reranker", "decay"), ("function", "exp"), ("origin", "1"), ("scale", "2")];
        // The first value of a key counts.
        of(input, &[extra, base.as_slice()].concat())
    };
    for (extra, text) in [
        (("scale", "0"), "scale must > 0"),
        (("offset", "-1"), "offset must >= 0"),
        (("decay", "1"), "decay must 0 < decay < 1"),
        (("origin", "here"), "decay param origin: here is not a number"),
        (("origin", "nan"), "is not a number"),
        (("function", "flat"), "Invaild decay function: flat"),
        (("score_mode", "min"), "unsupported score_mode: min"),
    ] {
        let found = decay(&[extra], &["n"]);
        assert!(found.contains(text), "{extra:?}: {found}");
    }
    assert!(decay(&[], &[]).contains("exactly 1 input field, got 0"));
    assert!(decay(&[], &["s"]).contains("must be numeric, got VarChar"));
    assert!(decay(&[], &["x"]).contains("input field x not found"));
    assert!(of(&["n"], &[("reranker", "decay"), ("function", "exp")]).contains("decay origin not"));
    let two = vec![function(&[], &[("reranker", "rrf")]), function(&[], &[("reranker", "rrf")])];
    assert!(refusal(decode(two, &[])).contains("only supports one rerank function"));
    assert!(refusal(decode(Vec::new(), &[("boost_mode", "min")])).contains("unknown boost_mode"));
    let other = FunctionSchema { r#type: FunctionType::Bm25.into(), ..FunctionSchema::default() };
    assert!(refusal(decode(vec![other], &[])).contains("is not rerank function"));
}

#[test]
fn models_are_refused_clearly() {
    let error = decode(vec![function(&["s"], &[("reranker", "model")])], &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("reranker model is not supported"), "{error}");
}
