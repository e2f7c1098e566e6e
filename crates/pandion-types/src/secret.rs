//! Text that must not be printed.

/// A password, key or certificate. It has no `Debug`, no `Display` and no `Serialize`, so that it
/// cannot reach a log, an error, a description or a stored record by accident: whoever needs the
/// text asks for it by name. A struct that holds one writes its `Debug` by hand.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "that is the point of the type")]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call of this is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
