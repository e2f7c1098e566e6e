//! Random filters over a random data set.

use std::sync::Arc;

use pandion_filter::{
    ArithmeticOp, Bound, CompareOp, ContainsMode, FieldRef, Interval, LikePattern, Operand,
    PathSegment, Predicate, Value,
};
use pandion_types::{CollectionSchema, DataType, VIRTUAL_PK_NAME};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{FLOATS, INSTANTS, INTEGERS, REGEXES, STRINGS};
use crate::dataset::{Dataset, VECTOR, narrowed};

const PATTERNS: [&str; 14] = [
    "", "%", "a%", "%b", "%a%", "a_b", "_", "a%b", "%a_", r"a\%", r"a\_b", r"a\\b", "\u{e4}%", "__",
];

/// A predicate over the rows of a data set, in canonical form.
pub fn predicate(dataset: &Dataset) -> BoxedStrategy<Predicate> {
    let fields = Fields::new(&dataset.schema());
    let rows = i64::try_from(dataset.rows.len()).unwrap_or(i64::MAX);
    let rows_per_file = i64::try_from(dataset.layout.file).unwrap_or(i64::MAX);
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Predicate::Constant),
        6 => fields.comparison(),
        2 => fields.between_fields(),
        3 => fields.range(),
        4 => fields.one_of(),
        3 => fields.contains(),
        3 => fields.text(),
        3 => fields.presence(),
        2 => fields.key(rows, rows_per_file),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Predicate::and),
            vec(inner.clone(), 2..4).prop_map(Predicate::or),
            inner.prop_map(Predicate::negate),
        ]
    })
    .boxed()
}

/// The fields that filters can read, by what can be asked of them.
struct Fields {
    all: Vec<Arc<FieldRef>>,
}

impl Fields {
    fn new(schema: &CollectionSchema) -> Self {
        let readable = schema.fields.iter().filter(|field| field.name != VECTOR);
        Self { all: readable.map(|field| Arc::new(field.into())).collect() }
    }

    fn named(&self, name: &str) -> Arc<FieldRef> {
        let found = self.all.iter().find(|field| field.name == name);
        Arc::clone(found.unwrap_or(&self.all[0]))
    }

    fn arrays(&self) -> BoxedStrategy<Arc<FieldRef>> {
        self.some(|field| field.data_type == DataType::Array)
    }

    fn some(&self, choose: impl Fn(&FieldRef) -> bool) -> BoxedStrategy<Arc<FieldRef>> {
        let chosen = self.all.iter().filter(|field| choose(field)).map(Arc::clone);
        select(chosen.collect::<Vec<_>>()).boxed()
    }

    fn json(&self, steps_min: usize) -> BoxedStrategy<Operand> {
        let field = self.named("j");
        path(steps_min)
            .prop_map(move |path| Operand::Json { field: Arc::clone(&field), path })
            .boxed()
    }

    /// Places whose values compare with literals of [`literal`].
    fn places(&self) -> BoxedStrategy<Operand> {
        let field = self.some(|field| {
            !matches!(field.data_type, DataType::Json | DataType::Array)
                && field.name != VIRTUAL_PK_NAME
        });
        let element = (self.arrays(), 0_u64..4).prop_map(|(field, index)| {
            let element_type = field.element_type.unwrap_or(DataType::Int64);
            Operand::Element { field, index, element_type }
        });
        prop_oneof![6 => field.prop_map(Operand::Field), 3 => self.json(0), 2 => element].boxed()
    }

    fn containers(&self) -> BoxedStrategy<Operand> {
        prop_oneof![2 => self.arrays().prop_map(Operand::Field), 1 => self.json(0)].boxed()
    }

    fn comparison(&self) -> BoxedStrategy<Predicate> {
        let length = self.containers().prop_map(|inner| Operand::Length(Box::new(inner)));
        let shifted =
            (self.some(|field| field.data_type == DataType::Timestamptz), interval()).prop_map(
                |(field, (negative, interval))| Operand::Shifted { field, negative, interval },
            );
        let operand = prop_oneof![
            5 => self.places(),
            3 => arithmetic(self.places()),
            1 => length,
            1 => shifted,
        ];
        let scalar = operand
            .prop_flat_map(|operand| (literal(operand.data_type()), Just(operand), any_op()))
            .prop_map(|(value, operand, op)| {
                let op = if operand.data_type() == DataType::Bool { equality(op) } else { op };
                Predicate::Compare { operand, op, value }
            });
        let list = self
            .containers()
            .prop_flat_map(|operand| (vec(literal(held(&operand)), 0..3), Just(operand), any_op()))
            .prop_map(|(values, operand, op)| {
                let value = Value::Array(values);
                Predicate::Compare { operand, op: equality(op), value }
            });
        prop_oneof![6 => scalar, 1 => list].boxed()
    }

    fn between_fields(&self) -> BoxedStrategy<Predicate> {
        let numbers = ["i8", "i32", "i64", "d"];
        let pair = |names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| self.named(name)).collect();
            (select(fields.clone()), select(fields))
        };
        let pairs = prop_oneof![
            3 => pair(&numbers),
            1 => pair(&["f", "d"]),
            1 => pair(&["s", "t"]),
        ];
        let ordered = (pairs, any_op());
        let flags = (pair(&["b", "b2"]), any_op().prop_map(equality));
        prop_oneof![4 => ordered, 1 => flags]
            .prop_map(|((left, right), op)| Predicate::CompareOperands {
                left: Operand::Field(left),
                op,
                right: Operand::Field(right),
            })
            .boxed()
    }

    fn range(&self) -> BoxedStrategy<Predicate> {
        // The grammar has no range of instants and none of booleans.
        let ordered = self.places().prop_filter("there is a range", |place| {
            !matches!(place.data_type(), DataType::Bool | DataType::Timestamptz)
        });
        ordered
            .prop_flat_map(|operand| {
                let data_type = operand.data_type();
                (literal(data_type), literal(data_type), Just(operand), any::<(bool, bool)>())
            })
            .prop_filter_map("the lower end is below", |(lower, upper, operand, inclusive)| {
                let below = match (&lower, &upper) {
                    (Value::Int(lower), Value::Int(upper)) => lower < upper,
                    (Value::Float(lower), Value::Float(upper)) => lower < upper,
                    (Value::String(lower), Value::String(upper)) => lower < upper,
                    _ => false,
                };
                below.then_some(Predicate::Range {
                    operand,
                    lower: Bound { value: lower, inclusive: inclusive.0 },
                    upper: Bound { value: upper, inclusive: inclusive.1 },
                })
            })
            .boxed()
    }

    fn one_of(&self) -> BoxedStrategy<Predicate> {
        let listed = self.places().prop_filter("instants cannot be listed", |place| {
            place.data_type() != DataType::Timestamptz
        });
        listed
            .prop_flat_map(|operand| (vec(literal(operand.data_type()), 0..4), Just(operand)))
            .prop_map(|(values, operand)| Predicate::In { operand, values })
            .boxed()
    }

    fn contains(&self) -> BoxedStrategy<Predicate> {
        let mode = select(vec![ContainsMode::One, ContainsMode::All, ContainsMode::Any]);
        (self.containers(), mode)
            .prop_flat_map(|(operand, mode)| {
                let one = mode == ContainsMode::One;
                let count = if one { 1..2 } else { 0..4 };
                (vec(literal(held(&operand)), count), Just(operand), Just(mode))
            })
            .prop_map(|(values, operand, mode)| Predicate::Contains { operand, mode, values })
            .boxed()
    }

    fn text(&self) -> BoxedStrategy<Predicate> {
        let strings = || {
            self.places().prop_filter("patterns match strings", |place| {
                place.data_type().is_string() || place.data_type() == DataType::Json
            })
        };
        let like = (strings(), select(&PATTERNS)).prop_map(|(operand, pattern)| Predicate::Like {
            operand,
            pattern: LikePattern::new(pattern),
        });
        let regexes: Vec<&str> = REGEXES.iter().map(|(pattern, _)| *pattern).collect();
        let regex = (strings(), select(regexes)).prop_map(|(operand, pattern)| {
            Predicate::RegexMatch { operand, pattern: pattern.to_owned() }
        });
        prop_oneof![2 => like, 1 => regex].boxed()
    }

    fn presence(&self) -> BoxedStrategy<Predicate> {
        let field = self.named("j");
        // A whole document is the value of its field.
        let whole = |place| match place {
            Operand::Json { field, path } if path.is_empty() => Operand::Field(field),
            other => other,
        };
        let places =
            || prop_oneof![2 => self.places(), 1 => self.arrays().prop_map(Operand::Field)];
        let exists =
            path(1).prop_map(move |path| Predicate::Exists { field: Arc::clone(&field), path });
        prop_oneof![
            places().prop_map(whole).prop_map(Predicate::IsNull),
            places().prop_map(whole).prop_map(Predicate::IsNotNull),
            exists,
        ]
        .boxed()
    }

    /// Terms on the primary key, whose values are those of rows, of their neighbours, and others.
    fn key(&self, rows: i64, rows_per_file: i64) -> BoxedStrategy<Predicate> {
        let value = prop_oneof![
            6 => (0..rows + 2).prop_map(move |at| {
                Value::Int((at / rows_per_file + 1) << 32 | (at % rows_per_file))
            }),
            1 => select(&INTEGERS).prop_map(Value::Int),
        ];
        let operand = Operand::Field(self.named(VIRTUAL_PK_NAME));
        let (same, listed) = (operand.clone(), operand);
        prop_oneof![
            (value.clone(), any_op()).prop_map(move |(value, op)| Predicate::Compare {
                operand: same.clone(),
                op,
                value
            }),
            vec(value, 0..5)
                .prop_map(move |values| Predicate::In { operand: listed.clone(), values }),
        ]
        .boxed()
    }
}

/// The type of the values that a container holds.
fn held(operand: &Operand) -> DataType {
    operand.field().element_type.unwrap_or(DataType::Json)
}

fn path(steps_min: usize) -> BoxedStrategy<Vec<PathSegment>> {
    let step = prop_oneof![
        4 => select(vec!["k", "l", "m", "a b", "absent"])
            .prop_map(|key| PathSegment::Key(key.to_owned())),
        1 => (0_u64..3).prop_map(PathSegment::Index),
    ];
    let short = vec(step.clone(), steps_min..2);
    prop_oneof![3 => short, 1 => vec(step, 2..3)].boxed()
}

fn any_op() -> impl Strategy<Value = CompareOp> + Clone {
    select(vec![
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ])
}

/// The operator, or one of the two that booleans and lists know.
fn equality(op: CompareOp) -> CompareOp {
    if matches!(op, CompareOp::Equal | CompareOp::Less | CompareOp::Greater) {
        CompareOp::Equal
    } else {
        CompareOp::NotEqual
    }
}

/// A literal for a place of this type, in the form in which the parser leaves it.
fn literal(data_type: DataType) -> BoxedStrategy<Value> {
    let finite: Vec<f64> = FLOATS.into_iter().filter(|value| value.is_finite()).collect();
    match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Float => select(finite).prop_map(|value| Value::Float(narrowed(value))).boxed(),
        DataType::Double => select(finite).prop_map(Value::Float).boxed(),
        DataType::Timestamptz => select(&INSTANTS).prop_map(Value::Timestamp).boxed(),
        DataType::Json => prop_oneof![
            3 => select(&INTEGERS).prop_map(Value::Int),
            2 => select(finite).prop_map(Value::Float),
            3 => select(&STRINGS).prop_map(|text| Value::String(text.to_owned())),
            1 => any::<bool>().prop_map(Value::Bool),
            1 => vec(select(&INTEGERS).prop_map(Value::Int), 0..3).prop_map(Value::Array),
        ]
        .boxed(),
        _ if data_type.is_string() => {
            select(&STRINGS).prop_map(|text| Value::String(text.to_owned())).boxed()
        }
        _ => select(&INTEGERS).prop_map(Value::Int).boxed(),
    }
}

fn interval() -> BoxedStrategy<(bool, Interval)> {
    // An interval of fixed length is moved to the literal by the parser.
    (any::<bool>(), 1_u32..14, 0_u32..40)
        .prop_map(|(negative, months, days)| {
            (negative, Interval { months, days, ..Interval::default() })
        })
        .boxed()
}

fn arithmetic(places: BoxedStrategy<Operand>) -> BoxedStrategy<Operand> {
    let op = select(vec![
        ArithmeticOp::Add,
        ArithmeticOp::Subtract,
        ArithmeticOp::Multiply,
        ArithmeticOp::Divide,
        ArithmeticOp::Modulo,
        ArithmeticOp::BitAnd,
        ArithmeticOp::BitOr,
        ArithmeticOp::BitXor,
    ]);
    (places, op, any::<bool>())
        .prop_filter_map("both sides are numbers", |(operand, op, as_float)| {
            let data_type = operand.data_type();
            let json = data_type == DataType::Json;
            let float = data_type.is_float() || json && as_float;
            let fits = data_type.is_integer() || data_type.is_float() || json;
            let result = if float { DataType::Double } else { DataType::Int64 };
            (fits && !(float && op.is_integer_only())).then_some((operand, op, result))
        })
        .prop_flat_map(|(operand, op, result)| {
            let zero =
                |value: &Value| matches!(value, Value::Int(0)) || *value == Value::Float(0.0);
            let value =
                literal(result).prop_filter("no division by zero", move |value| !zero(value));
            (value, Just(operand), Just(op), Just(result))
        })
        .prop_map(|(value, operand, op, result)| Operand::Arithmetic {
            operand: Box::new(operand),
            op,
            value,
            result,
        })
        .boxed()
}
