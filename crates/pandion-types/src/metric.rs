//! How two vectors are compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DataType, Error};

/// A distance or similarity, by Milvus's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MetricType {
    /// Squared Euclidean distance; smaller is nearer.
    L2,
    /// Inner product; larger is nearer.
    Ip,
    /// Cosine of the angle; larger is nearer. A zero vector scores 0 against everything.
    Cosine,
    /// Number of differing bits; smaller is nearer.
    Hamming,
    /// 1 - |a & b| / |a | b| over bits; smaller is nearer. Two empty sets are at distance 0.
    Jaccard,
}

impl MetricType {
    /// Whether a larger score is a nearer neighbour.
    #[must_use]
    pub fn larger_is_nearer(self) -> bool {
        matches!(self, Self::Ip | Self::Cosine)
    }

    /// The name as clients write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
            Self::Hamming => "HAMMING",
            Self::Jaccard => "JACCARD",
        }
    }

    /// The metric that Milvus takes for a vector field when none is given.
    #[must_use]
    pub fn default_for(data_type: DataType) -> Self {
        if data_type == DataType::BinaryVector { Self::Hamming } else { Self::Cosine }
    }

    /// Whether vectors of this type can be compared by this metric.
    #[must_use]
    pub fn supports(self, data_type: DataType) -> bool {
        let binary_metric = matches!(self, Self::Hamming | Self::Jaccard);
        data_type.is_dense_vector() && binary_metric == (data_type == DataType::BinaryVector)
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MetricType {
    type Err = Error;

    /// Accepts the names in any case, as Milvus does.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_uppercase().as_str() {
            "L2" => Ok(Self::L2),
            "IP" => Ok(Self::Ip),
            "COSINE" => Ok(Self::Cosine),
            "HAMMING" => Ok(Self::Hamming),
            "JACCARD" => Ok(Self::Jaccard),
            _ => Err(Error::invalid_argument(format!("metric type {text} is not supported"))),
        }
    }
}
