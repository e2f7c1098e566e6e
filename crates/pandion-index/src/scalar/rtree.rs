//! An index of the bounding boxes of shapes. It finds the rows whose boxes meet the box of a
//! predicate's shape, which are more than those that match: whoever asks has to test them.

use std::sync::Arc;

use bytes::Bytes;
use geo::BoundingRect;
use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{RTreeBuilder, RTreeIndex as _, RTreeRef};
use pandion_filter::{Operand, Predicate};
use pandion_types::{DataType, Result};

use super::builder::{META, NULLS, RowSet, SPEC, misplaced, next_row};
use super::format::{Array, Reader, Writer, damaged, reserve};
use super::remap::{Absorb, MovedRows};
use super::section::checked_len;
use super::values::{null_rows, open_meta, open_rows};
use super::{
    Datum, Estimate, IndexedValues, Lookup, ScalarIndex, ScalarIndexBuilder, ScalarIndexKind,
    ScalarIndexSpec,
};
use crate::Bitmap;
use crate::geometry::{Reach, SpatialTest, parse_wkt};

/// The tree in the published layout of flatbush; absent when no row has a box.
const TREE: u32 = 8;
/// The row of each box, in the order in which they were added.
const BOX_ROWS: u32 = 9;
/// Rows with a shape that has no box, because it is empty.
const BOXLESS: u32 = 10;

/// Places are found under their names within this longitude, on either side.
const LONGITUDE_MAX: f64 = 540.0;

/// Whether an index is of this kind.
pub(super) fn is_of_shapes(spec: &ScalarIndexSpec) -> bool {
    matches!(spec.kind, ScalarIndexKind::RTree | ScalarIndexKind::Auto)
        && spec.values == IndexedValues::Field(DataType::Geometry)
}

/// Builds an index of boxes.
#[derive(Debug)]
pub(super) struct RTreeIndexBuilder {
    spec: ScalarIndexSpec,
    rows: u32,
    nulls: RowSet,
    boxes: Vec<[f64; 4]>,
    box_rows: Vec<u32>,
    boxless: Vec<u32>,
}

impl RTreeIndexBuilder {
    pub(super) fn new(spec: ScalarIndexSpec) -> Self {
        Self {
            spec,
            rows: 0,
            nulls: RowSet::default(),
            boxes: Vec::new(),
            box_rows: Vec::new(),
            boxless: Vec::new(),
        }
    }
}

impl ScalarIndexBuilder for RTreeIndexBuilder {
    fn push(&mut self, value: Datum<'_>) -> Result<()> {
        let row = next_row(&mut self.rows)?;
        let text = match &value {
            Datum::Null => return self.nulls.insert(row),
            Datum::Text(text) => text,
            _ => return Err(misplaced(&self.spec, &value)),
        };
        // What is no shape meets no predicate.
        let Some(shape) = parse_wkt(text) else { return Ok(()) };
        if let Some(bounds) = shape.bounding_rect() {
            reserve(&mut self.boxes, 1)?;
            reserve(&mut self.box_rows, 1)?;
            let (min, max) = (bounds.min(), bounds.max());
            self.boxes.push([min.x, min.y, max.x, max.y]);
            self.box_rows.push(row);
        } else {
            reserve(&mut self.boxless, 1)?;
            self.boxless.push(row);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        let mut writer = Writer::new();
        writer.put(SPEC, &self.spec.encode())?;
        writer.put(META, &[u64::from(self.rows), 0])?;
        self.nulls.write(&mut writer, NULLS, self.rows)?;
        if !self.boxes.is_empty() {
            let mut tree = RTreeBuilder::<f64>::new(checked_len(self.boxes.len())?);
            for [min_x, min_y, max_x, max_y] in self.boxes {
                tree.add(min_x, min_y, max_x, max_y);
            }
            writer.put(TREE, &tree.finish::<HilbertSort>().into_inner())?;
        }
        writer.put(BOX_ROWS, &self.box_rows)?;
        writer.put(BOXLESS, &self.boxless)?;
        writer.finish()
    }
}

impl Absorb for RTreeIndexBuilder {
    fn absorb(&mut self, parts: &[MovedRows], rows: u32) -> Result<bool> {
        self.rows = rows;
        let mut moved: Vec<(u32, [f64; 4])> = Vec::new();
        for part in parts {
            let Some(old) = part.index::<RTreeIndex>(&self.spec) else { return Ok(false) };
            part.add(old.nulls.as_ref(), &mut self.nulls)?;
            for row in old.boxless.as_slice().iter().filter_map(|row| part.new_row(*row)) {
                reserve(&mut self.boxless, 1)?;
                self.boxless.push(row);
            }
            reserve(&mut moved, old.box_rows.as_slice().len())?;
            old.visit_boxes(|row, bounds| moved.extend(part.new_row(row).map(|row| (row, bounds))));
        }
        self.boxless.sort_unstable();
        moved.sort_unstable_by_key(|(row, _)| *row);
        reserve(&mut self.boxes, moved.len())?;
        reserve(&mut self.box_rows, moved.len())?;
        for (row, bounds) in moved {
            self.box_rows.push(row);
            self.boxes.push(bounds);
        }
        Ok(true)
    }
}

/// An opened index of boxes.
#[derive(Debug)]
pub(super) struct RTreeIndex {
    spec: ScalarIndexSpec,
    rows: usize,
    bytes: usize,
    tree: Option<Array<u8>>,
    box_rows: Array<u32>,
    boxless: Array<u32>,
    nulls: Option<Arc<Bitmap>>,
}

impl RTreeIndex {
    pub(super) fn open(reader: &Reader, spec: ScalarIndexSpec) -> Result<Self> {
        let (rows, _) = open_meta(reader)?;
        let box_rows = reader.get::<u32>(BOX_ROWS)?;
        let boxless = reader.get::<u32>(BOXLESS)?;
        let mut all = box_rows.as_slice().iter().chain(boxless.as_slice());
        if all.any(|row| *row as usize >= rows) {
            return Err(damaged("a shape lies beyond the last row"));
        }
        let tree = reader.find::<u8>(TREE)?;
        let boxes = match &tree {
            None => 0,
            Some(tree) => checked_boxes(tree.as_slice())?,
        };
        if boxes != box_rows.as_slice().len() {
            return Err(damaged("the boxes are not as many as their rows"));
        }
        let nulls = open_rows(reader, NULLS, rows)?;
        Ok(Self { spec, rows, bytes: reader.len(), tree, box_rows, boxless, nulls })
    }

    fn is_own(&self, data_type: DataType) -> bool {
        self.spec.values == IndexedValues::Field(data_type)
    }

    /// Whether the term is a predicate on shapes that boxes help with.
    fn is_spatial(&self, term: &Predicate) -> bool {
        match term {
            Predicate::Spatial { field, .. } | Predicate::SpatialWithin { field, .. } => {
                self.is_own(field.data_type)
            }
            _ => false,
        }
    }

    fn nulls(&self, term: &Predicate) -> Option<bool> {
        match term {
            Predicate::IsNull(Operand::Field(field)) if self.is_own(field.data_type) => Some(true),
            Predicate::IsNotNull(Operand::Field(field)) if self.is_own(field.data_type) => {
                Some(false)
            }
            _ => None,
        }
    }

    /// Calls `visit` with the number of every box that meets one of the reach's, some of them
    /// several times.
    fn search(&self, reach: &Reach, mut visit: impl FnMut(u32)) {
        let Some(tree) = &self.tree else { return };
        let bytes = tree.as_slice();
        let Ok(tree) = RTreeRef::<f64>::try_new(&bytes) else { return };
        match reach {
            Reach::Boxes(boxes) if is_usual(tree.boxes()) => {
                for bounds in boxes {
                    tree.search_rect(bounds).into_iter().for_each(&mut visit);
                }
            }
            Reach::Everything | Reach::Boxes(_) => (0..tree.num_items()).for_each(visit),
        }
    }

    /// Calls `visit` with the row and the box of every shape that has one.
    fn visit_boxes(&self, mut visit: impl FnMut(u32, [f64; 4])) {
        let Some(tree) = &self.tree else { return };
        let bytes = tree.as_slice();
        let Ok(tree) = RTreeRef::<f64>::try_new(&bytes) else { return };
        let (indices, rows) = (tree.indices(), self.box_rows.as_slice());
        // The boxes of the shapes come first, and those of the nodes above them after.
        for (at, bounds) in tree.boxes().as_chunks::<4>().0.iter().take(rows.len()).enumerate() {
            if let Some(&row) = rows.get(indices.get(at)) {
                visit(row, *bounds);
            }
        }
    }

    fn candidates(&self, reach: &Reach) -> Bitmap {
        let mut rows = Bitmap::empty(self.rows);
        rows.insert_rows(self.boxless.as_slice());
        let box_rows = self.box_rows.as_slice();
        self.search(reach, |item| {
            if let Some(&row) = box_rows.get(item as usize) {
                rows.insert(row as usize);
            }
        });
        rows
    }
}

/// Whether all boxes, of which the last holds the others, lie where distances on the sphere were
/// turned into boxes.
fn is_usual(boxes: &[f64]) -> bool {
    match boxes {
        [.., min_x, min_y, max_x, max_y] => {
            *min_x >= -LONGITUDE_MAX && *max_x <= LONGITUDE_MAX && *min_y >= -90.0 && *max_y <= 90.0
        }
        _ => false,
    }
}

/// Number of boxes of a stored tree, after it was checked that a search stays inside of it.
fn checked_boxes(tree: &[u8]) -> Result<usize> {
    let broken = || damaged("its tree of boxes is broken");
    // The library takes a sensible head for granted.
    let head: &[u8; 8] = tree.first_chunk().ok_or_else(broken)?;
    let node_size = u16::from_le_bytes([head[2], head[3]]);
    let items = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    // Every box takes 32 bytes, so that no length computed from their number overflows.
    if node_size < 2 || items == 0 || items as usize > tree.len() / 32 {
        return Err(broken());
    }
    let tree = RTreeRef::<f64>::try_new(&tree).map_err(|error| broken().caused_by(error))?;
    let (items, node_size) = (items as usize, usize::from(node_size));
    let indices = tree.indices();
    if (0..items).any(|item| indices.get(item) >= items) {
        return Err(broken());
    }
    // Every node says where its children start: they are the next ones of the level below.
    let (mut child, mut level_end) = (0, items);
    for node in items..indices.len() {
        if indices.get(node) != child * 4 {
            return Err(broken());
        }
        child = (child + node_size).min(level_end);
        if child == level_end {
            level_end = node + 1;
        }
    }
    Ok(items)
}

impl ScalarIndex for RTreeIndex {
    fn spec(&self) -> &ScalarIndexSpec {
        &self.spec
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn memory_bytes(&self) -> usize {
        self.bytes + self.nulls.as_ref().map_or(0, |_| self.rows.div_ceil(8))
    }

    fn estimate(&self, term: &Predicate) -> Option<Estimate> {
        if let Some(are_null) = self.nulls(term) {
            let rows = null_rows(self.rows, self.nulls.as_deref(), are_null).count() as u64;
            return Some(Estimate { rows, entries: 0, exact: true });
        }
        if !self.is_spatial(term) {
            return None;
        }
        // The tree keeps no counts, and a search is as cheap as counting would be.
        let test = SpatialTest::new(term).ok()?;
        let mut entries = 0;
        self.search(&test.reach(), |_| entries += 1);
        let rows = entries + self.boxless.as_slice().len() as u64;
        Some(Estimate { rows: rows.min(self.rows as u64), entries, exact: false })
    }

    fn lookup(&self, term: &Predicate) -> Result<Option<Lookup>> {
        if let Some(are_null) = self.nulls(term) {
            let matches = null_rows(self.rows, self.nulls.as_deref(), are_null);
            return Ok(Some(Lookup::Exact { matches, unknown: None }));
        }
        if !self.is_spatial(term) {
            return Ok(None);
        }
        let test = SpatialTest::new(term)?;
        Ok(Some(Lookup::Candidates(self.candidates(&test.reach()))))
    }
}
