//! Arrays that stand in a file as serialized messages.

use super::*;

fn push_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    message.push(u8::try_from(number).unwrap());
}

/// A length-delimited field.
fn bytes_field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    push_varint(&mut field, number << 3 | 2);
    push_varint(&mut field, u64::try_from(bytes.len()).unwrap());
    field.extend_from_slice(bytes);
    field
}

/// The bytes of every element, and the wire type that one has outside of packed data.
struct Elements {
    wire_type: u64,
    encoded: Vec<Vec<u8>>,
}

fn varints(numbers: &[i64]) -> Elements {
    let encode = |number: &i64| {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, number.cast_unsigned());
        bytes
    };
    Elements { wire_type: 0, encoded: numbers.iter().map(encode).collect() }
}

impl Elements {
    fn packed(&self, member: u64) -> Vec<u8> {
        bytes_field(member, &bytes_field(1, &self.encoded.concat()))
    }

    fn unpacked(&self, member: u64) -> Vec<u8> {
        let mut data = Vec::new();
        for element in &self.encoded {
            push_varint(&mut data, 1 << 3 | self.wire_type);
            data.extend_from_slice(element);
        }
        bytes_field(member, &data)
    }

    /// Data in which packed and single elements take turns, with fields that nobody knows.
    fn mixed(&self, member: u64) -> Vec<u8> {
        let mut data = vec![0x7b, 0x08, 5, 0x7c];
        for (number, element) in self.encoded.iter().enumerate() {
            if number % 2 == 0 {
                data.extend(bytes_field(1, element));
            } else {
                push_varint(&mut data, 1 << 3 | self.wire_type);
                data.extend_from_slice(element);
            }
            data.extend(bytes_field(2, b"unknown"));
        }
        let mut message = vec![0xa0, 0x06, 7];
        message.extend(bytes_field(member, &data));
        message.extend([0xfd, 0x06, 1, 2, 3, 4]);
        message
    }
}

fn strings(texts: &[&str]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = texts.iter().map(|text| bytes_field(1, text.as_bytes())).collect();
    bytes_field(6, &data.concat())
}

/// The elements of every row.
fn converted(field: &FieldSchema, rows: &[Option<&[u8]>]) -> Vec<Option<ArrayRef>> {
    let lists = convert(field, BinaryArray::from(rows.to_vec())).unwrap();
    let lists = lists.as_list::<i32>();
    assert_eq!(lists.values().null_count(), 0);
    lists.iter().collect()
}

fn fault(element: DataType, message: &[u8]) -> String {
    let field = array_of(element);
    let error = convert(&field, BinaryArray::from(vec![None, Some(message)])).unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::Corrupt, Subject::Source));
    error.message().to_owned()
}

#[test]
fn numbers_of_every_type_are_read_packed_and_unpacked() {
    let floats = [0.0_f32, -1.5, f32::MAX, f32::NEG_INFINITY];
    let fixed32: Vec<_> = floats.iter().map(|float| float.to_le_bytes().to_vec()).collect();
    let doubles = [0.0_f64, -1.5, f64::MIN_POSITIVE];
    let fixed64: Vec<_> = doubles.iter().map(|double| double.to_le_bytes().to_vec()).collect();
    let cases: [(DataType, u64, Elements, ArrayRef); 7] = [
        (
            DataType::Bool,
            1,
            varints(&[1, 0, 1]),
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ),
        (
            DataType::Int8,
            2,
            varints(&[-128, 0, 127]),
            Arc::new(Int8Array::from(vec![-128, 0, 127])),
        ),
        (
            DataType::Int16,
            2,
            varints(&[-32768, 32767]),
            Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])),
        ),
        (
            DataType::Int32,
            2,
            varints(&[i32::MIN.into(), -1, i32::MAX.into()]),
            Arc::new(Int32Array::from(vec![i32::MIN, -1, i32::MAX])),
        ),
        (
            DataType::Int64,
            3,
            varints(&[i64::MIN, 300, i64::MAX]),
            Arc::new(Int64Array::from(vec![i64::MIN, 300, i64::MAX])),
        ),
        (
            DataType::Float,
            4,
            Elements { wire_type: 5, encoded: fixed32 },
            Arc::new(Float32Array::from(floats.to_vec())),
        ),
        (
            DataType::Double,
            5,
            Elements { wire_type: 1, encoded: fixed64 },
            Arc::new(Float64Array::from(doubles.to_vec())),
        ),
    ];
    for (element, member, elements, expected) in cases {
        let field = array_of(element);
        let (packed, unpacked) = (elements.packed(member), elements.unpacked(member));
        let mixed = elements.mixed(member);
        let rows = converted(&field, &[Some(&packed), None, Some(&unpacked), Some(&mixed)]);
        let expected = Some(expected);
        assert_eq!(rows, [expected.clone(), None, expected.clone(), expected], "{element}");
    }
}

#[test]
fn binaries_of_every_kind_hold_arrays() {
    // As protobuf's own encoder writes them.
    let longs: &[u8] = &[0x1a, 5, 0x0a, 3, 1, 0xac, 2];
    let values = vec![Some(longs), None, Some(&[][..]), Some(&[0x1a, 0])];
    let lists = vec![Some(vec![Some(1), Some(300)]), None, Some(vec![]), Some(vec![])];
    let expected = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(lists);
    let keys = Int32Array::from(vec![Some(1), None, Some(0), Some(2)]);
    let dictionary = BinaryArray::from(vec![&[][..], longs, &[0x1a, 0]]);
    let arrays: [ArrayRef; 4] = [
        Arc::new(BinaryArray::from(values.clone())),
        Arc::new(LargeBinaryArray::from(values.clone())),
        Arc::new(BinaryViewArray::from_iter(values)),
        Arc::new(DictionaryArray::new(keys, Arc::new(dictionary))),
    ];
    let field = array_of(DataType::Int64);
    for array in arrays {
        check(&field, array.data_type()).unwrap();
        let converted = to_canonical(&field, &array).unwrap();
        assert_eq!(*converted.data_type(), canonical_type(&field).unwrap());
        assert_eq!(converted.as_list::<i32>(), &expected, "{}", array.data_type());
        let sliced = to_canonical(&field, &array.slice(2, 2)).unwrap();
        assert_eq!(sliced.as_list::<i32>(), &expected.slice(2, 2));
    }
    let nothing = BinaryArray::from(Vec::<Option<&[u8]>>::new());
    assert!(convert(&field, nothing).unwrap().is_empty());
}

#[test]
fn texts_are_read() {
    let message = strings(&["", "aü", "☃"]);
    let rows = converted(&array_of(DataType::VarChar), &[Some(&message), Some(&strings(&[]))]);
    let texts = |texts: Vec<&str>| Some(Arc::new(StringArray::from(texts)) as ArrayRef);
    assert_eq!(rows, [texts(vec!["", "aü", "☃"]), texts(vec![])]);
    let broken = bytes_field(6, &bytes_field(1, &[0xff]));
    assert_eq!(
        fault(DataType::VarChar, &broken),
        "field 'f' (external_field 'c') at row 1 is not a serialized ScalarField: a string is not \
         UTF-8"
    );
}

#[test]
fn the_last_member_counts_and_repeated_ones_are_joined() {
    let [one, two] = [varints(&[1]).packed(3), varints(&[2]).packed(3)];
    let other = strings(&["a"]);
    let field = array_of(DataType::Int64);
    let joined = [one.clone(), two.clone()].concat();
    let overwritten = [one.clone(), other.clone(), two.clone()].concat();
    let rows = converted(&field, &[Some(&joined), Some(&overwritten)]);
    let longs = |longs: Vec<i64>| Some(Arc::new(Int64Array::from(longs)) as ArrayRef);
    assert_eq!(rows, [longs(vec![1, 2]), longs(vec![2])]);
    let message = fault(DataType::Int64, &[one, two, other].concat());
    assert!(message.ends_with("expected INT64, actual VARCHAR"), "{message}");
}

#[test]
fn elements_of_another_type_are_refused() {
    assert_eq!(
        fault(DataType::VarChar, &varints(&[1]).packed(3)),
        "array element type mismatch for field 'f' (external_field 'c') at row 1, expected \
         VARCHAR, actual INT64"
    );
    let members = [
        (DataType::Bool, 1, "BOOL"),
        (DataType::Int32, 2, "INT32"),
        (DataType::Int64, 3, "INT64"),
        (DataType::Float, 4, "FLOAT"),
        (DataType::Double, 5, "DOUBLE"),
        (DataType::VarChar, 6, "VARCHAR"),
    ];
    for (element, member, expected) in members {
        for (_, other, actual) in members.iter().filter(|(_, other, _)| *other != member) {
            let message = fault(element, &bytes_field(*other, &[]));
            assert!(message.ends_with(&format!("expected {expected}, actual {actual}")));
        }
        let message = fault(element, &bytes_field(8, &bytes_field(member, &[])));
        assert!(message.ends_with(&format!("expected {expected}, actual ARRAY")), "{message}");
    }
}

#[test]
fn integers_outside_the_range_are_refused() {
    for (element, numbers) in [
        (DataType::Int8, [-129, 128]),
        (DataType::Int16, [-32769, 32768]),
        (DataType::Int32, [i64::from(i32::MIN) - 1, i64::from(i32::MAX) + 1]),
    ] {
        for number in numbers {
            let name = element.name().to_uppercase();
            assert_eq!(
                fault(element, &varints(&[0, number]).packed(2)),
                format!(
                    "field 'f' (external_field 'c') at row 1 has an array element outside the \
                     range of {name}"
                )
            );
        }
    }
}

#[test]
fn malformed_messages_name_their_row() {
    let longs = varints(&[1, 300]).packed(3);
    let huge_length = [0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let wire_type = "its data has the wire type of something else";
    let cut_off = "a value runs past the end";
    for (element, message, expected) in [
        (DataType::Int64, &longs[..longs.len() - 1], cut_off),
        (DataType::Int64, &huge_length, cut_off),
        (DataType::Float, &[0x22, 5, 0x0a, 3, 1, 2, 3], cut_off),
        (DataType::Int64, &[0x18, 1], wire_type),
        (DataType::Int64, &[0x1a, 5, 0x0d, 1, 2, 3, 4], wire_type),
        (DataType::Double, &[0x2a, 2, 0x08, 1], wire_type),
        (DataType::VarChar, &[0x32, 2, 0x08, 1], wire_type),
        (DataType::Int64, &[0x1a, 3, 0x0a, 1, 0x80], cut_off),
        (DataType::Bool, b"[true]", "a group ends that has not begun"),
    ] {
        let what = "field 'f' (external_field 'c') at row 1 is not a serialized ScalarField";
        assert_eq!(fault(element, message), format!("{what}: {expected}"), "{message:?}");
    }
}

/// Every message is either read or refused as corrupt, whatever its bytes.
fn survives(message: &[u8]) {
    for element in [
        DataType::Bool,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float,
        DataType::Double,
        DataType::VarChar,
    ] {
        let source = BinaryArray::from(vec![message]);
        match convert(&array_of(element), source) {
            // An element takes at least a byte.
            Ok(lists) => {
                assert!(lists.as_list::<i32>().values().len() <= message.len(), "{message:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{message:?}"),
        }
    }
}

#[test]
fn damaged_and_random_bytes_never_crash() {
    let elements = varints(&[-1, 0, 300, 1 << 40]);
    let mut intact = vec![strings(&["a text", "", "☃"])];
    for member in 1..=5 {
        intact.extend([elements.packed(member), elements.unpacked(member), elements.mixed(member)]);
    }
    for message in &intact {
        for end in 0..=message.len() {
            survives(&message[..end]);
        }
        for at in 0..message.len() {
            for bit in 0..8 {
                let mut damaged = message.clone();
                damaged[at] ^= 1 << bit;
                survives(&damaged);
            }
        }
    }
    // xorshift64, so that a failure comes back.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for _ in 0..2000 {
        let [length, member, start, ..] = next();
        let noise: Vec<u8> = std::iter::repeat_with(&mut next).take(8).flatten().collect();
        let noise = &noise[usize::from(start % 8)..][..usize::from(length % 56)];
        survives(noise);
        survives(&bytes_field(u64::from(member % 8) + 1, noise));
        survives(&bytes_field(u64::from(member % 8) + 1, &bytes_field(1, noise)));
    }
}
