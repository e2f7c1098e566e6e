//! Changes of schema and partitioning. Field ids are given once and never again.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use iceberg::spec::{
    FormatVersion, ListType, Literal, MapType, NestedField, NestedFieldRef, PartitionSpec,
    PartitionSpecBuilder, PrimitiveType, Schema, StructType, Transform, Type,
    UnboundPartitionField,
};

use super::metadata::Metadata;

/// A column to be added at the end of its struct.
#[derive(Clone, Debug)]
pub struct NewColumn {
    /// Its path, such as `address.city`.
    pub name: String,
    /// Its type. Field ids inside it are given anew.
    pub field_type: Type,
    /// Whether it may not be null; needs an initial default.
    pub required: bool,
    /// What rows have that were written before. Needs format version 3.
    pub initial_default: Option<Literal>,
    /// What rows get that are written without a value. Needs format version 3.
    pub write_default: Option<Literal>,
}

/// One step of schema evolution. Columns inside structs are named by their path, such as
/// `address.city`.
#[derive(Clone, Debug)]
pub enum SchemaChange {
    /// Adds a column.
    Add(Box<NewColumn>),
    /// Drops a column.
    Drop(String),
    /// Gives a column another name.
    Rename {
        /// Its path.
        from: String,
        /// Its new name, without the path.
        to: String,
    },
    /// Widens a type.
    Promote {
        /// The column's path.
        name: String,
        /// A type that the specification lets the column's type be promoted to.
        to: PrimitiveType,
    },
    /// Lets a column be null.
    MakeOptional(String),
    /// Moves a column to the start of its struct.
    MoveFirst(String),
    /// Moves a column to the place after another.
    MoveAfter {
        /// The column's path.
        name: String,
        /// The name of the other column of the same struct, without the path.
        other: String,
    },
}

impl SchemaChange {
    /// Adds an optional column without defaults.
    #[must_use]
    pub fn add(name: &str, field_type: Type) -> Self {
        Self::Add(Box::new(NewColumn {
            name: name.to_owned(),
            field_type,
            required: false,
            initial_default: None,
            write_default: None,
        }))
    }

    /// Adds a column with the same default for old rows and for new ones.
    #[must_use]
    pub fn add_with_default(name: &str, primitive: PrimitiveType, default: Literal) -> Self {
        Self::Add(Box::new(NewColumn {
            name: name.to_owned(),
            field_type: Type::Primitive(primitive),
            required: false,
            initial_default: Some(default.clone()),
            write_default: Some(default),
        }))
    }

    fn name(&self) -> &str {
        match self {
            Self::Add(column) => &column.name,
            Self::Drop(name)
            | Self::Rename { from: name, .. }
            | Self::Promote { name, .. }
            | Self::MakeOptional(name)
            | Self::MoveFirst(name)
            | Self::MoveAfter { name, .. } => name,
        }
    }

    /// Changes the fields of the struct that holds the column.
    fn apply(
        &self,
        fields: &mut Vec<NestedFieldRef>,
        name: &str,
        last_id: &mut i32,
    ) -> anyhow::Result<()> {
        if let Self::Add(column) = self {
            return column.add(fields, name, last_id);
        }
        let find = |name: &str| {
            let found = fields.iter().position(|field| field.name == name);
            found.with_context(|| format!("no column is named {name}"))
        };
        let at = find(name)?;
        let mut field = fields[at].as_ref().clone();
        match self {
            Self::Rename { to, .. } => field.name.clone_from(to),
            Self::MakeOptional(_) => field.required = false,
            Self::Promote { to, .. } => {
                ensure!(promotes(&field.field_type, to), "{to} is not wider");
                field.field_type = Box::new(Type::Primitive(to.clone()));
            }
            _ => {}
        }
        match self {
            Self::Drop(_) => {
                fields.remove(at);
            }
            Self::MoveFirst(_) => fields[..=at].rotate_right(1),
            Self::MoveAfter { other, .. } => {
                find(other)?;
                let moved = fields.remove(at);
                let other = fields.iter().position(|field| &field.name == other);
                fields.insert(other.map_or(0, |other| other + 1), moved);
            }
            _ => fields[at] = Arc::new(field),
        }
        Ok(())
    }
}

impl NewColumn {
    fn add(
        &self,
        fields: &mut Vec<NestedFieldRef>,
        name: &str,
        last_id: &mut i32,
    ) -> anyhow::Result<()> {
        ensure!(fields.iter().all(|field| field.name != name), "column {name} exists");
        let has_value = !self.required || self.initial_default.is_some();
        ensure!(has_value, "{name} needs an initial default");
        *last_id += 1;
        let id = *last_id;
        let mut field = NestedField::new(id, name, fresh(&self.field_type, last_id), self.required);
        field.initial_default.clone_from(&self.initial_default);
        field.write_default.clone_from(&self.write_default);
        fields.push(Arc::new(field));
        Ok(())
    }
}

/// Whether the specification lets values of one type be read as the other.
fn promotes(from: &Type, to: &PrimitiveType) -> bool {
    let Some(from) = from.as_primitive_type() else { return false };
    match (from, to) {
        (PrimitiveType::Int, PrimitiveType::Long)
        | (PrimitiveType::Float, PrimitiveType::Double) => true,
        (
            PrimitiveType::Decimal { precision: narrow, scale },
            PrimitiveType::Decimal { precision: wide, scale: same },
        ) => wide > narrow && scale == same,
        _ => false,
    }
}

/// A type whose fields have ids of their own.
fn fresh(field_type: &Type, last_id: &mut i32) -> Type {
    let mut next = |field: &NestedField| {
        *last_id += 1;
        let mut copy = field.clone();
        copy.id = *last_id;
        copy
    };
    match field_type {
        Type::Primitive(primitive) => Type::Primitive(primitive.clone()),
        Type::List(list) => {
            let mut element = next(&list.element_field);
            element.field_type = Box::new(fresh(&list.element_field.field_type, last_id));
            Type::List(ListType::new(Arc::new(element)))
        }
        Type::Map(map) => {
            let (mut key, mut value) = (next(&map.key_field), next(&map.value_field));
            key.field_type = Box::new(fresh(&map.key_field.field_type, last_id));
            value.field_type = Box::new(fresh(&map.value_field.field_type, last_id));
            Type::Map(MapType::new(Arc::new(key), Arc::new(value)))
        }
        Type::Struct(fields) => {
            let mut copies: Vec<NestedField> =
                fields.fields().iter().map(|field| next(field)).collect();
            for copy in &mut copies {
                *copy.field_type = fresh(&copy.field_type, last_id);
            }
            Type::Struct(StructType::new(copies.into_iter().map(Arc::new).collect()))
        }
    }
}

fn edit(
    fields: &mut Vec<NestedFieldRef>,
    path: &str,
    change: &SchemaChange,
    last_id: &mut i32,
) -> anyhow::Result<()> {
    let Some((head, rest)) = path.split_once('.') else {
        return change.apply(fields, path, last_id);
    };
    let found = fields.iter_mut().find(|field| field.name == head);
    let found = found.with_context(|| format!("no column is named {head}"))?;
    let Type::Struct(nested) = found.field_type.as_ref() else { bail!("{head} is no struct") };
    let mut inner = nested.fields().to_vec();
    edit(&mut inner, rest, change, last_id)?;
    let mut copy = found.as_ref().clone();
    copy.field_type = Box::new(Type::Struct(StructType::new(inner)));
    *found = Arc::new(copy);
    Ok(())
}

impl Metadata {
    /// Makes a schema from the current one and puts it in force.
    ///
    /// # Errors
    /// A change that does not apply to it, or that this format version lacks.
    pub(super) fn evolve_schema(&mut self, changes: &[SchemaChange]) -> anyhow::Result<()> {
        let schema = self.schema()?;
        let mut fields = schema.as_struct().fields().to_vec();
        let mut last_id = self.last_column_id;
        for change in changes {
            if let SchemaChange::Add(column) = change {
                let plain = column.initial_default.is_none() && column.write_default.is_none();
                ensure!(plain || self.format_version >= FormatVersion::V3, "defaults need v3");
            }
            edit(&mut fields, change.name(), change, &mut last_id)?;
        }
        let id = self.schemas.iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
        let evolved = Schema::builder().with_schema_id(id).with_fields(fields).build()?;
        if let Some(names) = &mut self.names {
            for (id, field) in evolved.field_id_to_fields() {
                let known = names.entry(*id).or_default();
                if !known.contains(&field.name) {
                    known.push(field.name.clone());
                }
            }
        }
        self.schemas.push(Arc::new(evolved));
        self.current_schema_id = id;
        self.last_column_id = last_id;
        Ok(())
    }

    /// Puts a partition spec in force: pairs of a column and a transform, with the names that
    /// writers give them. A field that a former spec has keeps its id. Format version 1 keeps the
    /// fields of its former spec, too, with values that are always null.
    ///
    /// # Errors
    /// A column that the table lacks, or that the transform does not take.
    pub(super) fn evolve_partition(&mut self, wanted: &[(&str, Transform)]) -> anyhow::Result<()> {
        let schema = self.schema()?;
        let mut fields = Vec::new();
        for (column, transform) in wanted {
            let source_id = schema.field_id_by_name(column);
            let source_id = source_id.with_context(|| format!("no column is named {column}"))?;
            fields.push(self.partition_field(source_id, column, *transform));
        }
        if self.format_version == FormatVersion::V1 && !self.specs.is_empty() {
            fields = self.with_void_fields(fields)?;
        }
        let id = self.specs.iter().map(|spec| spec.spec_id()).max().map_or(0, |id| id + 1);
        let spec = PartitionSpecBuilder::new(schema)
            .with_spec_id(id)
            .with_last_assigned_field_id(self.last_partition_id)
            .add_unbound_fields(fields)?
            .build()?;
        self.last_partition_id = spec
            .highest_field_id()
            .map_or(self.last_partition_id, |highest| highest.max(self.last_partition_id));
        let same = self.specs.iter().find(|known| known.is_compatible_with(&spec));
        self.default_spec_id = same.map_or(id, |known| known.spec_id());
        if same.is_none() {
            self.specs.push(Arc::new(spec));
        }
        Ok(())
    }

    fn partition_field(
        &self,
        source_id: i32,
        column: &str,
        transform: Transform,
    ) -> UnboundPartitionField {
        let mut known = self.specs.iter().flat_map(|spec| spec.fields());
        let known =
            known.find(|field| field.source_id == source_id && field.transform == transform);
        let column = column.replace('.', "_");
        let name = match transform {
            Transform::Identity => column,
            Transform::Bucket(buckets) => format!("{column}_bucket_{buckets}"),
            Transform::Truncate(width) => format!("{column}_trunc_{width}"),
            other => format!("{column}_{other}"),
        };
        UnboundPartitionField::builder()
            .source_id(source_id)
            .field_id_opt(known.map(|field| field.field_id))
            .name(known.map_or(name, |field| field.name.clone()))
            .transform(transform)
            .build()
    }

    fn with_void_fields(
        &self,
        mut wanted: Vec<UnboundPartitionField>,
    ) -> anyhow::Result<Vec<UnboundPartitionField>> {
        let former: Arc<PartitionSpec> = self.spec_by_id(self.default_spec_id)?;
        let mut fields = Vec::new();
        for field in former.fields() {
            let kept = wanted.iter().position(|candidate| {
                candidate.source_id == field.source_id && candidate.transform == field.transform
            });
            let mut field = field.clone().into_unbound();
            match kept {
                Some(at) => {
                    wanted.remove(at);
                }
                None => {
                    // Only identities may have the name of a column.
                    if field.transform == Transform::Identity {
                        field.name = format!("{}_former", field.name);
                    }
                    field.transform = Transform::Void;
                }
            }
            fields.push(field);
        }
        fields.extend(wanted);
        Ok(fields)
    }
}
