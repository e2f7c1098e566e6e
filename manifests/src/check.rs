//! The rules that every manifest obeys, checked where bytes are written and where they are read.
//!
//! Nothing here repairs: a value that breaks a rule is refused with the rule and the file's id.
//! File ids and paths are named, a URI never is, because the rule that it breaks may be that it
//! holds credentials.

use std::collections::HashSet;

use pandion_types::{ContentTag, Error, FileId, Result};

use crate::{
    ColumnStatistics, DataFile, DeleteKind, DeleteVector, Manifest, StatValue, TableState,
};

/// The most row groups of one file.
pub const MAX_ROW_GROUPS: usize = 1 << 20;
/// The most columns with statistics of one file.
pub const MAX_COLUMNS: usize = 4096;
/// The most bytes of a path, a URI or a content tag.
pub const MAX_TEXT_BYTES: usize = 1 << 16;
/// The most bytes of a string that bounds a column. A longer bound is to be left out, as unknown.
pub const MAX_BOUND_BYTES: usize = 1 << 16;
/// The most bytes of a file's footer.
pub const MAX_FOOTER_BYTES: usize = 1 << 28;

impl Manifest {
    /// Checks every rule of the format that the types do not enforce. Cost: one pass over the
    /// files, and a hash of every footer.
    ///
    /// # Errors
    /// `InvalidArgument` that names the first rule broken and the file that breaks it.
    pub fn check(&self) -> Result<()> {
        ensure(self.collection.0 > 0, || "the collection id is not positive".into())?;
        ensure(self.version.0 > 0, || "versions are counted from 1".into())?;
        ensure(self.schema_version >= 0, || "the schema version is negative".into())?;
        // One more than the last file id means that no id is left.
        ensure((1..=FileId::LAST.get() + 1).contains(&self.next_file_id), || {
            format!("next file id {} is outside the file ids", self.next_file_id)
        })?;
        let mut uris = HashSet::with_capacity(self.files.len());
        let mut last = 0;
        for file in &self.files {
            let id = file.id.get();
            ensure(id > last, || format!("file {id} stands behind file {last}"))?;
            ensure(id < self.next_file_id, || {
                format!("file {id} is not below the next file id {}", self.next_file_id)
            })?;
            ensure(uris.insert(file.identity.uri.as_str()), || {
                format!("file {id} has the URI of another file")
            })?;
            check_file(file)
                .and_then(|()| check_table_file(self.table.as_ref(), file))
                .map_err(|error| error.context(format!("file {id}")))?;
            last = id;
        }
        self.table
            .as_ref()
            .map_or(Ok(()), |table| check_table(table).map_err(|error| error.context("table")))
    }
}

fn check_file(file: &DataFile) -> Result<()> {
    check_text("location", &file.location)?;
    check_identity(file)?;
    ensure(file.row_groups.len() <= MAX_ROW_GROUPS, || {
        format!("{} row groups, the most is {MAX_ROW_GROUPS}", file.row_groups.len())
    })?;
    let rows = file.row_groups.iter().try_fold(0_u64, |rows, &group| rows.checked_add(group));
    let rows = rows.filter(|&rows| rows <= u64::from(u32::MAX)).ok_or_else(|| {
        Error::invalid_argument(format!("more rows than the {} that row ids can name", u32::MAX))
    })?;
    let last_dead = file.deletes.as_ref().and_then(DeleteVector::last);
    ensure(last_dead.is_none_or(|row| u64::from(row) < rows), || {
        format!("row {} is deleted among {rows} rows", last_dead.unwrap_or_default())
    })?;
    ensure(file.columns.len() <= MAX_COLUMNS, || {
        format!("{} columns, the most is {MAX_COLUMNS}", file.columns.len())
    })?;
    for pair in file.columns.windows(2) {
        if let [first, second] = pair {
            ensure(first.field < second.field, || {
                format!("field {} stands behind field {}", second.field, first.field)
            })?;
        }
    }
    for column in &file.columns {
        check_column(column, rows)
            .map_err(|error| error.context(format!("field {}", column.field)))?;
    }
    ensure(file.footer.len() <= MAX_FOOTER_BYTES, || {
        format!("a footer of {} bytes, the most is {MAX_FOOTER_BYTES}", file.footer.len())
    })?;
    ensure(*blake3::hash(&file.footer).as_bytes() == file.footer_digest, || {
        "the footer digest is not that of the footer".into()
    })
}

/// A file of a table belongs to a table, and to manifests and delete files that the table has.
fn check_table_file(table: Option<&TableState>, file: &DataFile) -> Result<()> {
    let (table, file) = match (table, &file.table) {
        (None, None) => return Ok(()),
        (Some(table), Some(file)) => (table, file),
        _ => return Err(Error::invalid_argument("only files of tables have a table's part")),
    };
    ensure((file.manifest as usize) < table.manifests.len(), || {
        format!("there is no manifest {} in the table", file.manifest)
    })?;
    let known = |at: &u32| (*at as usize) < table.deletes.len();
    ensure(file.deletes.iter().all(known), || "a delete file is not in the table".into())?;
    ensure(file.deletes.is_sorted_by(|left, right| left < right), || {
        "delete files are not ascending".into()
    })?;
    ensure(file.partition.len() <= MAX_TEXT_BYTES, || "the partition is too long".into())
}

fn check_table(table: &TableState) -> Result<()> {
    check_text("UUID", &table.uuid)?;
    ensure(table.columns.is_sorted_by(|left, right| left.field < right.field), || {
        "columns are not ascending by field".into()
    })?;
    ensure(table.retired.is_sorted_by(|left, right| left.uri < right.uri), || {
        "retired files are not ascending by URI".into()
    })?;
    for delete in &table.deletes {
        check_text("location of a delete file", &delete.location)?;
        check_text("URI of a delete file", &delete.uri)?;
        ensure((delete.manifest as usize) < table.manifests.len(), || {
            format!("there is no manifest {} for a delete file", delete.manifest)
        })?;
        if let DeleteKind::Vector { offset, length } = delete.kind {
            let end = offset.checked_add(length);
            ensure(end.is_some_and(|end| end <= delete.size), || {
                "a delete vector lies beyond the end of its file".into()
            })?;
        }
    }
    Ok(())
}

fn check_identity(file: &DataFile) -> Result<()> {
    let identity = &file.identity;
    check_text("URI", &identity.uri)?;
    let authority = identity
        .uri
        .split_once("://")
        .map_or("", |(_, rest)| rest.split_once('/').map_or(rest, |(authority, _)| authority));
    ensure(!authority.contains('@'), || "the URI holds credentials".into())?;
    match &identity.tag {
        ContentTag::ETag(tag) => {
            check_text("etag", tag)?;
            ensure(!tag.starts_with("W/"), || format!("etag {tag} is weak"))
        }
        ContentTag::Version(version) => check_text("version id", version),
        ContentTag::Immutable => Ok(()),
    }
}

fn check_column(column: &ColumnStatistics, rows: u64) -> Result<()> {
    if let Some(nulls) = column.null_count {
        ensure(nulls <= rows, || format!("{nulls} rows without a value among {rows} rows"))?;
    }
    for bound in [&column.min, &column.max].into_iter().flatten() {
        match bound {
            StatValue::Float(value) => ensure(!value.is_nan(), || "a bound is NaN".into())?,
            StatValue::String(value) => ensure(value.len() <= MAX_BOUND_BYTES, || {
                format!("a bound of {} bytes, the most is {MAX_BOUND_BYTES}", value.len())
            })?,
            StatValue::Bool(_) | StatValue::Int(_) => {}
        }
    }
    let ordered = match (&column.min, &column.max) {
        (Some(min), Some(max)) => min
            .partial_cmp(max)
            .ok_or_else(|| Error::invalid_argument("bounds of two types"))?
            .is_le(),
        _ => true,
    };
    ensure(ordered, || "the lower bound is above the upper bound".into())
}

fn check_text(what: &str, text: &str) -> Result<()> {
    ensure(!text.is_empty(), || format!("the {what} is empty"))?;
    ensure(text.len() <= MAX_TEXT_BYTES, || {
        format!("the {what} has {} bytes, the most is {MAX_TEXT_BYTES}", text.len())
    })
}

fn ensure(holds: bool, rule: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid_argument(rule())) }
}

#[cfg(test)]
mod tests {
    use pandion_types::{CollectionId, ContentTag, FieldId, ManifestVersion};

    use crate::samples::{column, data_file, manifest};
    use crate::{Manifest, StatValue};

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = manifest(vec![data_file(2, vec![4, 6]), data_file(5, vec![1])]);
        manifest.files[0].columns =
            vec![column(100, StatValue::Int(1), StatValue::Int(9)), column(101, f(0.5), f(2.0))];
        assert!(manifest.check().is_ok());
        change(&mut manifest);
        let refused = manifest.check().unwrap_err().to_string();
        assert!(manifest.encode().is_err(), "encoding lets pass: {refused}");
        refused
    }

    fn f(value: f64) -> StatValue {
        StatValue::Float(value)
    }

    #[test]
    fn numbers_of_the_manifest() {
        assert!(refused(|m| m.collection = CollectionId(0)).contains("collection id"));
        assert!(refused(|m| m.version = ManifestVersion(0)).contains("counted from 1"));
        assert!(refused(|m| m.schema_version = -1).contains("schema version"));
        assert!(refused(|m| m.next_file_id = 0).contains("next file id 0"));
        assert!(refused(|m| m.next_file_id = u32::MAX).contains("outside the file ids"));
        assert_eq!(refused(|m| m.next_file_id = 5), "file 5 is not below the next file id 5");
    }

    #[test]
    fn files_are_sorted_and_unique() {
        assert_eq!(refused(|m| m.files.swap(0, 1)), "file 2 stands behind file 5");
        assert!(refused(|m| m.files[1].id = m.files[0].id).contains("stands behind"));
        let uri = refused(|m| m.files[1].identity.uri = m.files[0].identity.uri.clone());
        assert_eq!(uri, "file 5 has the URI of another file");
    }

    #[test]
    fn identity_is_strong_and_without_credentials() {
        let weak = refused(|m| m.files[0].identity.tag = ContentTag::ETag("W/\"1\"".into()));
        assert_eq!(weak, "file 2: etag W/\"1\" is weak");
        assert!(
            refused(|m| m.files[0].identity.tag = ContentTag::Version("".into())).contains("empty")
        );
        assert!(refused(|m| m.files[0].location = String::new()).contains("location is empty"));
        let uri = "s3://key:secret@host/bucket/a.parquet";
        let credentials = refused(|m| m.files[0].identity.uri = uri.into());
        assert_eq!(credentials, "file 2: the URI holds credentials");
        let mut at_in_key = manifest(vec![data_file(1, vec![1])]);
        at_in_key.files[0].identity.uri = "s3://host/bucket/a@b.parquet".into();
        assert!(at_in_key.check().is_ok());
    }

    #[test]
    fn rows_fit_row_ids() {
        let most = u64::from(u32::MAX);
        assert!(manifest(vec![data_file(1, vec![most])]).check().is_ok());
        assert!(refused(|m| m.files[0].row_groups = vec![most, 1]).contains("more rows"));
        assert!(refused(|m| m.files[0].row_groups = vec![u64::MAX, 2]).contains("more rows"));
    }

    #[test]
    fn statistics_make_sense() {
        let first = |change: fn(&mut crate::ColumnStatistics)| {
            refused(|m| change(&mut m.files[0].columns[0]))
        };
        assert!(first(|c| c.null_count = Some(11)).contains("11 rows without a value among 10"));
        assert!(first(|c| c.min = Some(f(f64::NAN))).contains("NaN"));
        assert!(first(|c| c.min = Some(StatValue::Int(10))).contains("above the upper bound"));
        assert!(first(|c| c.min = Some(f(1.0))).contains("bounds of two types"));
        assert!(first(|c| c.max = Some(StatValue::String("x".repeat(70_000)))).contains("70000"));
        assert!(first(|c| c.field = FieldId(101)).contains("field 101 stands behind field 101"));
    }

    #[test]
    fn footer_is_what_its_digest_says() {
        assert!(
            refused(|m| m.files[1].footer_digest[0] ^= 1).contains("file 5: the footer digest")
        );
    }
}
