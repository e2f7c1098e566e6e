//! Long lists, long chains and deep nesting: accepted, or refused with an error, never with a
//! crash.

use super::*;
use crate::{MAX_EXPRESSION_BYTES, MAX_NESTING_DEPTH, MAX_NODES, Value};

#[test]
fn lists_of_a_million_elements_pass() {
    for count in [100_000, 1_000_000] {
        let ids: Vec<String> = (0..count).map(|id: i64| id.to_string()).collect();
        let parsed = predicate(&format!("{VIRTUAL_PK_NAME} in [{}]", ids.join(",")));
        let Predicate::In { values, .. } = parsed else { panic!("{count} elements make a list") };
        assert_eq!(values.len(), ids.len());
        assert_eq!(values.last(), Some(&Value::Int(count - 1)));
    }
}

#[test]
fn chains_of_connectives_are_flat() {
    for joint in [" or ", " and "] {
        let chain = vec!["a == 1"; 10_000].join(joint);
        let parsed = predicate(&chain);
        assert_eq!(parsed.to_string(), chain);
        assert_eq!(parsed, parsed.clone());
        let (Predicate::Or(operands) | Predicate::And(operands)) = parsed else {
            panic!("the chain is one connective")
        };
        assert_eq!(operands.len(), 10_000);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}a > 1{}", open.repeat(depth), close.repeat(depth))
    };
    check(&nested("(", ")", 100), "a > 1");
    check(&format!("{}(a > 1)", "not ".repeat(100)), "a > 1");
    let refused = format!("the nesting depth of the expression exceeds {MAX_NESTING_DEPTH}");
    for depth in [MAX_NESTING_DEPTH, 100_000] {
        for (open, close) in [("(", ")"), ("not ", ""), ("not (", ")"), ("[", "]"), ("fn(", ")")] {
            assert_refused(&nested(open, close, depth), &refused);
        }
        assert_refused(&format!("a == 1{}", " + 1".repeat(depth)), &refused);
        assert_refused(&format!("a == {}1", "-".repeat(depth)), &refused);
        assert_refused(&format!("a{}", " == 1".repeat(depth)), &refused);
        assert_refused(&format!("exists {}", "exists ".repeat(depth)), &refused);
        // Never closed.
        assert_refused(&"(".repeat(depth + 1), &refused);
    }
}

/// The stack of a worker thread is 2 MiB, and a request has used some of it.
#[test]
fn what_nests_to_the_limit_fits_in_a_small_stack() {
    let depth = MAX_NESTING_DEPTH - 2;
    let texts = [
        format!("{}a > 1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("{}(a > 1)", "not ".repeat(depth - 1)),
        format!("j == {}1{}", "[".repeat(depth - 2), "]".repeat(depth - 2)),
        format!("a == {}1", "- ".repeat(depth - 1)),
        format!("a == 1{}", " + 1".repeat(depth - 2)),
        format!("{}a > 1{}", "a > 1 or (b == true and (".repeat(depth / 4), "))".repeat(depth / 4)),
    ];
    let stack = std::thread::Builder::new().stack_size(1024 * 1024);
    let worker = stack.spawn(move || {
        for text in texts {
            let parsed = filter(&text);
            assert_eq!(filter(&parsed.to_string()), parsed.clone());
            assert!(parsed.referenced_fields().len() <= 2);
        }
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn lists_of_templates_nest_so_far() {
    let nested = |depth: usize| {
        (0..depth).fold(TemplateValue::Int64(1), |value, _| TemplateValue::Array(vec![value]))
    };
    let parse = |depth: usize| {
        let templates = Templates::from_iter([("x", nested(depth))]);
        parse("j == {x}", &schema(), &templates)
    };
    assert!(parse(32).is_ok());
    let error = parse(33).unwrap_err();
    assert!(error.message().contains("its lists nest deeper than 32"), "{error}");
    let json = format!("{}{}", "[".repeat(1000), "]".repeat(1000)).into_bytes();
    let templates = Templates::from_iter([("x", TemplateValue::Json(json))]);
    assert!(super::parse("j == {x}", &schema(), &templates).is_err());
}

#[test]
fn size_is_bounded() {
    let long = format!("s == '{}'", "x".repeat(MAX_EXPRESSION_BYTES));
    assert_refused(
        &long,
        &format!(
            "the expression has {} bytes, more than the {MAX_EXPRESSION_BYTES} allowed",
            long.len()
        ),
    );
    let many = format!("a in [{}1]", "1,".repeat(MAX_NODES));
    assert_refused(
        &many,
        &format!("the expression has more than {MAX_NODES} literals, fields and operators"),
    );
}

#[test]
fn template_lists_count_every_time_they_are_named() {
    let list = TemplateValue::Array(vec![TemplateValue::Int64(1); MAX_NODES / 4]);
    let templates = Templates::from_iter([("x", list)]);
    let text = |times: usize| vec!["a in {x}"; times].join(" or ");
    assert!(parse(&text(3), &schema(), &templates).is_ok());
    let error = parse(&text(5), &schema(), &templates).unwrap_err();
    assert!(error.message().contains("the lists together have more than"), "{error}");
}

#[track_caller]
fn assert_refused(text: &str, why: &str) {
    let error = parse(text, &schema(), &Templates::new()).unwrap_err();
    assert!(error.message().ends_with(&format!("error: {why}: invalid parameter")), "{error}");
    assert!(error.message().len() < 4_000, "the text is cut short");
}
