//! Writes a named Iceberg table to a directory, for tests in other languages and for benchmarks.
//! Prints one line of JSON about what a reader must find in each snapshot.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use iceberg::spec::{FormatVersion, Literal, PrimitiveLiteral};
use pandion_testkit::iceberg::{
    DeleteKind, DeleteLayout, MetadataNames, Place, Sample, SampleOptions, TableOptions,
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
    let written = described(&table)?;
    writeln!(std::io::stdout().lock(), "{written}").context("nobody reads the output")
}

fn described(table: &TableWriter) -> anyhow::Result<Value> {
    let snapshots = table.snapshots().into_iter().map(|id| snapshot(table, id));
    Ok(json!({
        "location": table.place().location(),
        "metadata_location": table.metadata_location(),
        "snapshots": snapshots.collect::<anyhow::Result<Vec<Value>>>()?,
    }))
}

fn snapshot(table: &TableWriter, id: i64) -> anyhow::Result<Value> {
    let rows = table.rows_of(id)?;
    let ids = rows.iter().filter_map(|row| match row.values.get("id") {
        Some(Some(Literal::Primitive(PrimitiveLiteral::Long(id)))) => Some(*id),
        _ => None,
    });
    // Where rows have an identity of their own, a reader can check it, too.
    let row_ids: Option<i64> = rows.iter().map(|row| row.row_id).sum();
    Ok(json!({
        "id": id,
        "rows": rows.len(),
        "id_sum": ids.sum::<i64>(),
        "row_id_sum": row_ids,
        "data_files": table.data_files(id)?.len(),
        "delete_files": table.delete_file_entries(id)?.len(),
        "manifests": table.manifest_files(id)?.len(),
    }))
}
