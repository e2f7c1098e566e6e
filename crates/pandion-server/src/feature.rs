//! What a client may ask for and Pandion does not serve, by name.
//!
//! Requests are parsed in full, so that such a wish is refused and never silently left out. Which of
//! them a method refuses is for the method to decide.

use pandion_types::Error;

/// A capability of the Milvus API that Pandion does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Chains of functions: `function_chains`.
    FunctionChains,
    /// Aggregation of hits: `search_aggregation`.
    SearchAggregation,
    /// Highlighting: `highlighter`.
    Highlighter,
    /// Namespaces: `namespace`.
    Namespace,
    /// Several searches in one request: `sub_reqs`.
    SubRequests,
    /// Choice of a text analyzer: `analyzer_name`.
    Analyzer,
}

impl Feature {
    /// The `Unsupported` error that names the feature as the client wrote it.
    #[must_use]
    pub(crate) fn refusal(self) -> Error {
        let (parameter, what) = match self {
            Self::FunctionChains => ("function_chains", "chains of functions"),
            Self::SearchAggregation => ("search_aggregation", "aggregation of hits"),
            Self::Highlighter => ("highlighter", "highlighting"),
            Self::Namespace => ("namespace", "namespaces"),
            Self::SubRequests => ("sub_reqs", "several searches in one request"),
            Self::Analyzer => ("analyzer_name", "choice of a text analyzer"),
        };
        Error::unsupported(format!("{parameter} is not supported: Pandion does not serve {what}"))
    }
}
