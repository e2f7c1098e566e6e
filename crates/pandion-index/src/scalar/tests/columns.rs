//! Random columns, and random terms on them.

use super::naive::Row;
use super::*;

/// Indexes of every kind of values.
pub(super) fn specs() -> impl Strategy<Value = ScalarIndexSpec> {
    use DataType::{Bool, Double, Float, Int8, Int64, Timestamptz, VarChar};
    let types = [Bool, Int8, Int64, Float, Double, VarChar, Timestamptz];
    let casts = [
        JsonCast::Bool,
        JsonCast::Double,
        JsonCast::Text,
        JsonCast::BoolElements,
        JsonCast::DoubleElements,
        JsonCast::TextElements,
    ];
    let mut specs = Vec::new();
    let mut add = |values| specs.push(ScalarIndexSpec { kind: ScalarIndexKind::Auto, values });
    for data_type in types {
        add(IndexedValues::Field(data_type));
        if data_type != Timestamptz {
            add(IndexedValues::Elements(data_type));
        }
    }
    for cast in casts {
        add(IndexedValues::Json { path: path(), cast });
    }
    let ngram =
        |values| ScalarIndexSpec { kind: ScalarIndexKind::Ngram { min: 1, max: 3 }, values };
    specs.push(ngram(IndexedValues::Field(VarChar)));
    specs.push(ngram(IndexedValues::Json { path: path(), cast: JsonCast::Text }));
    prop::sample::select(specs)
}

fn texts() -> impl Strategy<Value = String> {
    "[aäb%_]{0,4}"
}

fn ints() -> impl Strategy<Value = i64> {
    let extremes = vec![i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1];
    prop_oneof![5 => -3_i64..4, 1 => prop::sample::select(extremes)]
}

fn floats() -> impl Strategy<Value = f64> {
    let extremes = vec![0.0, -0.0, 0.5, f64::MAX, f64::MIN, 9_007_199_254_740_992.0];
    prop_oneof![4 => (-3_i32..4).prop_map(f64::from), 1 => prop::sample::select(extremes)]
}

/// A value of a column of one type.
fn typed_row(data_type: DataType) -> BoxedStrategy<Row> {
    match data_type {
        DataType::Bool => any::<bool>().prop_map(Row::Bool).boxed(),
        DataType::Int8 => (-3_i64..4).prop_map(Row::Int).boxed(),
        DataType::Int64 => ints().prop_map(Row::Int).boxed(),
        DataType::Float | DataType::Double => {
            let odd = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            prop_oneof![6 => floats(), 1 => prop::sample::select(odd)].prop_map(Row::Float).boxed()
        }
        DataType::VarChar => texts().prop_map(Row::Text).boxed(),
        DataType::Timestamptz => (-3_i64..4).prop_map(Row::Instant).boxed(),
        other => panic!("no rows of {other}"),
    }
}

fn json_scalar() -> BoxedStrategy<Row> {
    prop_oneof![
        any::<bool>().prop_map(Row::Bool),
        ints().prop_map(Row::Int),
        floats().prop_map(Row::Float),
        texts().prop_map(Row::Text),
    ]
    .boxed()
}

fn column_row(values: &IndexedValues) -> BoxedStrategy<Row> {
    let present = match values {
        IndexedValues::Field(data_type) => typed_row(*data_type),
        IndexedValues::Elements(data_type) => {
            prop::collection::vec(typed_row(*data_type), 0..5).prop_map(Row::List).boxed()
        }
        IndexedValues::Json { .. } => {
            let element =
                prop_oneof![4 => json_scalar(), 1 => Just(Row::Null), 1 => Just(Row::Object)];
            let list = prop::collection::vec(element, 0..5).prop_map(Row::List);
            prop_oneof![4 => json_scalar(), 2 => list, 1 => Just(Row::Object)].boxed()
        }
    };
    prop_oneof![1 => Just(Row::Null), 4 => present].boxed()
}

/// What the rows of a JSON column may be restricted to, so that indexes can decide more.
fn keep_kind(values: &IndexedValues, row: Row) -> Row {
    let IndexedValues::Json { cast, .. } = values else { return row };
    let is_kind = |row: &Row| match cast {
        JsonCast::Bool | JsonCast::BoolElements => matches!(row, Row::Bool(_)),
        JsonCast::Double | JsonCast::DoubleElements => matches!(row, Row::Int(_) | Row::Float(_)),
        JsonCast::Text | JsonCast::TextElements => matches!(row, Row::Text(_)),
    };
    match row {
        Row::List(elements) if cast.is_elements() => {
            Row::List(elements.into_iter().filter(is_kind).collect())
        }
        row if !cast.is_elements() && is_kind(&row) => row,
        _ => Row::Null,
    }
}

/// Rows of such values, all-null ones now and then.
pub(super) fn columns(values: &IndexedValues) -> BoxedStrategy<Vec<Row>> {
    let values = values.clone();
    let rows = prop::collection::vec(column_row(&values), 0..80);
    let nulls = prop::collection::vec(Just(Row::Null), 0..80);
    let kept = (rows, any::<bool>()).prop_map(move |(rows, is_pure)| {
        let keep = |row| if is_pure { keep_kind(&values, row) } else { row };
        rows.into_iter().map(keep).collect()
    });
    prop_oneof![12 => kept, 1 => nulls].boxed()
}

fn literals(values: &IndexedValues) -> BoxedStrategy<Value> {
    let of = |data_type: DataType| match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int8 | DataType::Int64 => ints().prop_map(Value::Int).boxed(),
        DataType::Float | DataType::Double => floats().prop_map(Value::Float).boxed(),
        DataType::VarChar => texts().prop_map(Value::String).boxed(),
        DataType::Timestamptz => (-4_i64..5).prop_map(Value::Timestamp).boxed(),
        other => panic!("no literals of {other}"),
    };
    match values {
        IndexedValues::Field(data_type) | IndexedValues::Elements(data_type) => of(*data_type),
        IndexedValues::Json { cast, .. } => {
            let any = prop_oneof![
                any::<bool>().prop_map(Value::Bool),
                ints().prop_map(Value::Int),
                floats().prop_map(Value::Float),
                texts().prop_map(Value::String),
                prop::collection::vec(ints().prop_map(Value::Int), 0..3).prop_map(Value::Array),
            ];
            let own = match cast {
                JsonCast::Bool | JsonCast::BoolElements => of(DataType::Bool),
                JsonCast::Double | JsonCast::DoubleElements => {
                    prop_oneof![of(DataType::Int64), of(DataType::Double)].boxed()
                }
                JsonCast::Text | JsonCast::TextElements => of(DataType::VarChar),
            };
            prop_oneof![1 => any, 3 => own].boxed()
        }
    }
}

fn compare_ops() -> impl Strategy<Value = CompareOp> {
    prop::sample::select(vec![
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ])
}

fn arithmetic_ops() -> impl Strategy<Value = ArithmeticOp> {
    prop::sample::select(vec![
        ArithmeticOp::Add,
        ArithmeticOp::Subtract,
        ArithmeticOp::Multiply,
        ArithmeticOp::Divide,
        ArithmeticOp::Modulo,
        ArithmeticOp::BitAnd,
        ArithmeticOp::BitOr,
        ArithmeticOp::BitXor,
    ])
}

fn comparisons(operand: Operand, literal: BoxedStrategy<Value>) -> BoxedStrategy<Predicate> {
    let bound = || (literal.clone(), any::<bool>());
    let operands = [operand.clone(), operand.clone(), operand];
    let [compared, ranged, listed] = operands;
    let compare = (compare_ops(), literal.clone())
        .prop_map(move |(op, value)| Predicate::Compare { operand: compared.clone(), op, value });
    let range = (bound(), bound()).prop_map(move |((low, from), (high, to))| Predicate::Range {
        operand: ranged.clone(),
        lower: Bound { value: low, inclusive: from },
        upper: Bound { value: high, inclusive: to },
    });
    let list = prop::collection::vec(literal, 0..6)
        .prop_map(move |values| Predicate::In { operand: listed.clone(), values });
    prop_oneof![compare, range, list].boxed()
}

/// Terms on such values, most of which an index can answer.
pub(super) fn terms(values: &IndexedValues) -> BoxedStrategy<Predicate> {
    let own = operand(values);
    let with = |make: fn(Operand, LikePattern) -> Predicate| {
        let own = own.clone();
        "[aäb%_\\\\]{0,5}".prop_map(move |text| make(own.clone(), LikePattern::new(text)))
    };
    let like = with(|operand, pattern| Predicate::Like { operand, pattern });
    let regex = {
        let own = own.clone();
        "[ab]{0,2}(\\.\\*|\\.|b\\+|\\^|[äb]|\\[ab\\])?[ab]{0,2}\\$?"
            .prop_map(move |pattern| Predicate::RegexMatch { operand: own.clone(), pattern })
    };
    let nulls = prop_oneof![
        Just(Predicate::IsNull(own.clone())),
        Just(Predicate::IsNotNull(own.clone())),
        Just(Predicate::Exists { field: field(DataType::Json, None), path: path() }),
    ];
    let length = Operand::Length(Box::new(own.clone()));
    let lengths = comparisons(
        length,
        prop_oneof![
            (-1_i64..6).prop_map(Value::Int),
            (-1_i32..6).prop_map(|value| Value::Float(f64::from(value) / 2.0)),
        ]
        .boxed(),
    );
    let contains = {
        let own = own.clone();
        let literal = literals(values);
        (any::<bool>(), prop::collection::vec(literal, 0..4)).prop_map(move |(all, values)| {
            let mode = match (all, values.len()) {
                (true, 1) => ContainsMode::One,
                (true, _) => ContainsMode::All,
                (false, _) => ContainsMode::Any,
            };
            Predicate::Contains { operand: own.clone(), mode, values }
        })
    };
    let number =
        prop_oneof![ints().prop_map(Value::Int).boxed(), floats().prop_map(Value::Float).boxed()];
    let arithmetic = {
        let own = own.clone();
        (arithmetic_ops(), number.clone()).prop_flat_map(move |(op, value)| {
            let result = match value {
                Value::Int(_) => DataType::Int64,
                _ => DataType::Double,
            };
            let operand = Operand::Arithmetic { operand: Box::new(own.clone()), op, value, result };
            comparisons(operand, number.clone().boxed())
        })
    };
    let mut choices = vec![
        (6, comparisons(own.clone(), literals(values))),
        (2, like.boxed()),
        (2, regex.boxed()),
        (1, nulls.boxed()),
        (2, lengths),
        (3, contains.boxed()),
        (2, arithmetic.boxed()),
    ];
    if let IndexedValues::Elements(element_type) = values {
        let field = field(DataType::Array, Some(*element_type));
        let element = Operand::Element { field, index: 1, element_type: *element_type };
        choices.push((3, comparisons(element, literals(values))));
    }
    prop::strategy::Union::new_weighted(choices).boxed()
}

/// Shapes, some of them empty or broken.
pub(super) fn shapes() -> impl Strategy<Value = Row> {
    let text = prop_oneof![
        8 => (-200_i32..200, -95_i32..95).prop_map(|(x, y)| format!("POINT ({x} {y})")),
        4 => (-20_i32..20, -20_i32..20, 0_i32..9)
            .prop_map(|(x, y, to)| format!("LINESTRING ({x} {y}, {to} {to})")),
        1 => Just("POLYGON EMPTY".to_owned()),
        1 => Just("POINT (".to_owned()),
    ];
    prop_oneof![6 => text.prop_map(Row::Text), 1 => Just(Row::Null)]
}
