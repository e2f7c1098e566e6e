//! Tables of random histories against a projection that keeps values by column id.

use proptest::prelude::*;

use super::*;

/// The value of a column in a row, which is wide enough for every type that the column has had.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Int,
    Float,
    Text,
}

/// A column that a table has had at some time.
#[derive(Clone, Debug)]
struct History {
    kind: Kind,
    /// Whether the file holds it, and in its narrow type.
    in_file: Option<bool>,
    /// Whether the table has widened it.
    is_wide: bool,
    /// Names in the file and in the table, by few letters, so that they clash.
    names: (u8, u8),
    constant: Option<Option<i8>>,
    default: Option<i8>,
    values: Vec<Option<i8>>,
}

const ROWS: usize = 60;

fn history() -> impl Strategy<Value = History> {
    let kind = prop_oneof![Just(Kind::Int), Just(Kind::Float), Just(Kind::Text)];
    let in_file = prop::option::weighted(0.7, any::<bool>());
    let constant = prop::option::weighted(0.3, any::<Option<i8>>());
    let values = prop::collection::vec(any::<Option<i8>>(), ROWS);
    let parts =
        (kind, in_file, any::<bool>(), (0_u8..4, 0_u8..4), constant, any::<Option<i8>>(), values);
    parts.prop_map(|(kind, in_file, is_wide, names, constant, default, values)| History {
        kind,
        // A file that is younger than the widening holds the wide type.
        in_file: in_file.map(|is_narrow| is_narrow || !is_wide),
        is_wide,
        names,
        constant,
        default,
        values,
    })
}

impl History {
    fn value(&self, seed: i8) -> Value {
        match self.kind {
            Kind::Int => Value::Int(i64::from(seed)),
            Kind::Float => Value::Float(f64::from(seed) / 4.0),
            Kind::Text => Value::Text(format!("text {seed}")),
        }
    }

    fn stat(&self, seed: i8) -> StatValue {
        match self.value(seed) {
            Value::Int(value) => StatValue::Int(value),
            Value::Float(value) => StatValue::Float(value),
            Value::Text(value) => StatValue::String(value),
        }
    }

    /// What the specification says that the table's rows are.
    fn expected(&self) -> Vec<Option<Value>> {
        let value = |seed: Option<i8>| seed.map(|seed| self.value(seed));
        match (self.in_file, self.constant) {
            (Some(_), _) => self.values.iter().map(|&seed| value(seed)).collect(),
            (None, Some(constant)) => vec![value(constant); ROWS],
            (None, None) => vec![value(self.default); ROWS],
        }
    }

    fn array(&self, is_narrow: bool) -> ArrayRef {
        let values = &self.values;
        match (self.kind, is_narrow) {
            (Kind::Int, true) => {
                Arc::new(values.iter().map(|v| v.map(i32::from)).collect::<Int32Array>())
            }
            (Kind::Int, false) => {
                Arc::new(values.iter().map(|v| v.map(i64::from)).collect::<Int64Array>())
            }
            (Kind::Float, true) => {
                let value = |value: &Option<i8>| value.map(|value| f32::from(value) / 4.0);
                Arc::new(values.iter().map(value).collect::<Float32Array>())
            }
            (Kind::Float, false) => {
                let value = |value: &Option<i8>| value.map(|value| f64::from(value) / 4.0);
                Arc::new(values.iter().map(value).collect::<Float64Array>())
            }
            (Kind::Text, _) => {
                let value = |value: &Option<i8>| value.map(|value| format!("text {value}"));
                Arc::new(values.iter().map(value).collect::<StringArray>())
            }
        }
    }

    fn types(&self) -> (FieldType, &'static str) {
        match (self.kind, self.is_wide) {
            (Kind::Int, false) => (FieldType::Int32, "int"),
            (Kind::Int, true) => (FieldType::Int64, "long"),
            (Kind::Float, false) => (FieldType::Float, "float"),
            (Kind::Float, true) => (FieldType::Double, "double"),
            (Kind::Text, _) => (FieldType::VarChar, "string"),
        }
    }
}

fn values_of(array: &ArrayRef) -> Vec<Option<Value>> {
    let ints = |array: &ArrayRef| {
        let wide = arrow::compute::cast(array, &DataType::Int64).unwrap();
        wide.as_primitive::<Int64Type>().iter().map(|v| v.map(Value::Int)).collect()
    };
    let floats = |array: &ArrayRef| {
        let wide = arrow::compute::cast(array, &DataType::Float64).unwrap();
        wide.as_primitive::<Float64Type>().iter().map(|v| v.map(Value::Float)).collect()
    };
    match array.data_type() {
        DataType::Int32 | DataType::Int64 => ints(array),
        DataType::Float32 | DataType::Float64 => floats(array),
        _ => {
            array.as_string::<i32>().iter().map(|v| v.map(|v| Value::Text(v.to_owned()))).collect()
        }
    }
}

fn below(left: &Value, right: &StatValue) -> bool {
    match (left, right) {
        (Value::Int(left), StatValue::Int(right)) => left < right,
        (Value::Float(left), StatValue::Float(right)) => left < right,
        (Value::Text(left), StatValue::String(right)) => left < right,
        _ => panic!("a bound of another type"),
    }
}

fn above(left: &Value, right: &StatValue) -> bool {
    match (left, right) {
        (Value::Int(left), StatValue::Int(right)) => left > right,
        (Value::Float(left), StatValue::Float(right)) => left > right,
        (Value::Text(left), StatValue::String(right)) => left > right,
        _ => panic!("a bound of another type"),
    }
}

async fn check_history(table: &[History], order: &[usize], group_rows: usize, has_ids: bool) {
    let name = |letter: u8| String::from(char::from(b'a' + letter));
    // A file without ids has each name once, and names of its own for those that clash.
    let in_file = |at: usize| match has_ids {
        true => name(table[at].names.0),
        false => format!("{}{at}", name(table[at].names.0)),
    };
    let held: Vec<_> = order
        .iter()
        .filter_map(|&at| {
            let id = has_ids.then(|| i32::try_from(at).unwrap() + 1);
            Some((in_file(at), id, table[at].array(table[at].in_file?)))
        })
        .collect();
    let filler = ("filler".to_owned(), Some(1000).filter(|_| has_ids), longs(&[0; ROWS]));
    let held: Vec<_> = held.into_iter().chain([filler]).collect();
    let held: Vec<_> = held.iter().map(|(n, id, a)| (n.as_str(), *id, Arc::clone(a))).collect();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(7)
        .build();
    let bytes = write_with_ids(&held, properties);
    let ids = 100_i64..;
    let fields: Vec<FieldSchema> = (table.iter().zip(ids))
        .map(|(history, id)| field(id, &name(history.names.1), history.types().0))
        .collect();
    let columns = table.iter().zip(&fields).enumerate().map(|(at, (history, field))| TableColumn {
        names: vec![format!("{}{at}", name(history.names.0)), "never".to_owned()],
        default: history.default.map(|seed| history.stat(seed)),
        ..table_column(field, i32::try_from(at).unwrap() + 1, history.types().1)
    });
    let columns: Vec<_> = columns.collect();
    // The constant of a column that is there by name only is the column's value everywhere.
    let constants: Vec<_> = (table.iter().zip(&fields))
        .filter(|(history, _)| has_ids || history.in_file.is_none())
        .filter_map(|(history, field)| {
            Some((field.id, history.constant?.map(|seed| history.stat(seed))))
        })
        .collect();
    let file = of_table(bytes, &columns, &constants).await;
    assert_eq!(file.check(&fields), []);
    let batch = read_all(&file, &fields).await;
    let known = file.statistics(&fields);
    for (at, history) in table.iter().enumerate() {
        let expected = history.expected();
        assert_eq!(values_of(batch.column(at)), expected, "column {at}");
        let nulls = expected.iter().filter(|value| value.is_none()).count() as u64;
        assert_eq!(known[at].null_count, Some(nulls), "column {at}");
        for value in expected.iter().flatten() {
            assert!(!known[at].min.as_ref().is_some_and(|min| below(value, min)), "column {at}");
            assert!(!known[at].max.as_ref().is_some_and(|max| above(value, max)), "column {at}");
        }
    }
    let (start, some) = (7, [8_u32, 9, 30, 59]);
    let taken = file.take(&fields[..1], &some, &IoStats::default()).await.unwrap();
    let expected = table[0].expected();
    let expected: Vec<_> = some.iter().map(|&row| expected[row as usize].clone()).collect();
    assert_eq!(values_of(taken.column(0)), expected);
    let dictionary = file.read_dictionary(&fields[0], 0, &IoStats::default()).await.unwrap();
    if let Some(dictionary) = dictionary {
        let plain = arrow::compute::cast(&dictionary, &DataType::Utf8).unwrap();
        assert_eq!(values_of(&plain)[..start], table[0].expected()[..start]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn tables_are_read_as_the_specification_says(
        table in prop::collection::vec(history(), 1..7),
        seed in any::<u64>(),
        group_rows in 10_usize..80,
        has_ids in any::<bool>(),
    ) {
        // The order of the columns in the file.
        let mut order: Vec<usize> = (0..table.len()).collect();
        order.sort_by_key(|&at| seed.rotate_left(u32::try_from(at).unwrap() * 7) % 97);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_history(&table, &order, group_rows, has_ids));
    }
}
