//! How hits get new scores: rankers of hybrid searches, and function scores.
//!
//! Keys, limits and texts are those of Milvus. The formulas are in `pandion-query`.

use pandion_filter::Filter;
use pandion_proto::common::KeyValuePair;
use pandion_proto::schema::{FunctionSchema, FunctionScore, FunctionType};
use pandion_query::{
    Boost, Boosts, Combine, Decay, DecayCurve, RandomScore, Ranker, ScoreOperator,
};
use pandion_types::{CollectionSchema, DataType, Error, FieldId, Result, Subject};
use serde_json::Value;

use crate::params::Params;

/// `k` of a reciprocal rank when none is given.
const RANK_K: f64 = 60.0;
/// The bound of `k`; it does not belong to the range.
const RANK_K_MAX: f64 = 16_384.0;
/// The decay at the scale when none is given.
const DECAY: f64 = 0.5;

/// What a function score asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scoring {
    /// Scores that rows gain.
    pub(crate) boosts: Option<Boosts>,
    /// A ranker, at most one.
    pub(crate) ranker: Option<Ranker>,
}

/// Parses a function score for so many result lists; `filter` parses the filters of boosts.
///
/// # Errors
/// `InvalidArgument` that names the parameter; `Unsupported` for rankers that Pandion does not
/// serve.
pub(crate) fn decode_function_score(
    score: &FunctionScore,
    schema: &CollectionSchema,
    lists: usize,
    filter: &dyn Fn(&str) -> Result<Option<Filter>>,
) -> Result<Scoring> {
    let mut boosts = Vec::new();
    let mut ranker = None;
    for function in &score.functions {
        check_function(function)?;
        let params = Lowered(&function.params);
        let name = params.text("reranker").unwrap_or_default().to_lowercase();
        if name == "boost" {
            let boost = decode_boost(params, schema, filter)
                .map_err(|error| error.context("failed to create query plan"))?;
            boosts.push(boost);
            continue;
        }
        if ranker.is_some() {
            return Err(Error::invalid_argument("currently only supports one rerank function"));
        }
        ranker = Some(match name.as_str() {
            "rrf" => decode_reciprocal_rank(params)?,
            "weighted" => decode_weighted(params, lists)?,
            "decay" => Ranker::Decay(decode_decay(params, &function.input_field_names, schema)?),
            "" => return Err(Error::invalid_argument("reranker name not specified")),
            "model" => {
                return Err(Error::unsupported(
                    "reranker model is not supported: Pandion calls no model service; use rrf, \
                     weighted, decay or boost",
                ));
            }
            other => return Err(Error::invalid_argument(format!("unsupported reranker {other}"))),
        });
    }
    let params = Lowered(&score.params);
    let modes = (operator(params, "function_mode")?, operator(params, "boost_mode")?);
    let boosts = (!boosts.is_empty()).then_some(Boosts {
        functions: boosts,
        function_mode: modes.0,
        boost_mode: modes.1,
    });
    Ok(Scoring { boosts, ranker })
}

/// Parses the ranker of a hybrid search of so many requests: `strategy` and `params`.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(crate) fn decode_rank_params(params: Params<'_>, lists: usize) -> Result<Ranker> {
    let strategy = params.text("strategy").unwrap_or("rrf").to_lowercase();
    let values: Value = match params.text("params") {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Error::invalid_argument(format!("parse rerank params failed: {error}")).caused_by(error)
        })?,
        None => Value::Null,
    };
    match strategy.as_str() {
        "rrf" => match values.get("k") {
            None => reciprocal_rank(RANK_K),
            Some(k) => reciprocal_rank(k.as_f64().ok_or_else(|| {
                Error::invalid_argument("the type of rank param k should be float")
            })?),
        },
        "weighted" => {
            let weights = values
                .get("weights")
                .ok_or_else(|| Error::invalid_argument("weights not found in rank_params"))?;
            let normalize = match values.get("norm_score") {
                None => false,
                Some(Value::Bool(value)) => *value,
                Some(Value::String(text)) => parse_flag(text).ok_or_else(wrong_norm_score)?,
                Some(_) => return Err(wrong_norm_score()),
            };
            weighted(weights, normalize, lists)
        }
        other => Err(Error::invalid_argument(format!("unsupported rank type {other}"))),
    }
}

/// A list of parameters whose keys are compared without regard to case.
#[derive(Clone, Copy)]
struct Lowered<'a>(&'a [KeyValuePair]);

impl<'a> Lowered<'a> {
    fn text(self, key: &str) -> Option<&'a str> {
        let pair = self.0.iter().find(|pair| pair.key.eq_ignore_ascii_case(key))?;
        Some(pair.value.as_str())
    }

    /// A finite number.
    fn number(self, key: &str) -> Result<Option<f64>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| {
            Error::invalid_argument(format!("decay param {key}: {text} is not a number"))
        })
    }
}

fn check_function(function: &FunctionSchema) -> Result<()> {
    if function.r#type() != FunctionType::Rerank {
        return Err(Error::invalid_argument(format!(
            "{} is not rerank function.",
            function.r#type().as_str_name()
        )));
    }
    if function.output_field_names.is_empty() {
        return Ok(());
    }
    Err(Error::invalid_argument("Rerank function should not have output field"))
}

fn decode_reciprocal_rank(params: Lowered<'_>) -> Result<Ranker> {
    let Some(text) = params.text("k") else { return reciprocal_rank(RANK_K) };
    let k = text.trim().parse().map_err(|error| {
        Error::invalid_argument(format!("{text} is not a number")).caused_by(error)
    })?;
    reciprocal_rank(k)
}

fn reciprocal_rank(k: f64) -> Result<Ranker> {
    if k > 0.0 && k < RANK_K_MAX {
        return Ok(Ranker::ReciprocalRank { k });
    }
    Err(Error::invalid_argument(format!("The rank params k should be in range (0, {RANK_K_MAX})")))
}

fn decode_weighted(params: Lowered<'_>, lists: usize) -> Result<Ranker> {
    let text = params.text("weights").ok_or_else(|| {
        Error::invalid_argument("weights not found: weighted reranker requires weights parameter")
    })?;
    let weights = serde_json::from_str(text).map_err(|error| {
        Error::invalid_argument(format!("failed to parse weights: {error}")).caused_by(error)
    })?;
    let normalize = match params.text("norm_score") {
        None => false,
        Some(text) => parse_flag(text).ok_or_else(|| {
            Error::invalid_argument(format!("failed to parse norm_score: {text}"))
        })?,
    };
    weighted(&weights, normalize, lists)
}

#[expect(clippy::cast_possible_truncation, reason = "scores are binary32, and so are weights")]
fn weighted(weights: &Value, normalize: bool, lists: usize) -> Result<Ranker> {
    let list = weights
        .as_array()
        .ok_or_else(|| Error::invalid_argument("the weights param should be an array"))?;
    let weights: Vec<f32> = list
        .iter()
        .map(|weight| {
            let weight = weight.as_f64().ok_or_else(|| {
                Error::invalid_argument(format!("rank param weight {weight} should be a number"))
            })?;
            (0.0..=1.0).contains(&weight).then_some(weight as f32).ok_or_else(|| {
                Error::invalid_argument("rank param weight should be in range [0, 1]")
            })
        })
        .collect::<Result<_>>()?;
    if weights.len() == lists {
        return Ok(Ranker::Weighted { weights, normalize });
    }
    Err(Error::invalid_argument(
        "the length of weights param mismatch with ann search requests: invalid parameter",
    )
    .with("expected", lists)
    .with("actual", weights.len()))
}

fn decode_decay(params: Lowered<'_>, input: &[String], schema: &CollectionSchema) -> Result<Decay> {
    let required = |key: &str| {
        params
            .number(key)?
            .ok_or_else(|| Error::invalid_argument(format!("decay {key} not specified")))
    };
    let curve = params
        .text("function")
        .ok_or_else(|| Error::invalid_argument("decay function not specified"))?;
    let (origin, scale) = (required("origin")?, required("scale")?);
    let offset = params.number("offset")?.unwrap_or(0.0);
    let decay = params.number("decay")?.unwrap_or(DECAY);
    let curve = match curve.to_lowercase().as_str() {
        "gauss" => DecayCurve::Gauss,
        "exp" => DecayCurve::Exponential,
        "linear" => DecayCurve::Linear,
        other => {
            return Err(Error::invalid_argument(format!(
                "Invaild decay function: {other}, only support [gauss,linear,exp]"
            )));
        }
    };
    let wrong =
        |text: String| Err(Error::invalid_argument(format!("Decay function param: {text}")));
    if scale <= 0.0 {
        return wrong(format!("scale must > 0, but got {scale}"));
    }
    if offset < 0.0 {
        return wrong(format!("offset must >= 0, but got {offset}"));
    }
    if decay <= 0.0 || decay >= 1.0 {
        return wrong(format!("decay must 0 < decay < 1, but got {decay}"));
    }
    let combine = match params.text("score_mode").unwrap_or("max").to_lowercase().as_str() {
        "max" => Combine::Max,
        "sum" => Combine::Sum,
        "avg" => Combine::Average,
        other => {
            return Err(Error::invalid_argument(format!(
                "unsupported score_mode: {other}, only supports [max, sum, avg]"
            )));
        }
    };
    let normalize = params.text("norm_score").and_then(parse_flag).unwrap_or(false);
    let field = decay_field(input, schema)?;
    Ok(Decay { field, curve, origin, scale, offset, decay, combine, normalize })
}

fn decay_field(input: &[String], schema: &CollectionSchema) -> Result<FieldId> {
    let [name] = input else {
        return Err(Error::invalid_argument(format!(
            "decay reranker requires exactly 1 input field, got {}",
            input.len()
        )));
    };
    let field = schema.field(name).map_err(|error| {
        Error::invalid_argument(format!("input field {name} not found in collection schema"))
            .caused_by(error)
    })?;
    if field.data_type.is_integer() || field.data_type.is_float() {
        return Ok(field.id);
    }
    Err(Error::invalid_argument(format!(
        "decay input field {name} must be numeric, got {}",
        field.data_type
    )))
}

fn decode_boost(
    params: Lowered<'_>,
    schema: &CollectionSchema,
    filter: &dyn Fn(&str) -> Result<Option<Filter>>,
) -> Result<Boost> {
    let filter = match params.text("filter") {
        Some(text) => filter(text).map_err(|error| {
            Error::invalid_argument(format!("parse expr failed with error: {{{error}}}"))
                .caused_by(error)
        })?,
        None => None,
    };
    let text = params
        .text("weight")
        .ok_or_else(|| Error::invalid_argument("must set weight params for weight scorer"))?;
    let weight = text.trim().parse().ok().filter(|weight: &f32| weight.is_finite());
    let weight = weight.ok_or_else(|| {
        Error::invalid_argument(format!(
            "parse function scorer weight params failed with error: {{{text} is not a number}}"
        ))
    })?;
    let random = params.text("random_score").map(|text| decode_random(text, schema)).transpose()?;
    Ok(Boost { filter, weight, random })
}

fn decode_random(text: &str, schema: &CollectionSchema) -> Result<RandomScore> {
    let values: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        Error::invalid_argument(format!("random_score {text} is not a JSON object"))
            .caused_by(error)
    })?;
    let seed = match values.get("seed") {
        None => 0,
        Some(seed) => {
            seed.as_i64().ok_or_else(|| Error::invalid_argument("random seed must be int"))?
        }
    };
    let field = match values.get("field") {
        None => None,
        Some(Value::String(name)) => {
            let field = schema.field(name).map_err(|error| {
                Error::not_found(Subject::Field, "random seed field not found: field not found")
                    .with("field", name)
                    .caused_by(error)
            })?;
            if field.data_type != DataType::Int64 {
                return Err(Error::invalid_argument(format!(
                    "random seed field {name} must be Int64, got {}",
                    field.data_type
                )));
            }
            Some(field.id)
        }
        Some(_) => {
            return Err(Error::invalid_argument("random seed field name must be string"));
        }
    };
    Ok(RandomScore { seed, field })
}

fn operator(params: Lowered<'_>, key: &str) -> Result<ScoreOperator> {
    match params.text(key).unwrap_or_default().to_lowercase().as_str() {
        "" | "multiply" => Ok(ScoreOperator::Multiply),
        "sum" => Ok(ScoreOperator::Sum),
        other => Err(Error::invalid_argument(format!(
            "unknown {key}: {other}, only supports [multiply, sum]"
        ))),
    }
}

fn wrong_norm_score() -> Error {
    Error::invalid_argument("the type of rank param norm_score should be bool")
}

/// As Go reads truth values.
fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
