//! Thrift's compact protocol, as far as it takes to look at metadata before a decoder does.
//!
//! Decoders of thrift tend to reserve memory for as many list elements as a header claims, and a
//! failed reservation ends the process. [`check`] therefore walks the bytes once against the
//! [`Shape`] that they are going to be decoded as: every known field has the type it should have,
//! every list really has its elements, and nothing nests deeper than it may. It allocates nothing
//! and builds no values; that is left to the decoder.

/// Nesting that no metadata of Parquet comes near.
const DEPTH_MAX: usize = 32;
/// Structs in one list that no metadata of Parquet comes near.
const STRUCTS_MAX: usize = 1 << 20;

const BOOL_TRUE: u8 = 1;
const BOOL_FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Where, counted from the start of the bytes looked at.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) what: &'static str,
}

/// What a value should look like.
#[derive(Debug)]
pub(crate) enum Shape {
    Bool,
    Byte,
    /// An integer of 16, 32 or 64 bits: they are written alike.
    Int,
    /// An integer that is handed to the visitor.
    Visited(Mark),
    Double,
    Binary,
    List(&'static Shape),
    /// Fields by their numbers; fields with other numbers may have any shape.
    Struct(&'static [(i16, Shape)]),
    /// As `Struct`; the visitor is told that one begins.
    Begun(Mark, &'static [(i16, Shape)]),
}

/// What the visitor of [`check`] is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A node of the schema begins.
    SchemaNode,
    /// The number of children of the schema node that began last.
    Children,
    /// A column is encrypted.
    Encrypted,
}

/// Walks over one struct with these fields at the start of `bytes`.
pub(crate) fn check(
    bytes: &[u8],
    fields: &'static [(i16, Shape)],
    visit: &mut dyn FnMut(Mark, i64),
) -> Result<(), Malformed> {
    Cursor::new(bytes).walk_struct(fields, 0, visit)
}

/// A position in bytes that are read front to back.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn error(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.error("ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    /// Steps over `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) -> Result<(), Malformed> {
        if count > self.remaining() {
            return Err(self.error("ends too early"));
        }
        self.at += count;
        Ok(())
    }

    /// An unsigned number, seven bits to a byte, least significant first.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte holds one bit; what does not fit is a malformed number.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("holds a number of more than 64 bits"))
    }

    /// A signed number.
    pub(crate) fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// A signed number of 32 bits.
    pub(crate) fn int32(&mut self) -> Result<i32, Malformed> {
        let value = self.zigzag()?;
        i32::try_from(value).map_err(|_out_of_range| self.error("holds a number of over 32 bits"))
    }

    /// The number and type of the next field, or `None` at the end of the struct.
    pub(crate) fn field(&mut self, last: &mut i16) -> Result<Option<(i16, u8)>, Malformed> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        let delta = i16::from(header >> 4);
        let id = if delta == 0 {
            let id = self.zigzag()?;
            i16::try_from(id).map_err(|_out_of_range| self.error("has a field number too large"))?
        } else {
            last.checked_add(delta).ok_or_else(|| self.error("has a field number too large"))?
        };
        *last = id;
        Ok(Some((id, kind)))
    }

    /// Steps over a value of any type.
    pub(crate) fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        match kind {
            BOOL_TRUE | BOOL_FALSE => Ok(()),
            BYTE => self.advance(1),
            I16..=I64 => self.varint().map(|_value| ()),
            DOUBLE => self.advance(8),
            BINARY => self.binary(),
            LIST => {
                let (element, count) = self.list(depth)?;
                for _ in 0..count {
                    match element {
                        BOOL_TRUE | BOOL_FALSE => self.advance(1)?,
                        _ => self.skip(element, depth + 1)?,
                    }
                }
                Ok(())
            }
            STRUCT => self.walk_struct(&[], depth + 1, &mut |_mark, _value| ()),
            _ => Err(self.error("holds a value of an unknown type")),
        }
    }

    fn binary(&mut self) -> Result<(), Malformed> {
        let length = self.varint()?;
        let length =
            usize::try_from(length).map_err(|_out_of_range| self.error("ends too early"))?;
        self.advance(length)
    }

    /// The type and number of the elements of a list.
    fn list(&mut self, depth: usize) -> Result<(u8, usize), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.error("nests too deep"));
        }
        let header = self.byte()?;
        let element = header & 0x0f;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // Every element takes a byte at least.
        if count > self.remaining() || (element == STRUCT && count > STRUCTS_MAX) {
            return Err(self.error("claims more list elements than it can hold"));
        }
        Ok((element, count))
    }

    fn walk_struct(
        &mut self,
        fields: &'static [(i16, Shape)],
        depth: usize,
        visit: &mut dyn FnMut(Mark, i64),
    ) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.error("nests too deep"));
        }
        let mut last = 0;
        while let Some((id, kind)) = self.field(&mut last)? {
            match fields.iter().find(|(known, _)| *known == id) {
                Some((_, shape)) => self.walk(shape, kind, depth, visit)?,
                None => self.skip(kind, depth)?,
            }
        }
        Ok(())
    }

    fn walk(
        &mut self,
        shape: &'static Shape,
        kind: u8,
        depth: usize,
        visit: &mut dyn FnMut(Mark, i64),
    ) -> Result<(), Malformed> {
        match (shape, kind) {
            (Shape::Bool, BOOL_TRUE | BOOL_FALSE) => Ok(()),
            (Shape::Byte, BYTE) => self.advance(1),
            (Shape::Int, I16..=I64) => self.varint().map(|_value| ()),
            (Shape::Visited(mark), I16..=I64) => {
                let value = self.zigzag()?;
                visit(*mark, value);
                Ok(())
            }
            (Shape::Double, DOUBLE) => self.advance(8),
            (Shape::Binary, BINARY) => self.binary(),
            (Shape::List(inner), LIST) => self.walk_list(inner, depth + 1, visit),
            (Shape::Struct(fields), STRUCT) => self.walk_struct(fields, depth + 1, visit),
            (Shape::Begun(mark, fields), STRUCT) => {
                visit(*mark, 0);
                self.walk_struct(fields, depth + 1, visit)
            }
            _ => Err(self.error("has a field of a wrong type")),
        }
    }

    fn walk_list(
        &mut self,
        inner: &'static Shape,
        depth: usize,
        visit: &mut dyn FnMut(Mark, i64),
    ) -> Result<(), Malformed> {
        let (element, count) = self.list(depth)?;
        for _ in 0..count {
            match (inner, element) {
                // In a list, unlike in a field, a boolean takes a byte.
                (Shape::Bool, BOOL_TRUE | BOOL_FALSE) => self.advance(1)?,
                _ => self.walk(inner, element, depth, visit)?,
            }
        }
        Ok(())
    }
}

const NOTHING: &[(i16, Shape)] = &[];
const EMPTY: Shape = Shape::Struct(NOTHING);

const TIME_FIELDS: &[(i16, Shape)] =
    &[(1, Shape::Bool), (2, Shape::Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))];

const LOGICAL_TYPE: &[(i16, Shape)] = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Shape::Struct(&[(1, Shape::Int), (2, Shape::Int)])),
    (6, EMPTY),
    (7, Shape::Struct(TIME_FIELDS)),
    (8, Shape::Struct(TIME_FIELDS)),
    (10, Shape::Struct(&[(1, Shape::Byte), (2, Shape::Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Shape::Struct(&[(1, Shape::Byte)])),
    (17, Shape::Struct(&[(1, Shape::Binary)])),
    (18, Shape::Struct(&[(1, Shape::Binary), (2, Shape::Int)])),
];

const SCHEMA_ELEMENT: &[(i16, Shape)] = &[
    (1, Shape::Int),
    (2, Shape::Int),
    (3, Shape::Int),
    (4, Shape::Binary),
    (5, Shape::Visited(Mark::Children)),
    (6, Shape::Int),
    (7, Shape::Int),
    (8, Shape::Int),
    (9, Shape::Int),
    (10, Shape::Struct(LOGICAL_TYPE)),
];

const KEY_VALUE: Shape = Shape::Struct(&[(1, Shape::Binary), (2, Shape::Binary)]);

const STATISTICS: &[(i16, Shape)] = &[
    (1, Shape::Binary),
    (2, Shape::Binary),
    (3, Shape::Int),
    (4, Shape::Int),
    (5, Shape::Binary),
    (6, Shape::Binary),
    (7, Shape::Bool),
    (8, Shape::Bool),
];

const BOUNDING_BOX: &[(i16, Shape)] = &[
    (1, Shape::Double),
    (2, Shape::Double),
    (3, Shape::Double),
    (4, Shape::Double),
    (5, Shape::Double),
    (6, Shape::Double),
    (7, Shape::Double),
    (8, Shape::Double),
];

const COLUMN_META_DATA: &[(i16, Shape)] = &[
    (1, Shape::Int),
    (2, Shape::List(&Shape::Int)),
    (3, Shape::List(&Shape::Binary)),
    (4, Shape::Int),
    (5, Shape::Int),
    (6, Shape::Int),
    (7, Shape::Int),
    (8, Shape::List(&KEY_VALUE)),
    (9, Shape::Int),
    (10, Shape::Int),
    (11, Shape::Int),
    (12, Shape::Struct(STATISTICS)),
    (13, Shape::List(&Shape::Struct(&[(1, Shape::Int), (2, Shape::Int), (3, Shape::Int)]))),
    (14, Shape::Int),
    (15, Shape::Int),
    (
        16,
        Shape::Struct(&[
            (1, Shape::Int),
            (2, Shape::List(&Shape::Int)),
            (3, Shape::List(&Shape::Int)),
        ]),
    ),
    (17, Shape::Struct(&[(1, Shape::Struct(BOUNDING_BOX)), (2, Shape::List(&Shape::Int))])),
];

const COLUMN_CHUNK: &[(i16, Shape)] = &[
    (1, Shape::Binary),
    (2, Shape::Int),
    (3, Shape::Struct(COLUMN_META_DATA)),
    (4, Shape::Int),
    (5, Shape::Int),
    (6, Shape::Int),
    (7, Shape::Int),
    (8, Shape::Begun(Mark::Encrypted, NOTHING)),
    (9, Shape::Binary),
];

const ROW_GROUP: &[(i16, Shape)] = &[
    (1, Shape::List(&Shape::Struct(COLUMN_CHUNK))),
    (2, Shape::Int),
    (3, Shape::Int),
    (4, Shape::List(&Shape::Struct(&[(1, Shape::Int), (2, Shape::Bool), (3, Shape::Bool)]))),
    (5, Shape::Int),
    (6, Shape::Int),
    (7, Shape::Int),
];

/// `FileMetaData` of parquet-format's `parquet.thrift`.
pub(crate) const FILE_META_DATA: &[(i16, Shape)] = &[
    (1, Shape::Int),
    (2, Shape::List(&Shape::Begun(Mark::SchemaNode, SCHEMA_ELEMENT))),
    (3, Shape::Int),
    (4, Shape::List(&Shape::Struct(ROW_GROUP))),
    (5, Shape::List(&KEY_VALUE)),
    (6, Shape::Binary),
    (7, Shape::List(&Shape::Struct(&[(1, EMPTY)]))),
];

/// `OffsetIndex` of parquet-format's `parquet.thrift`.
pub(crate) const OFFSET_INDEX: &[(i16, Shape)] = &[
    (1, Shape::List(&Shape::Struct(&[(1, Shape::Int), (2, Shape::Int), (3, Shape::Int)]))),
    (2, Shape::List(&Shape::Int)),
];

/// `ColumnIndex` of parquet-format's `parquet.thrift`.
pub(crate) const COLUMN_INDEX: &[(i16, Shape)] = &[
    (1, Shape::List(&Shape::Bool)),
    (2, Shape::List(&Shape::Binary)),
    (3, Shape::List(&Shape::Binary)),
    (4, Shape::Int),
    (5, Shape::List(&Shape::Int)),
    (6, Shape::List(&Shape::Int)),
    (7, Shape::List(&Shape::Int)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn no_visit(_mark: Mark, _value: i64) {}

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let mut cursor = Cursor::new(&[0x01, 0x02, 0xac, 0x02, 0xff]);
        assert_eq!(cursor.zigzag().unwrap(), -1);
        assert_eq!(cursor.zigzag().unwrap(), 1);
        assert_eq!(cursor.varint().unwrap(), 300);
        assert_eq!(cursor.varint(), Err(Malformed { at: 5, what: "ends too early" }));
        assert!(Cursor::new(&[0xff; 11]).varint().is_err());
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(Cursor::new(&largest).varint().unwrap(), u64::MAX);
    }

    #[test]
    fn a_list_that_claims_more_than_it_holds_is_refused() {
        // Field 4, a list of 2^31 - 1 structs.
        let bytes = [0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
        let error = check(&bytes, FILE_META_DATA, &mut no_visit).unwrap_err();
        assert_eq!(error.what, "claims more list elements than it can hold");
    }

    #[test]
    fn a_known_field_of_another_type_is_refused_and_an_unknown_one_is_not() {
        let number_for_list = [0x45, 0x02, 0x00];
        let error = check(&number_for_list, FILE_META_DATA, &mut no_visit).unwrap_err();
        assert_eq!(error.what, "has a field of a wrong type");
        // Field 14, a struct with a string in it.
        let unknown = [0xec, 0x18, 0x01, b'x', 0x00, 0x00];
        check(&unknown, FILE_META_DATA, &mut no_visit).unwrap();
    }

    #[test]
    fn nesting_has_an_end() {
        // Unknown structs inside each other.
        let bytes = vec![0xec; 1000];
        let error = check(&bytes, FILE_META_DATA, &mut no_visit).unwrap_err();
        assert_eq!(error.what, "nests too deep");
    }
}
