//! Writes a named Iceberg table to a directory, for tests in other languages and for benchmarks.
//! Prints one line of JSON about what a reader must find in each snapshot.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use iceberg::spec::{FormatVersion, Literal, PrimitiveLiteral};
use pandion_testkit::iceberg::{
    DeleteKind, DeleteLayout, MetadataNames, Place, Row, Sample, SampleOptions, TableOptions,
    TableWriter, VectorForm,
};
use serde_json::{Value, json};

/// Writes a named Iceberg table to a directory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory of the table, made if missing.
    #[arg(long)]
    out: PathBuf,
    /// Which table.
    #[arg(long, value_enum)]
    sample: SampleArgument,
    /// Data files of each append.
    #[arg(long, default_value_t = 4)]
    files: usize,
    /// Rows of each data file.
    #[arg(long, default_value_t = 100)]
    rows_per_file: usize,
    /// Dimension of the vectors.
    #[arg(long, default_value_t = 8)]
    dim: usize,
    /// Iceberg type of the vectors.
    #[arg(long, value_enum, default_value = "list")]
    vectors: VectorArgument,
    /// Share of the rows that are deleted.
    #[arg(long, default_value_t = 0.1)]
    delete_share: f64,
    /// How the sample with many files deletes.
    #[arg(long, value_enum, default_value = "position")]
    deletes: DeleteArgument,
    /// One delete file for each data file, where the sample leaves it open.
    #[arg(long)]
    delete_per_file: bool,
    /// Format version of the sample with many files.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    format_version: u8,
    /// Name metadata files v1, v2 and so on, with a version hint.
    #[arg(long)]
    versioned: bool,
    /// Compress metadata files.
    #[arg(long)]
    gzip: bool,
    /// Print the rows of the newest snapshot of the main branch, too.
    #[arg(long)]
    print_rows: bool,
    /// Seed of everything.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SampleArgument {
    PositionDeletes,
    EqualityDeletes,
    DeletionVectors,
    Evolved,
    Partitioned,
    Lineage,
    Migrated,
    ManyFiles,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VectorArgument {
    List,
    Fixed,
    Binary,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeleteArgument {
    None,
    Position,
    Equality,
}

impl Arguments {
    fn sample(&self) -> Sample {
        match self.sample {
            SampleArgument::PositionDeletes => Sample::PositionDeletes,
            SampleArgument::EqualityDeletes => Sample::EqualityDeletes,
            SampleArgument::DeletionVectors => Sample::DeletionVectors,
            SampleArgument::Evolved => Sample::Evolved,
            SampleArgument::Partitioned => Sample::Partitioned,
            SampleArgument::Lineage => Sample::Lineage,
            SampleArgument::Migrated => Sample::Migrated,
            SampleArgument::ManyFiles => Sample::ManyFiles,
        }
    }

    fn options(&self) -> SampleOptions {
        let names = if self.versioned { MetadataNames::Versioned } else { MetadataNames::Numbered };
        SampleOptions {
            files: self.files,
            rows_per_file: self.rows_per_file,
            dim: self.dim,
            vectors: match self.vectors {
                VectorArgument::List => VectorForm::List,
                VectorArgument::Fixed => VectorForm::Fixed,
                VectorArgument::Binary => VectorForm::Binary,
            },
            delete_share: self.delete_share,
            deletes: match self.deletes {
                DeleteArgument::None => DeleteKind::None,
                DeleteArgument::Position => DeleteKind::Position,
                DeleteArgument::Equality => DeleteKind::Equality,
            },
            layout: if self.delete_per_file { DeleteLayout::PerFile } else { DeleteLayout::Shared },
            table: TableOptions {
                format_version: match self.format_version {
                    1 => FormatVersion::V1,
                    2 => FormatVersion::V2,
                    _ => FormatVersion::V3,
                },
                seed: self.seed,
                metadata_names: names,
                gzip_metadata: self.gzip,
                ..TableOptions::default()
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let place = Place::in_directory(&arguments.out)?;
    let table = arguments.sample().write(place, &arguments.options()).await?;
    let mut written = described(&table)?;
    if arguments.print_rows {
        written["rows"] = table.rows()?.iter().map(row).collect();
    }
    writeln!(std::io::stdout().lock(), "{written}").context("nobody reads the output")
}

fn described(table: &TableWriter) -> anyhow::Result<Value> {
    let snapshots = table.snapshots().into_iter().map(|id| snapshot(table, id));
    Ok(json!({
        "location": table.place().location(),
        "metadata_location": table.metadata_location(),
        "head": table.head(),
        "snapshots": snapshots.collect::<anyhow::Result<Vec<Value>>>()?,
    }))
}

fn snapshot(table: &TableWriter, id: i64) -> anyhow::Result<Value> {
    let info = table.snapshot(id)?;
    let ids = table.column_of(id, "id")?;
    let sum: i64 = ids.iter().filter_map(long).sum();
    // Where rows have an identity of their own, a reader can check it, too.
    let row_ids: Option<i64> = table.lineage_of(id)?.into_iter().map(|row| row.0).sum();
    Ok(json!({
        "id": id,
        "operation": info.operation,
        "sequence_number": info.sequence_number,
        "timestamp_ms": info.timestamp_ms,
        "rows": ids.len(),
        "id_sum": sum,
        "row_id_sum": row_ids,
        "data_files": table.data_files(id)?.len(),
        "delete_files": table.delete_file_entries(id)?.len(),
        "manifests": table.manifest_files(id)?.len(),
    }))
}

fn long(value: &Option<Literal>) -> Option<i64> {
    match value {
        Some(Literal::Primitive(PrimitiveLiteral::Long(long))) => Some(*long),
        _ => None,
    }
}

fn row(row: &Row) -> Value {
    let values = row.values.iter();
    let mut plain: serde_json::Map<String, Value> =
        values.map(|(name, value)| (name.clone(), plain(value.as_ref()))).collect();
    plain.insert("_row_id".to_owned(), json!(row.row_id));
    Value::Object(plain)
}

/// A value as a reader in any language takes it: times as microseconds since 1970, bytes as
/// hexadecimal digits, what is not a number as text.
fn plain(value: Option<&Literal>) -> Value {
    match value {
        Some(Literal::List(elements)) => {
            elements.iter().map(|element| plain(element.as_ref())).collect()
        }
        Some(Literal::Primitive(primitive)) => match primitive {
            PrimitiveLiteral::Boolean(bool) => json!(bool),
            PrimitiveLiteral::Int(int) => json!(int),
            PrimitiveLiteral::Long(long) => json!(long),
            PrimitiveLiteral::Float(float) if float.is_finite() => json!(f64::from(float.0)),
            PrimitiveLiteral::Float(float) => json!(float.to_string()),
            PrimitiveLiteral::Double(double) if double.is_finite() => json!(double.0),
            PrimitiveLiteral::Double(double) => json!(double.to_string()),
            PrimitiveLiteral::String(text) => json!(text),
            PrimitiveLiteral::Binary(bytes) => {
                json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            other => json!(format!("{other:?}")),
        },
        _ => Value::Null,
    }
}
