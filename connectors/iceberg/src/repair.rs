//! Manifests that the Iceberg library does not read although they are as the specification says.
//!
//! A manifest holds the table's schema, and the partition spec of its files by column id. The library
//! binds the one to the other strictly: it refuses a spec whose source column has been dropped since,
//! and a partition that is called as another column is today. Readers need neither names nor
//! dropped columns, so that such a manifest is given a schema in which both are as the library wants
//! them. Nothing but that entry of the manifest's header is changed.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;
use serde_json::{Value, json};

use crate::avro;

/// The same manifest with a schema that its partition spec fits; `None` when there is none.
pub(crate) fn manifest(bytes: &[u8], table: &TableMetadata) -> Option<Vec<u8>> {
    let repaired = avro::with_header(bytes, |header| {
        let read = |key: &str| -> Result<Value, String> {
            let text = header.get(key).ok_or("an entry is missing")?;
            serde_json::from_slice(text).map_err(|error| error.to_string())
        };
        let (mut schema, spec) = (read("schema")?, read("partition-spec")?);
        add_columns(&mut schema, &spec, table).ok_or("a column is not known")?;
        header.insert("schema".to_owned(), schema.to_string().into_bytes());
        Ok(())
    });
    repaired.ok()
}

/// Adds the source columns that a schema lacks, and calls all columns by their ids.
fn add_columns(schema: &mut Value, spec: &Value, table: &TableMetadata) -> Option<()> {
    let mut ids = HashSet::new();
    collect_ids(schema, &mut ids);
    let fields = schema.get_mut("fields")?.as_array_mut()?;
    for partition in spec.as_array()? {
        let source = partition.get("source-id")?.as_i64()?;
        if ids.insert(source) {
            let source = i32::try_from(source).ok()?;
            let known = table.schemas_iter().find_map(|schema| schema.field_by_id(source))?;
            let mut field = serde_json::to_value(known.as_ref()).ok()?;
            field["required"] = json!(false);
            fields.push(field);
        }
    }
    for field in fields {
        let name = format!("column {}", field.get("id")?);
        field["name"] = Value::String(name);
    }
    Some(())
}

/// The ids of all columns, also of nested ones.
fn collect_ids(schema: &Value, ids: &mut HashSet<i64>) {
    match schema {
        Value::Object(object) => {
            ids.extend(object.get("id").and_then(Value::as_i64));
            object.values().for_each(|value| collect_ids(value, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_ids(value, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Manifest;
    use pandion_testkit::iceberg::{Place, Sample, SampleOptions};

    use super::*;

    #[tokio::test]
    async fn a_manifest_outlives_the_columns_that_it_is_partitioned_by() {
        let options = SampleOptions::default();
        let place = Place::in_memory().unwrap();
        let table = Sample::Partitioned.write(place, &options).await.unwrap();
        let metadata = table.place().get(table.metadata_location()).await.unwrap();
        let metadata: TableMetadata = serde_json::from_slice(&metadata).unwrap();
        let first = table.snapshots()[0];
        let uri = &table.manifest_files(first).unwrap()[0];
        let whole = table.place().get(uri).await.unwrap();
        let intact = Manifest::parse_avro(&whole).unwrap();
        let dropped = |renames: bool| {
            avro::with_header(&whole, |header| {
                let mut schema: Value = serde_json::from_slice(&header["schema"]).unwrap();
                let fields = schema["fields"].as_array_mut().unwrap();
                fields.retain(|field| field["name"] != "kind");
                if renames {
                    fields[1]["name"] = json!("kind");
                }
                header.insert("schema".to_owned(), schema.to_string().into_bytes());
                Ok(())
            })
            .unwrap()
        };
        for renames in [false, true] {
            let dropped = dropped(renames);
            assert!(Manifest::parse_avro(&dropped).is_err());
            assert_eq!(avro::check(&dropped), Ok(()));
            let repaired = manifest(&dropped, &metadata).unwrap();
            let read = Manifest::parse_avro(&repaired).unwrap();
            let partitions = |manifest: &Manifest| {
                let entries = manifest.entries().iter();
                entries.map(|entry| entry.data_file().partition().clone()).collect::<Vec<_>>()
            };
            assert_eq!(partitions(&read), partitions(&intact));
            assert_eq!(read.entries().len(), intact.entries().len());
        }
        assert_eq!(manifest(&whole[..40], &metadata), None);
    }
}
