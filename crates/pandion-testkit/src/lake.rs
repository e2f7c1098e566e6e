//! Makers of Parquet files whose contents are known, and a small lake of them that changes the way
//! real ones do: files come, are written again, go, and lie beside files that are no data.

mod all_types;
mod layout;
mod vectors;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;

pub use self::all_types::{AllTypes, Column, DIM, Value};
pub use self::layout::{Codec, Layout, parquet_bytes, write_parquet};
pub use self::vectors::{ID, META, NAME, NUM, Row, SCORE, TS, VEC, VectorLayout, VectorsSpec};
use crate::convert::to_i64;
use crate::s3::{S3Server, S3Writer};

/// Files that lie about in lakes and hold no rows.
const STRAYS: [&str; 6] = [
    "_SUCCESS",
    ".part-00000.parquet.crc",
    "README.md",
    "_metadata/notes.txt",
    "part-99999.parquet.tmp",
    ".hidden/part-00000.parquet",
];

/// Files of one schema in a directory or below a prefix of a bucket. Ids continue from file to
/// file, so that every row ever appended has an id of its own.
#[derive(Debug)]
pub struct Lake {
    place: Place,
    template: VectorsSpec,
    files: Vec<LakeFile>,
    files_begun: usize,
    next_id: i64,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Bucket { writer: S3Writer, bucket: String, prefix: String },
}

/// One data file of a [`Lake`].
#[derive(Clone, Debug, PartialEq)]
pub struct LakeFile {
    /// Name below the lake's directory or prefix.
    pub name: String,
    /// What it holds.
    pub spec: VectorsSpec,
}

impl Lake {
    /// An empty lake in a directory, which is made if it is missing. Files follow `template` but
    /// for their rows and ids.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn in_directory(directory: &Path, template: VectorsSpec) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let directory = directory
            .canonicalize()
            .with_context(|| format!("cannot resolve the directory {}", directory.display()))?;
        Ok(Self::new(Place::Directory(directory), template))
    }

    /// An empty lake below `prefix` of a bucket of `server`. What it does is done past HTTP and
    /// counts as no request.
    #[must_use]
    pub fn in_bucket(server: &S3Server, bucket: &str, prefix: &str, template: VectorsSpec) -> Self {
        let prefix = prefix.trim_matches('/').to_owned();
        let bucket = bucket.to_owned();
        Self::new(Place::Bucket { writer: server.writer(), bucket, prefix }, template)
    }

    fn new(place: Place, template: VectorsSpec) -> Self {
        let next_id = template.first_id;
        Self { place, template, files: Vec::new(), files_begun: 0, next_id }
    }

    /// `file:///directory/` or `s3://bucket/prefix/`.
    #[must_use]
    pub fn uri(&self) -> String {
        match &self.place {
            Place::Directory(directory) => format!("file://{}/", directory.display()),
            Place::Bucket { bucket, prefix, .. } if prefix.is_empty() => format!("s3://{bucket}/"),
            Place::Bucket { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}/"),
        }
    }

    /// The data files, in the order in which they were first written.
    #[must_use]
    pub fn files(&self) -> &[LakeFile] {
        &self.files
    }

    /// Rows in all data files.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.files.iter().map(|file| file.spec.rows).sum()
    }

    /// Writes one more file of `rows` rows; returns its name.
    ///
    /// # Errors
    /// The template makes no rows, or the file cannot be written.
    pub fn append(&mut self, rows: usize) -> anyhow::Result<String> {
        let name = format!("part-{:05}.parquet", self.files_begun);
        let spec = VectorsSpec { rows, first_id: self.next_id, ..self.template.clone() };
        self.write(&name, &spec)?;
        self.files_begun += 1;
        self.next_id += to_i64(rows);
        self.files.push(LakeFile { name: name.clone(), spec });
        Ok(name)
    }

    /// Writes a file again: same name, ids and number of rows, other vectors.
    ///
    /// # Errors
    /// There is no such file, or it cannot be written.
    pub fn overwrite(&mut self, name: &str) -> anyhow::Result<()> {
        let index = self.index(name)?;
        let old = &self.files[index].spec;
        let spec = VectorsSpec { generation: old.generation + 1, ..old.clone() };
        self.write(name, &spec)?;
        self.files[index].spec = spec;
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// There is no such file, or it cannot be removed.
    pub fn delete(&mut self, name: &str) -> anyhow::Result<()> {
        let index = self.index(name)?;
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
            Place::Bucket { writer, bucket, prefix } => {
                let existed = writer.delete(bucket, &key(prefix, name));
                anyhow::ensure!(existed, "s3://{bucket}/{} does not exist", key(prefix, name));
            }
        }
        self.files.remove(index);
        Ok(())
    }

    /// Writes any bytes under any name, as something that is no data file of this lake.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        let bytes = bytes.into();
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)
                        .with_context(|| format!("cannot make {}", parent.display()))?;
                }
                fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
            }
            Place::Bucket { writer, bucket, prefix } => {
                writer.put(bucket, &key(prefix, name), bytes);
                Ok(())
            }
        }
    }

    /// Puts files beside the data that are none: markers, checksums, notes, a leftover of a
    /// writer, a hidden directory. Returns their names.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add_strays(&self) -> anyhow::Result<&'static [&'static str]> {
        for name in STRAYS {
            self.put(name, Bytes::from_static(b"not a data file"))?;
        }
        Ok(&STRAYS)
    }

    fn index(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.files.iter().position(|file| file.name == name);
        found.with_context(|| format!("the lake has no file {name}"))
    }

    fn write(&self, name: &str, spec: &VectorsSpec) -> anyhow::Result<()> {
        match &self.place {
            Place::Directory(directory) => {
                // Renamed into place, so that a reader never sees half a file and a file that is
                // written again has another inode.
                let (path, draft) = (directory.join(name), directory.join(format!(".{name}.tmp")));
                let file = File::create(&draft)
                    .with_context(|| format!("cannot create {}", draft.display()))?;
                spec.write(BufWriter::new(file))?;
                fs::rename(&draft, &path)
                    .with_context(|| format!("cannot rename to {}", path.display()))
            }
            Place::Bucket { .. } => self.put(name, spec.bytes()?),
        }
    }
}

fn key(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

#[cfg(test)]
mod tests;
