//! Named points at which a test can make the process die.

/// Ends the process at once, without any clean-up, when `PANDION_FAULT_POINT` names this point.
///
/// Compiled to nothing without the feature `fault-points`, which no release has.
pub(crate) fn point(name: &str) {
    #[cfg(feature = "fault-points")]
    if std::env::var("PANDION_FAULT_POINT").is_ok_and(|wanted| wanted == name) {
        tracing::error!(point = name, "fault point reached: the process ends");
        std::process::abort();
    }
    #[cfg(not(feature = "fault-points"))]
    let _: &str = name;
}
