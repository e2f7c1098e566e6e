//! Which crate may use which: the order in section 4 of the design, from the bottom up.

use crate::workspace::{Package, Workspace};

use super::ratchet::Ratchet;

/// Crates of one row may not use each other. `*` stands for any name.
const LAYERS: &[&[&str]] = &[
    &["pandion-types"],
    &["pandion-filter"],
    &["pandion-index"],
    &["pandion-manifest"],
    &["pandion-source"],
    &[
        "pandion-connector-parquet",
        "pandion-connector-s3",
        "pandion-connector-gcs",
        "pandion-connector-azure",
    ],
    &["pandion-connector-iceberg"],
    &["pandion-catalog"],
    &["pandion-query"],
    &["pandion-refresh"],
    &["pandion-cluster"],
    &["pandion-proto"],
    &["pandion-server"],
    &["pandion"],
    &["pandion-testkit"],
    &["pandion-tests", "pandion-benches"],
    &["xtask"],
];

/// Foreign crates that only some of ours may use: the names, who may, and why.
const CONFINED: &[(&str, &[&str], &str)] = &[
    (
        "datafusion*",
        &["pandion-query", "pandion-connector-*", "pandion-cluster", "pandion-server"],
        "its types change every month",
    ),
    (
        "prost*",
        &["pandion-proto", "pandion-server", "pandion-manifest", "pandion-query", "pandion"],
        "wire types stay at the doors, in our own clients of them and in the codecs of manifest and plan",
    ),
];

/// Crates that do no I/O, and what would let them.
const PURE: &[&str] = &["pandion-types", "pandion-filter", "pandion-index", "pandion-manifest"];
const IO: &[&str] = &["tokio", "reqwest", "object_store", "hyper*", "axum", "tonic*"];

/// Checks every edge of every package. Dependencies of tests are free, as they ship nowhere.
pub(crate) fn check(workspace: &Workspace, ratchet: &mut Ratchet, findings: &mut Vec<String>) {
    for package in &workspace.packages {
        if rank(&package.name).is_none() {
            findings.push(format!("{}: the crate has no place in tidy's layers", package.name));
        }
        check_package(package, ratchet, findings);
    }
}

fn check_package(package: &Package, ratchet: &mut Ratchet, findings: &mut Vec<String>) {
    let user = package.name.as_str();
    let shipped = |kind: Option<&str>| kind != Some("dev");
    for used in package.dependencies.iter().filter(|edge| shipped(edge.kind.as_deref())) {
        let name = used.name.as_str();
        if used.path.is_some() {
            let lower = rank(name).is_some_and(|used| rank(user).is_some_and(|user| used < user));
            let allowed = user != "xtask" && lower;
            if !allowed && ratchet.granted("edge", &format!("{user}->{name}")).is_none() {
                findings.push(format!("{user}: may not use {name}, which stands no lower"));
            }
            continue;
        }
        for (confined, allowed, why) in CONFINED {
            let ships = !user.ends_with("-tests") && !user.ends_with("-benches");
            let may = allowed.iter().any(|pattern| matches(pattern, user));
            if ships && matches(confined, name) && !may {
                findings.push(format!("{user}: may not use {name}: {why}"));
            }
        }
        if PURE.contains(&user) && IO.iter().any(|pattern| matches(pattern, name)) {
            findings.push(format!("{user}: may not use {name}: the crate does no I/O"));
        }
    }
}

fn rank(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.iter().any(|pattern| matches(pattern, name)))
}

/// A `*` at the end of the pattern stands for any rest.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    fn findings(user: &str, used: &str, ours: bool, kind: Option<&str>) -> Vec<String> {
        let path = ours.then(PathBuf::new);
        let dependency = Dependency { name: used.into(), kind: kind.map(str::to_owned), path };
        let package = Package {
            name: user.into(),
            manifest_path: PathBuf::new(),
            dependencies: vec![dependency],
        };
        let mut found = Vec::new();
        check_package(&package, &mut Ratchet::empty(), &mut found);
        found
    }

    #[test]
    fn a_crate_uses_only_lower_ones() {
        let ours = |user, used| findings(user, used, true, None).is_empty();
        assert!(ours("pandion-query", "pandion-connector-parquet"));
        assert!(ours("pandion-connector-s3", "pandion-source"));
        assert!(!ours("pandion-source", "pandion-connector-s3"));
        assert!(!ours("pandion-connector-s3", "pandion-connector-parquet"));
        assert!(ours("pandion-connector-parquet", "pandion-manifest"));
        assert!(!ours("pandion-manifest", "pandion-source"));
        assert!(!ours("pandion-types", "pandion-nobody-knows"));
        assert!(!ours("xtask", "pandion-types"));
        assert!(findings("pandion-types", "pandion-testkit", true, Some("dev")).is_empty());
        assert!(!findings("pandion-types", "pandion-testkit", true, Some("build")).is_empty());
    }

    #[test]
    fn foreign_crates_stay_where_they_belong() {
        let foreign = |user, used| findings(user, used, false, None).is_empty();
        assert!(foreign("pandion-query", "datafusion-expr"));
        assert!(!foreign("pandion-refresh", "datafusion"));
        assert!(foreign("pandion-manifest", "prost"));
        assert!(!foreign("pandion-catalog", "prost"));
        assert!(!foreign("pandion-index", "tokio"));
        assert!(foreign("pandion-source", "tokio"));
        assert!(foreign("pandion-benches", "datafusion"));
    }
}
