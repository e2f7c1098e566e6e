//! Writes a lake of Parquet files with clustered vectors, for benchmarks, or one file with every type
//! and encoding, for tests. Prints one line of JSON about what it wrote.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use pandion_testkit::lake::{
    AllTypes, Codec, Column, DIM, Lake, Layout, Value, VectorLayout, VectorsSpec,
};
use pandion_types::DataType;
use serde_json::json;

/// Writes a lake of Parquet files with clustered vectors.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory, made if missing.
    #[arg(long)]
    out: PathBuf,
    /// Write one file with every type and encoding instead, with so many rows, and print the values
    /// that a reader must find.
    #[arg(long, value_name = "ROWS")]
    all_types: Option<usize>,
    /// Number of files.
    #[arg(long, default_value_t = 1)]
    files: usize,
    /// Rows in each file.
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Dimension of the vectors.
    #[arg(long, default_value_t = 128)]
    dim: usize,
    /// Arrow type of the vectors.
    #[arg(long, value_enum, default_value = "fsl")]
    layout: VectorArgument,
    /// Codec of the pages.
    #[arg(long, value_enum, default_value = "zstd")]
    codec: CodecArgument,
    /// Seed of the vectors.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Number of clusters.
    #[arg(long, default_value_t = 1_000)]
    clusters: usize,
    /// Deviation of the vectors from their cluster's centre.
    #[arg(long, default_value_t = 0.3)]
    spread: f32,
    /// Share of nulls in the scalar columns.
    #[arg(long, default_value_t = 0.0)]
    null_fraction: f64,
    /// Rows in a row group.
    #[arg(long, default_value_t = 50_000)]
    row_group_rows: usize,
    /// Rows in a page at most.
    #[arg(long, default_value_t = 1_000)]
    page_rows: usize,
    /// Leave the page index out.
    #[arg(long)]
    no_page_index: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VectorArgument {
    Fsl,
    List,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecArgument {
    None,
    Snappy,
    Gzip,
    Lz4,
    Zstd,
    Brotli,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let written = match arguments.all_types {
        Some(rows) => write_all_types(&arguments, rows)?,
        None => write_vectors(&arguments)?,
    };
    writeln!(std::io::stdout().lock(), "{written}").context("nobody reads the output")
}

fn layout(arguments: &Arguments) -> Layout {
    Layout {
        codec: match arguments.codec {
            CodecArgument::None => Codec::None,
            CodecArgument::Snappy => Codec::Snappy,
            CodecArgument::Gzip => Codec::Gzip,
            CodecArgument::Lz4 => Codec::Lz4,
            CodecArgument::Zstd => Codec::Zstd,
            CodecArgument::Brotli => Codec::Brotli,
        },
        row_group_rows: arguments.row_group_rows,
        page_rows: arguments.page_rows,
        page_index: !arguments.no_page_index,
        ..Layout::default()
    }
}

fn write_vectors(arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let spec = VectorsSpec {
        dim: arguments.dim,
        seed: arguments.seed,
        clusters: arguments.clusters,
        spread: arguments.spread,
        null_fraction: arguments.null_fraction,
        vector_layout: match arguments.layout {
            VectorArgument::Fsl => VectorLayout::FixedSizeList,
            VectorArgument::List => VectorLayout::List,
        },
        layout: layout(arguments),
        ..VectorsSpec::default()
    };
    let mut lake = Lake::in_directory(&arguments.out, spec)?;
    let mut bytes = 0;
    for _ in 0..arguments.files {
        let name = lake.append(arguments.rows)?;
        bytes += std::fs::metadata(arguments.out.join(name))?.len();
    }
    ensure!(lake.rows() == arguments.files * arguments.rows, "rows were lost");
    Ok(json!({
        "uri": lake.uri(),
        "files": arguments.files,
        "rows": lake.rows(),
        "dim": arguments.dim,
        "bytes": bytes,
        "seed": arguments.seed,
    }))
}

fn write_all_types(arguments: &Arguments, rows: usize) -> anyhow::Result<serde_json::Value> {
    let all = AllTypes::new(rows)?;
    let file = arguments.out.join("all_types.parquet");
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("make {}", arguments.out.display()))?;
    std::fs::write(&file, all.bytes(&layout(arguments))?)
        .with_context(|| format!("write {}", file.display()))?;
    let columns: Vec<_> = all.columns.iter().map(described).collect();
    Ok(json!({ "file": file, "rows": rows, "dim": DIM, "columns": columns }))
}

fn described(column: &Column) -> serde_json::Value {
    json!({
        "name": column.name,
        "type": column.data_type.name(),
        "element_type": column.element_type.map(DataType::name),
        "values": column.values.iter().map(plain).collect::<Vec<_>>(),
    })
}

/// A value as a reader in any language takes it: points in time as microseconds since 1970, vectors
/// as the hexadecimal digits of their bytes.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => json!(bool),
        Value::Int(long) | Value::TimestampMicros(long) => json!(long),
        Value::Float(float) => json!(f64::from(*float)),
        Value::Double(double) => json!(double),
        Value::Text(text) | Value::Wkt(text) => json!(text),
        Value::Json(document) => document.clone(),
        Value::Array(elements) => elements.iter().map(plain).collect(),
        Value::Vector(bytes) => {
            json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }
}
