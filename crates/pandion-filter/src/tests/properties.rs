//! What holds for any tree and for any text.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    Argument, ArithmeticOp, Bound, CompareOp, ContainsMode, ElementQuantifier, FieldRef, Interval,
    LikePattern, Operand, PathSegment, PkConstraint, SpatialRelation, Value, pk_constraint,
};

fn reference(name: &str) -> Arc<FieldRef> {
    Arc::new(schema().field(name).unwrap().into())
}

fn any_string() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[ab%_'"\\\n\t\x00-\x1f]{0,8}"#]
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("floats are finite", |value| value.is_finite())
}

/// Literals for a field of this type, in the form in which the parser leaves them.
fn literal(data_type: DataType) -> BoxedStrategy<Value> {
    match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Float => any::<f32>()
            .prop_filter("floats are finite", |value| value.is_finite())
            .prop_map(|value| Value::Float(f64::from(value)))
            .boxed(),
        DataType::Double => finite().prop_map(Value::Float).boxed(),
        DataType::VarChar | DataType::Text => any_string().prop_map(Value::String).boxed(),
        DataType::Timestamptz => (-62_135_596_800_000_000_i64..=253_402_300_799_999_999)
            .prop_map(Value::Timestamp)
            .boxed(),
        DataType::Json => {
            let scalar = prop_oneof![
                any::<bool>().prop_map(Value::Bool),
                any::<i64>().prop_map(Value::Int),
                finite().prop_map(Value::Float),
                any_string().prop_map(Value::String),
            ];
            scalar.prop_recursive(2, 8, 4, |inner| vec(inner, 0..4).prop_map(Value::Array)).boxed()
        }
        _ => any::<i64>().prop_map(Value::Int).boxed(),
    }
}

fn path(length_min: usize) -> impl Strategy<Value = Vec<PathSegment>> {
    let segment = prop_oneof![
        any_string()
            .prop_filter("keys are not empty", |key| !key.is_empty())
            .prop_map(PathSegment::Key),
        any::<u64>().prop_map(PathSegment::Index),
    ];
    vec(segment, length_min..4)
}

/// Places in a row whose values can be compared with literals.
fn column() -> BoxedStrategy<Operand> {
    let names = ["__virtual_pk__", "a", "b", "i8", "i16", "i32", "f", "d", "s", "t"];
    let array = proptest::sample::select(vec!["ai", "af", "as"]);
    prop_oneof![
        3 => proptest::sample::select(names.to_vec()).prop_map(|name| Operand::Field(reference(name))),
        1 => path(0).prop_map(|path| Operand::Json { field: reference("j"), path }),
        1 => (array, any::<u64>()).prop_map(|(name, index)| {
            let field = reference(name);
            let element_type = field.element_type.unwrap();
            Operand::Element { field, index, element_type }
        }),
    ]
    .boxed()
}

/// Places that may lack a value. A whole document is the value of its field.
fn nullable() -> BoxedStrategy<Operand> {
    column()
        .prop_map(|operand| match operand {
            Operand::Json { field, path } if path.is_empty() => Operand::Field(field),
            other => other,
        })
        .boxed()
}

fn whole_array() -> impl Strategy<Value = Operand> {
    proptest::sample::select(vec!["ai", "af", "as"])
        .prop_map(|name| Operand::Field(reference(name)))
}

fn container() -> BoxedStrategy<Operand> {
    prop_oneof![
        whole_array(),
        path(0).prop_map(|path| Operand::Json { field: reference("j"), path }),
    ]
    .boxed()
}

/// The type of the values that a container holds.
fn held(operand: &Operand) -> DataType {
    operand.field().element_type.unwrap_or(DataType::Json)
}

fn arithmetic() -> BoxedStrategy<Operand> {
    let op = proptest::sample::select(vec![
        ArithmeticOp::Add,
        ArithmeticOp::Subtract,
        ArithmeticOp::Multiply,
        ArithmeticOp::Divide,
        ArithmeticOp::Modulo,
        ArithmeticOp::BitAnd,
        ArithmeticOp::BitOr,
        ArithmeticOp::BitXor,
    ]);
    let zero = |value: &Value| matches!(value, Value::Int(0)) || *value == Value::Float(0.0);
    (column(), op, any::<bool>())
        .prop_filter_map("both sides are numbers", |(operand, op, as_float)| {
            let data_type = operand.data_type();
            let number = data_type.is_integer() || data_type.is_float();
            let float = data_type.is_float() || data_type == DataType::Json && as_float;
            if !(number || data_type == DataType::Json) || float && op.is_integer_only() {
                return None;
            }
            Some((operand, op, if float { DataType::Double } else { DataType::Int64 }))
        })
        .prop_flat_map(move |(operand, op, result)| {
            literal(result).prop_filter("no division by zero", move |value| !zero(value)).prop_map(
                move |value| Operand::Arithmetic {
                    operand: Box::new(operand.clone()),
                    op,
                    value,
                    result,
                },
            )
        })
        .boxed()
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    proptest::sample::select(vec![
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ])
}

fn with_literal(
    operand: impl Strategy<Value = Operand>,
) -> impl Strategy<Value = (Operand, Value)> {
    operand.prop_flat_map(|operand| {
        literal(operand.data_type()).prop_map(move |value| (operand.clone(), value))
    })
}

fn comparison() -> BoxedStrategy<Predicate> {
    let timestamp = Just(()).prop_map(|()| Operand::Field(reference("ts")));
    let length = container().prop_map(|operand| Operand::Length(Box::new(operand)));
    let operand = prop_oneof![4 => column(), 2 => arithmetic(), 1 => timestamp, 1 => length];
    let literal_compare = (with_literal(operand), compare_op())
        .prop_map(|((operand, value), op)| Predicate::Compare { operand, op, value });
    let array_compare = (whole_array(), any::<bool>()).prop_flat_map(|(operand, equal)| {
        let op = if equal { CompareOp::Equal } else { CompareOp::NotEqual };
        vec(literal(held(&operand)), 0..4).prop_map(move |values| Predicate::Compare {
            operand: operand.clone(),
            op,
            value: Value::Array(values),
        })
    });
    let shifted = (1_u32..50, any::<u32>(), any::<bool>(), literal(DataType::Timestamptz))
        .prop_map(|(months, seconds, negative, value)| {
            let interval = Interval { months, seconds, ..Interval::default() };
            let operand = Operand::Shifted { field: reference("ts"), negative, interval };
            Predicate::Compare { operand, op: CompareOp::Less, value }
        });
    let pairs = vec![("a", "i8"), ("f", "a"), ("s", "t"), ("b", "b"), ("d", "f")];
    let fields = (proptest::sample::select(pairs), compare_op()).prop_map(|((left, right), op)| {
        let (left, right) = (reference(left), reference(right));
        Predicate::CompareOperands { left: Operand::Field(left), op, right: Operand::Field(right) }
    });
    prop_oneof![6 => literal_compare, 1 => array_compare, 1 => shifted, 1 => fields].boxed()
}

fn range() -> BoxedStrategy<Predicate> {
    let ordered = column().prop_filter("booleans have no range", |operand| {
        !matches!(operand.data_type(), DataType::Bool)
    });
    ordered
        .prop_flat_map(|operand| {
            let data_type = operand.data_type();
            (Just(operand), literal(data_type), literal(data_type), any::<(bool, bool)>())
        })
        .prop_filter_map("the lower end is below", |(operand, lower, upper, (low, high))| {
            let below = match (&lower, &upper) {
                (Value::Int(lower), Value::Int(upper)) => lower < upper,
                (Value::String(lower), Value::String(upper)) => lower < upper,
                (Value::Float(lower), Value::Float(upper)) => lower < upper,
                (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => false,
                _ => true,
            };
            below.then_some(Predicate::Range {
                operand,
                lower: Bound { value: lower, inclusive: low },
                upper: Bound { value: upper, inclusive: high },
            })
        })
        .boxed()
}

fn membership() -> BoxedStrategy<Predicate> {
    let list = column().prop_flat_map(|operand| {
        vec(literal(operand.data_type()), 0..4)
            .prop_map(move |values| Predicate::In { operand: operand.clone(), values })
    });
    let mode = proptest::sample::select(vec![ContainsMode::All, ContainsMode::Any]);
    let several = (container(), mode).prop_flat_map(|(operand, mode)| {
        vec(literal(held(&operand)), 0..4).prop_map(move |values| Predicate::Contains {
            operand: operand.clone(),
            mode,
            values,
        })
    });
    let one = container().prop_flat_map(|operand| {
        literal(held(&operand)).prop_map(move |value| Predicate::Contains {
            operand: operand.clone(),
            mode: ContainsMode::One,
            values: vec![value],
        })
    });
    prop_oneof![2 => list, 1 => several, 1 => one].boxed()
}

fn text_test() -> BoxedStrategy<Predicate> {
    let strings = || {
        column().prop_filter("patterns match strings", |operand| {
            operand.data_type().is_string() || operand.data_type() == DataType::Json
        })
    };
    let like = (strings(), any_string()).prop_map(|(operand, pattern)| Predicate::Like {
        operand,
        pattern: LikePattern::new(pattern),
    });
    let regex = (strings(), any_string())
        .prop_map(|(operand, pattern)| Predicate::RegexMatch { operand, pattern });
    let matched = (any_string(), proptest::option::of(1_u64..=1000)).prop_map(
        |(query, minimum_should_match)| Predicate::TextMatch {
            field: reference("m"),
            query,
            minimum_should_match,
        },
    );
    let fuzzy = (any_string(), 0_u64..=2).prop_map(|(query, max_edit_distance)| {
        Predicate::TextMatchFuzzy { field: reference("m"), query, max_edit_distance }
    });
    let phrase = (any_string(), any::<u32>()).prop_map(|(query, slop)| Predicate::PhraseMatch {
        field: reference("m"),
        query,
        slop,
    });
    prop_oneof![like, regex, matched, fuzzy, phrase].boxed()
}

fn other_test() -> BoxedStrategy<Predicate> {
    let relation = proptest::sample::select(SpatialRelation::ALL.to_vec());
    let spatial = (relation, any_string()).prop_map(|(relation, wkt)| Predicate::Spatial {
        field: reference("g"),
        relation,
        wkt,
    });
    let within = (any_string(), finite()).prop_map(|(point, meters)| Predicate::SpatialWithin {
        field: reference("g"),
        point,
        meters: meters.abs(),
    });
    let quantifier = prop_oneof![
        Just(ElementQuantifier::All),
        Just(ElementQuantifier::Any),
        (1_u64..9).prop_map(ElementQuantifier::Least),
        (0_u64..9).prop_map(ElementQuantifier::Most),
        (0_u64..9).prop_map(ElementQuantifier::Exact),
    ];
    let elements = (quantifier, compare_op(), any::<i64>()).prop_map(|(quantifier, op, value)| {
        let field = reference("ai");
        let current =
            Operand::CurrentElement { field: Arc::clone(&field), element_type: DataType::Int64 };
        let predicate = Predicate::Compare { operand: current, op, value: Value::Int(value) };
        Predicate::ElementMatch { field, quantifier, predicate: Box::new(predicate) }
    });
    let argument = prop_oneof![
        column().prop_map(Argument::Operand),
        arithmetic().prop_map(Argument::Operand),
        literal(DataType::Json).prop_map(Argument::Value),
    ];
    let call = vec(argument, 0..3)
        .prop_map(|arguments| Predicate::Call { name: "custom".to_owned(), arguments });
    prop_oneof![
        nullable().prop_map(Predicate::IsNull),
        nullable().prop_map(Predicate::IsNotNull),
        path(1).prop_map(|path| Predicate::Exists { field: reference("j"), path }),
        Just(()).prop_map(|()| Predicate::SpatialValid { field: reference("g") }),
        spatial,
        within,
        elements,
        call,
    ]
    .boxed()
}

fn tree() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Predicate::Constant),
        6 => comparison(),
        2 => range(),
        3 => membership(),
        3 => text_test(),
        3 => other_test(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Predicate::and),
            vec(inner.clone(), 0..4).prop_map(Predicate::or),
            inner.prop_map(Predicate::negate),
        ]
    })
}

/// Texts that are made of the grammar's own words, so that many of them get past the lexer.
fn almost_expression() -> impl Strategy<Value = String> {
    let words = "a b s j ai ts g m j['k'] ai[0] $ $[x] $meta 1 - 2.5 0x1f 'x' r'x' true ( ) [ ] , { } \
                 == != < <= > >= = + * ** / % & | ^ ~ << =~ !~ and or not in like exists is null \
                 text_match( json_contains( array_length( random_sample( match_any( \
                 element_filter( st_dwithin( empty( threshold= ISO INTERVAL '2025-01-01' 'P1D' {n} \
                 {ids} \\ ' # \n";
    let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    vec(proptest::sample::select(words), 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_text_of_a_tree_parses_to_the_tree(predicate in tree()) {
        let text = predicate.to_string();
        let parsed = parse(&text, &schema(), &Templates::new());
        match parsed {
            Ok(parsed) => prop_assert_eq!(parsed.predicate, predicate, "{}", text),
            Err(error) => prop_assert!(false, "{}: {}", text, error),
        }
    }

    #[test]
    fn no_text_crashes_the_parser(text in any::<String>()) {
        if let Ok(filter) = parse(&text, &schema(), &templates())
            && let Some(PkConstraint::Range { lower, upper }) = pk_constraint(&filter.predicate)
        {
            prop_assert!(lower < upper);
        }
    }

    #[test]
    fn no_bytes_crash_the_parser(bytes in vec(any::<u8>(), 0..64)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(filter) = parse(&text, &schema(), &templates()) {
            prop_assert!(filter.referenced_fields().len() <= schema().fields.len());
        }
    }

    #[test]
    fn what_is_accepted_can_be_written_and_read_again(text in almost_expression()) {
        if let Ok(filter) = parse(&text, &schema(), &templates()) {
            let written = filter.to_string();
            let again = parse(&written, &schema(), &Templates::new());
            prop_assert_eq!(again.ok(), Some(filter), "{} became {}", text, written);
        }
    }
}
