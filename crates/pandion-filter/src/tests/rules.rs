//! The rules of the grammar and of the types, by table.

use super::*;
use crate::{PkConstraint, TimeZone, pk_constraint};

#[test]
fn empty_text_matches_everything() {
    for text in ["", "  ", "\n\t"] {
        assert!(filter(text).is_match_all(), "{text:?}");
    }
    assert!(!filter("false").is_match_all());
}

#[test]
fn messages_are_whole() {
    let schema = schema();
    let message = |text: &str| parse(text, &schema, &Templates::new()).unwrap_err().to_string();
    assert_eq!(
        message("nope > 1"),
        "failed to create query plan: cannot parse expression: nope > 1, error: field nope not \
         exist: invalid parameter"
    );
    assert_eq!(
        message("b"),
        "failed to create query plan: predicate is not a boolean expression: b, data type: Bool: \
         invalid parameter"
    );
    let long = format!("a in [{}1.5]", "1, ".repeat(10_000));
    let message = message(&long);
    assert!(message.len() < 2_000, "{}", message.len());
    assert!(
        message.contains("... (30010 bytes), error: value 'float_val:1.5' in list"),
        "{message}"
    );
}

#[test]
fn comparisons() {
    check("a>1", "a > 1");
    check("1 < a", "a > 1");
    check("1 >= a", "a <= 1");
    check("1 == a", "a == 1");
    check("a != -3", "a != -3");
    check("a == +3", "a == 3");
    check("__virtual_pk__ > -9223372036854775807", "__virtual_pk__ > -9223372036854775807");
    check("__virtual_pk__ in [1]", "__virtual_pk__ in [1]");
    check("-9223372036854775808 < __virtual_pk__ < 5", "-9223372036854775808 < __virtual_pk__ < 5");
    check("a > -9223372036854775808", "a > -9223372036854775808");
    check("f > 1", "f > 1.0");
    check("d == 1e300", "d == 1e300");
    check("f == 1.1", "f == 1.100000023841858");
    check("f < 1e300", "f < 1e300");
    check("s == 'x'", "s == \"x\"");
    check("t == 'x'", "t == \"x\"");
    check("b == true", "b == true");
    check("b != False", "b != false");
    check("i8 == 300", "i8 == 300");
    check("a == i8", "a == i8");
    check("f < d", "f < d");
    check("s == t", "s == t");
    check_error("a > 'x'", "comparisons between Int64 and VarChar are not supported");
    check_error("s > 1", "comparisons between VarChar and Int64 are not supported");
    check_error("a == s", "comparisons between Int64 and VarChar are not supported");
    check_error("b == 1", "comparisons between Bool and Int64 are not supported");
    check_error("v == 1", "comparisons between FloatVector and Int64 are not supported");
    check_error("g == 'POINT(0 0)'", "comparisons between Geometry and VarChar are not supported");
    check_error("ts > 1", "comparisons between Timestamptz and Int64 are not supported");
    check_error("a == 1.5", "cannot cast value to Int64, value: float_val:1.5");
    check_error("a == 9223372036854775808", "int64 overflow: 9223372036854775808");
    check_error("a == -9223372036854775809", "int64 overflow: 9223372036854775809");
    check_error("j == a", "two column comparison with JSON type is not supported");
    check_error("j['k'] == j['l']", "two column comparison with JSON type is not supported");
    check_error("ai[0] == a", "two column comparison with Array type is not supported");
    check_error("ai == ai", "two column comparison with Array type is not supported");
    check_error("a + 1 == i8", "only comparison between two fields is supported");
    check_error("(a > 1) == true", "not supported to combine multiple fields");
    check_error("(a > 1) == 1", "comparisons between Bool and Int64 are not supported");
    check_error("nope == 1", "field nope not exist");
    check_error("$meta['k'] == 1", "field $meta not exist");
    check_error("$meta == 1", "field $meta not exist");
}

#[test]
fn what_is_no_condition_is_refused() {
    let refused = |text: &str, data_type: &str| {
        check_error(
            text,
            &format!("predicate is not a boolean expression: {text}, data type: {data_type}"),
        );
    };
    refused("b", "Bool");
    refused("a", "Int64");
    refused("1", "Int64");
    refused("1.5", "Double");
    refused("'x'", "VarChar");
    refused("j['k']", "JSON");
    refused("ai", "Array");
    refused("ai[0]", "Array");
    refused("[1]", "Array");
    refused("a + 1", "Int64");
    refused("a + i8", "Int64");
    refused("2 ** 3", "Double");
    check("true", "true");
    check("FALSE", "false");
    check_error("NULL", "field NULL not exist");
}

#[test]
fn connectives_fold_and_flatten() {
    check("a > 1 and b == true AND s == 'x'", "a > 1 and b == true and s == \"x\"");
    check("a > 1 && (b == true && a < 9)", "a > 1 and b == true and a < 9");
    check("a > 1 or b == true || a < 0", "a > 1 or b == true or a < 0");
    check("a > 1 or a < 0 and b == true", "a > 1 or (a < 0 and b == true)");
    check("(a > 1 or a < 0) and b == true", "(a > 1 or a < 0) and b == true");
    check("not (a > 1)", "not (a > 1)");
    check("!(a > 1)", "not (a > 1)");
    check("not not (a > 1)", "a > 1");
    check("not (a > 1 and a < 9)", "not (a > 1 and a < 9)");
    check("not true", "false");
    check("not s like 'x'", "not (s like \"x\")");
    check("true and a > 1", "a > 1");
    check("false or a > 1", "a > 1");
    check("false and a > 1", "false");
    check("a > 1 or true", "true");
    check("(true or false) == true", "true");
    check_error("not a == 1", "not op can only be applied on boolean expression");
    check_error("not a in [1]", "not op can only be applied on boolean expression");
    check_error("not b", "not op can only be applied on boolean expression");
    check_error("not 1", "not op can only be applied on boolean expression");
    check_error("not ai", "can not comparisons array fields directly");
    check_error("b and a > 1", "'and' can only be used between boolean expressions");
    check_error("a > 1 or a", "'or' can only be used between boolean expressions");
    check_error("false and nope", "field nope not exist");
    check_error("false and 1", "and can only apply on boolean");
    check_error("true or 'x'", "or can only apply on boolean");
    // Keywords have two spellings only.
    check_error("a > 1 And b == true", "invalid expression: a > 1 And b == true");
    check_error("b == true Or a > 1", "invalid expression: b == true Or a > 1");
    check_error("Not (a > 1)", "an argument of function not is a condition: a>1");
    check_error("s Like 'x'", "invalid expression: s Like 'x'");
    check_error("a In [1]", "invalid expression: a In [1]");
    check_error("Exists j['k']", "invalid expression: Exists j['k']");
    check_error("b == tRUE", "field tRUE not exist");
}

#[test]
fn precedence_is_that_of_the_grammar() {
    check("a + 2 * 3 == 7", "(a + 6) == 7");
    check("a == 1 + 2 * 3", "a == 7");
    check("d == 2 ** 3 ** 2", "d == 64.0");
    check("d == -2 ** 2", "d == -4.0");
    check("d == 2 ** -1", "d == 0.5");
    check("a == (1 + 2) * 3", "a == 9");
    check("a == 7 - 2 - 1", "a == 4");
    check("(a & 1) == 1", "(a & 1) == 1");
    check_error("a & 1 == 1", "'bitand' cannot perform arithmetic between Int64 field and Bool");
}

#[test]
fn bit_operators_bind_looser_than_comparisons() {
    // `a == 6 & 3` is `(a == 6) & 3`.
    check_error("a == 6 & 3", "'bitand' cannot perform arithmetic between Bool field and Int64");
    check("a == (6 & 3)", "a == 2");
    check("a == (6 | 3)", "a == 7");
    check("a == (6 ^ 3)", "a == 5");
    check("(3 | a) > 4", "(a | 3) > 4");
    check("(a ^ 1) > 4", "(a ^ 1) > 4");
    check_error("(d & 1) == 1", "bitand can only apply on integer types");
    check_error(
        "(a & 1.5) == 1",
        "'bitand' cannot perform arithmetic between Int64 field and Double",
    );
    check_error("a == (1.5 | 1)", "bitor can only apply on integer");
    check_error("a << 1 == 2", "shift is not supported: a<<1");
    check_error("a == 1 >> 1", "shift is not supported: 1>>1");
    check_error("~a == 1", "unexpected op: ~");
    check_error("-a == 1", "unexpected op: -");
}

#[test]
fn arithmetic() {
    check("a + 1 == 2", "(a + 1) == 2");
    check("2 + a == 3", "(a + 2) == 3");
    check("2 * a == 3", "(a * 2) == 3");
    check("a % 10 == 3", "(a % 10) == 3");
    check("a / 2 >= 3", "(a / 2) >= 3");
    check("a - -1 == 3", "(a - -1) == 3");
    check("5 < a + 1", "(a + 1) > 5");
    check("f * 2 > 1", "(f * 2.0) > 1.0");
    check("d - 1.5 > 1", "(d - 1.5) > 1.0");
    check("j['k'] + 1 > 2", "(j[\"k\"] + 1) > 2");
    check("j['k'] * 1.5 > 2", "(j[\"k\"] * 1.5) > 2.0");
    check("ai[0] + 1 > 2", "(ai[0] + 1) > 2");
    check("af[0] + 1 > 2", "(af[0] + 1.0) > 2.0");
    check_error("a + 1.5 > 2", "'add' cannot perform arithmetic between Int64 field and Double");
    check_error("s + 1 > 2", "'add' cannot perform arithmetic between VarChar field and Int64");
    check_error("2 + s > 2", "'add' cannot perform arithmetic between VarChar field and Int64");
    check_error("a + 1 > 2.5", "cannot cast value to Int64, value: float_val:2.5");
    check_error("a + 1 > 'x'", "comparisons between Int64 and VarChar are not supported");
    check_error("ai + 1 == 2", "can not comparisons array fields directly");
    let many = "not supported to do arithmetic operations between multiple fields";
    check_error("a + i8 == 3", many);
    let complicated = "complicated arithmetic operations are not supported";
    check_error("(a + 1) * 2 == 3", complicated);
    check_error("(a + i8) / 2 == 3", complicated);
    check_error("array_length(ai) + 1 == 3", complicated);
    check_error("2 - a == 3", "module field is not yet supported");
    check_error("2 / a == 3", "module field is not yet supported");
    check_error("2 % a == 3", "module field is not yet supported");
    check_error("a / 0 == 3", "division or modulus by zero");
    check_error("d / 0.0 == 3", "division or modulus by zero");
    check_error("a % 0 == 3", "division or modulus by zero");
    check_error("d % 2 == 1", "modulo can only apply on integer types");
    check_error("j['k'] % 2.5 == 1", "modulo can only apply on integer types");
}

#[test]
fn constants_fold() {
    check("a == 7 / 2", "a == 3");
    check("a == -7 % 3", "a == -1");
    check("d == 7 / 2.0", "d == 3.5");
    check("d == 1.5 + 1", "d == 2.5");
    check("1 < 2", "true");
    check("1 == 1.0", "true");
    check("'a' < 'b'", "true");
    check("true != false", "true");
    check("1 < 2 and a > 1", "a > 1");
    check("a in [1 + 1, -2]", "a in [2, -2]");
    check_error("a == 1 / 0", "cannot divide by zero");
    check_error("d == 1 / 0.0", "cannot divide by zero");
    check_error("a == 1 % 0", "cannot modulo by zero");
    check_error("a == 1.5 % 2", "modulo can only apply on integer");
    check_error("a == true + 1", "add cannot apply on bool field");
    check_error("a == 'x' / 2", "divide cannot apply on string field");
    check_error("a == [1] * 2", "multiply cannot apply on array field");
    check_error("a == 'x' ** 2", "power cannot apply on string field");
    check_error("a == -'x'", "negative cannot apply on string field");
    check_error("a ** 2 == 4", "power can only apply on constants: a**2");
    check_error("a == 9223372036854775807 + 1", "int64 overflow: 9223372036854775807 + 1");
    check_error("d == 1e308 * 10", "the value of a constant expression is not a finite number");
    check_error("d == 1e999", "float64 overflow: 1e999");
    check_error(
        "1 < 3 < 2",
        "comparison operations cannot be applied to two incompatible operands: 1<3<2",
    );
    check_error(
        "true == 'x'",
        "comparison operations cannot be applied to two incompatible operands: true=='x'",
    );
}

#[test]
fn number_literals() {
    check("a == 0x1F", "a == 31");
    check("a == 0X1f", "a == 31");
    check("a == 0b101", "a == 5");
    check("a == 0777", "a == 511");
    check("a == 0", "a == 0");
    check("d == .5", "d == 0.5");
    check("d == 5.", "d == 5.0");
    check("d == 1e3", "d == 1000.0");
    check("d == 1.5E-3", "d == 0.0015");
    check("d == 0x1.8p1", "d == 3.0");
    check("d == 0x10p-1", "d == 8.0");
    check("d == 00.5", "d == 0.5");
    check_error("a == 089", "invalid expression: a == 089");
    check_error("a == 0b2", "invalid expression: a == 0b2");
    check_error("a == 1abc", "invalid expression: a == 1abc");
    check_error("d == 0x1p99999999999999999999", "float64 overflow: 0x1p99999999999999999999");
}

#[test]
fn ranges() {
    check("1 < a <= 5", "1 < a <= 5");
    check("5 >= a > 1", "1 < a <= 5");
    check("-5 <= a < 5", "-5 <= a < 5");
    check("1 <= a <= 1", "1 <= a <= 1");
    check("1 < f < 2", "1.0 < f < 2.0");
    check("'a' < s < 'b'", "\"a\" < s < \"b\"");
    check("1 < ai[0] < 2", "1 < ai[0] < 2");
    check("1 < j['k'] < 2.5", "1 < j[\"k\"] < 2.5");
    check("1 + 1 < a < 2 * 5", "2 < a < 10");
    check("1 < a < 5 and b == true", "1 < a < 5 and b == true");
    let reversed = "invalid range: lowerbound is greater than upperbound";
    check_error("5 < a < 1", reversed);
    check_error("1 < a <= 1", reversed);
    check_error("1 >= a >= 2", reversed);
    check_error("'b' < s < 'a'", reversed);
    check_error("1 < s < 2", "invalid range operations");
    check_error("1.0 < a < 2", "invalid range operations");
    check_error("true < f < false", "invalid range operations");
    check_error("1 < ts < 2", "invalid range operations");
    check_error("false < b < true", "invalid range operations on boolean expr");
    check_error("1 < ai < 2", "can not comparisons array fields directly");
    check_error("i8 < a < 2", "lowerbound cannot be a non-const expression: i8");
    check_error("1 < a < (i8)", "upperbound cannot be a non-const expression: (i8)");
    // Only chains of one direction around a name are ranges.
    check_error("1 < a > 2", "comparisons between Bool and Int64 are not supported");
    check_error("1 < (a) < 2", "comparisons between Bool and Int64 are not supported");
    check_error("1 < a + 1 < 2", "comparisons between Bool and Int64 are not supported");
}

#[test]
fn lists() {
    check("a in [1, 2]", "a in [1, 2]");
    check("a in[1,2,]", "a in [1, 2]");
    check("a not in [1]", "a not in [1]");
    check("a NOT IN [1]", "a not in [1]");
    check("a in []", "a in []");
    check("a not in [ ]", "a not in []");
    check("f in [1, 2.5]", "f in [1.0, 2.5]");
    check("s in ['x', \"y\"]", "s in [\"x\", \"y\"]");
    check("b in [true]", "b in [true]");
    check("ai[0] in [1, 2]", "ai[0] in [1, 2]");
    check("j['k'] in [1, 2.5, 'x', true]", "j[\"k\"] in [1, 2.5, \"x\", true]");
    check("ai in [[1, 2], []]", "ai in [[1, 2], []]");
    check("ts in []", "ts in []");
    check("not (a in [1])", "a not in [1]");
    check("(a in [1]) and a not in [2]", "a in [1] and a not in [2]");
    check_error("a in [1.0]", "value 'float_val:1' in list cannot be casted to Int64");
    check_error("a in [1, 2.5]", "value 'float_val:2.5' in list cannot be casted to Int64");
    check_error("b in [0]", "value 'int64_val:0' in list cannot be casted to Bool");
    check_error("s in [4]", "value 'int64_val:4' in list cannot be casted to VarChar");
    check_error("a in ['x']", "value 'string_val:\"x\"' in list cannot be casted to Int64");
    check_error("ai in [1]", "value 'int64_val:1' in list cannot be casted to Array");
    check_error(
        "a in [[1, 2]]",
        "value 'array_val:{array:{int64_val:1} array:{int64_val:2}}' in list cannot be casted to \
         Int64",
    );
    check_error("a in 5", "the right-hand side of 'in' must be a list, but got: 5");
    check_error("a in i8", "value 'i8' in list cannot be a non-const expression");
    check_error("a in [i8]", "array element type must be generic value, but got: i8");
    check_error("1 in [1]", "'term' can only be used on non-const expression, but got: 1");
    check_error("(a + 8) in [1]", "'term' can only be used on single field, but got: (a+8)");
    check_error(
        "array_length(ai) in [1]",
        "'term' can only be used on single field, but got: array_length(ai)",
    );
    check_error("a in [1", "line 1:7 mismatched input '<EOF>' expecting {',', ']'}");
    check_error("a in (1, 2)", "line 1:7 mismatched input ',' expecting ')'");
}

#[test]
fn strings_and_their_escapes() {
    check(r#"s == "a\"b""#, r#"s == "a\"b""#);
    check(r"s == 'a\'b'", r#"s == "a'b""#);
    check(r#"s == 'a"b'"#, r#"s == "a\"b""#);
    check(r"s == 'tab\tend'", r#"s == "tab\tend""#);
    check(r"s == '\x41\101\u0041\U00000041\?'", r#"s == "AAAA?""#);
    check(r"s == '\xe4\xbd\xa0'", r#"s == "你""#);
    check(r"s == '\a\0'", r#"s == "\u0007\u0000""#);
    check("s == 'a\\\nb'", r#"s == "ab""#);
    check("s == u8'x'", r#"s == "x""#);
    check("s == L\"x\"", r#"s == "x""#);
    check(r#"s == r"a\nb\"c""#, r#"s == "a\\nb\\\"c""#);
    check(r"s == R'a\\'", r#"s == "a\\\\""#);
}

#[test]
fn broken_strings_are_refused() {
    check_error(r"s == 'a\qb'", r"invalid escape sequence \q in string 'a\qb'");
    check_error(r"s == '\u12'", r"invalid escape sequence \u in string '\u12'");
    check_error(r"s == '\ud800'", r"invalid escape sequence \u in string '\ud800'");
    check_error(r"s == '\777'", r"invalid escape sequence \7 in string '\777'");
    check_error(r"s == '\xff'", r"string '\xff' is not UTF-8");
    check_error("s == 'abc", "line 1:5 token recognition error at: '''");
    check_error("s == 'a\nb'", "line 1:5 token recognition error at: '''");
    check_error("s == r'a\\", "line 1:5 token recognition error at: 'r'");
}

#[test]
fn like_and_regex() {
    check("s like 'a%'", "s like \"a%\"");
    check("s LIKE '%a_'", "s like \"%a_\"");
    check(r"s like '100\%'", r#"s like "100\\%""#);
    check(r"s like '100\\%'", r#"s like "100\\%""#);
    check(r"s like r'100\%'", r#"s like "100\\%""#);
    check("j['k'] like 'a%'", "j[\"k\"] like \"a%\"");
    check("j like 'a%'", "j like \"a%\"");
    check("as[0] like 'a%'", "as[0] like \"a%\"");
    check("t like 'a'", "t like \"a\"");
    check("s =~ '^a.*'", "s =~ \"^a.*\"");
    check(r"s !~ '\d+'", r#"s !~ "\\d+""#);
    check("not (s =~ 'x')", "s !~ \"x\"");
    check_error("a like 'x'", "like operation on non-string or no-json field is unsupported");
    check_error("ai[0] like 'x'", "like operation on non-string or no-json field is unsupported");
    check_error("as like 'x'", "can not comparisons array fields directly");
    check_error("(a % 2) like 'x'", "like operation on complicated expr is unsupported");
    check_error("'x' like 'x'", "like operation on complicated expr is unsupported");
    check_error("s like 5", "the right operand of like must be a string, but got: 5");
    check_error("s like s", "the right operand of like must be a string, but got: s");
    check_error("a =~ 'x'", "regex operation on non-string or no-json field is unsupported");
}

#[test]
fn null_tests_follow_a_name() {
    check("a is null", "a is null");
    check("a IS NOT NULL", "a is not null");
    check("v is null", "v is null");
    check("j['k'] is null", "j[\"k\"] is null");
    check("j is not null", "j is not null");
    check("ai[0] is null", "ai[0] is null");
    check("not (a is null) and b == true", "not (a is null) and b == true");
    check("__virtual_pk__ is null", "__virtual_pk__ is null");
    check_error("(a) is null", "invalid expression: (a) is null");
    check_error("(j['k']) is null", "invalid expression: (j['k']) is null");
    check_error("1 is null", "invalid expression: 1 is null");
    check_error("array_length(ai) is null", "invalid expression: array_length(ai) is null");
    check_error("a is  null", "invalid expression: a is  null");
    check_error("a Is Null", "invalid expression: a Is Null");
    check_error("nope is null", "field nope not exist");
}

#[test]
fn json_paths_and_array_elements() {
    check("j['k'][0]['l'] == 1", "j[\"k\"][0][\"l\"] == 1");
    check("j[0] == 1", "j[0] == 1");
    check("j == 1", "j == 1");
    check(r#"j["a\"b"] == 1"#, r#"j["a\"b"] == 1"#);
    check(r"j['\u4f60'] == 1", r#"j["你"] == 1"#);
    check(r"j[r'a\b'] == 1", r#"j["a\\b"] == 1"#);
    check("j['k'] == [1, 'x']", "j[\"k\"] == [1, \"x\"]");
    check("j['k'] == []", "j[\"k\"] == []");
    check("[[1]] == j['k']", "j[\"k\"] == [[1]]");
    check("j['k'] == true", "j[\"k\"] == true");
    check("1 < j['k']", "j[\"k\"] > 1");
    check("ai[0] == 1", "ai[0] == 1");
    check("af[12] < 1", "af[12] < 1.0");
    check("ai == [1, 2]", "ai == [1, 2]");
    check("[1, 2] != ai", "ai != [1, 2]");
    check("ai == []", "ai == []");
    check("af == [1, 2.5]", "af == [1.0, 2.5]");
    check_error("j[''] == 1", "invalid identifier: j['']");
    check_error("a['k'] == 1", "Int64 data type not supported accessed with []");
    check_error("ai['k'] == 1", "can only access array field with integer index");
    check_error("ai[0][1] == 1", "array field ai is accessed with more than one index");
    check_error("ai[0] == 'x'", "comparisons between Array[Int64] and VarChar are not supported");
    check_error("ai == 1", "cannot cast value to Array, value: int64_val:1");
    check_error(
        "ai == ['x']",
        "comparisons between Array[Int64] and Array[VarChar] are not supported",
    );
    check_error("ai == [1, 2.5]", "cannot cast value to Array, value: float_val:2.5");
    check_error("ai < [1]", "can not comparisons array fields directly");
    check_error("j ['k'] == 1", "invalid expression: j ['k'] == 1");
    check_error("j['k' >= 3", "invalid expression: j['k' >= 3");
    check_error("st[sub] == 1", "field st[sub] not exist");
    check_error("st[0][sub] == 1", "field st[0][sub] not exist");
    check_error(
        "j[99999999999999999999] == 1",
        "index 99999999999999999999 is out of range in identifier: j[99999999999999999999]",
    );
}

#[test]
fn exists_takes_a_json_key() {
    check("exists j['k']", "exists j[\"k\"]");
    check("EXISTS j['k'][0] and a > 1", "exists j[\"k\"][0] and a > 1");
    check("not exists j['k']", "not (exists j[\"k\"])");
    check_error("exists j", "exists operations are only supportted on json key");
    check_error("exists a", "exists operations are only supportted on json field, got:Int64");
    check_error("exists ai[0]", "exists operations are only supportted on json field, got:Array");
    check_error(
        "exists (a + 1)",
        "exists operations are only supported on single fields now, got: (a+1)",
    );
    check_error("exists j['k'] == 1", "comparisons between Bool and Int64 are not supported");
}

#[test]
fn contains() {
    check("json_contains(j['k'], 1)", "json_contains(j[\"k\"], 1)");
    check("JSON_CONTAINS(j, [1, 'x'])", "json_contains(j, [1, \"x\"])");
    check("json_contains_all(j['k'], [1, 'x'])", "json_contains_all(j[\"k\"], [1, \"x\"])");
    check("json_contains_any(j['k'], [])", "json_contains_any(j[\"k\"], [])");
    check("array_contains(ai, 1)", "array_contains(ai, 1)");
    check("json_contains(ai, 1)", "array_contains(ai, 1)");
    check("array_contains(j['k'], 1)", "json_contains(j[\"k\"], 1)");
    check("ARRAY_CONTAINS_ALL(af, [1, 2.5])", "array_contains_all(af, [1.0, 2.5])");
    check("array_contains_any(as, ['x'])", "array_contains_any(as, [\"x\"])");
    check_error(
        "json_contains(a, 1)",
        "contains operation are only supported on json or array fields now, got: a",
    );
    check_error(
        "array_contains_all(ai[0], [1])",
        "contains_all operation are only supported on json or array fields now, got: ai[0]",
    );
    check_error(
        "array_contains_any(ai, a)",
        "contains_any operation are only supported explicitly specified element, got: a",
    );
    check_error("array_contains_all(ai, 1)", "ContainsAll operation element must be an array");
    check_error("json_contains_any(j, 1)", "ContainsAny operation element must be an array");
    check_error("array_contains(ai, 1.5)", "cannot cast value to Int64, value: float_val:1.5");
    check_error(
        "array_contains_any(ai, ['x'])",
        "ContainsAny operation can't compare between array element type: Int64 and VarChar",
    );
    check_error("array_contains(ai)", "function array_contains takes 2 arguments, got 1");
    check_error(
        "Json_Contains(j, 1)",
        "function name Json_Contains must be all lower or all upper case",
    );
}

#[test]
fn array_length() {
    check("array_length(ai) == 3", "array_length(ai) == 3");
    check("ARRAY_LENGTH(j['k']) > 3", "array_length(j[\"k\"]) > 3");
    check("3 < array_length(j)", "array_length(j) > 3");
    let refused = |text: &str, got: &str| {
        check_error(
            text,
            &format!(
                "array_length operation are only supported on json or array fields now, got: {got}"
            ),
        );
    };
    refused("array_length(a) == 1", "array_length(a)");
    refused("array_length( ai[0] ) == 1", "array_length(ai[0])");
    refused("array_length([1]) == 1", "array_length([1])");
    check_error("array_length(ai) == 1.5", "cannot cast value to Int64, value: float_val:1.5");
}

#[test]
fn text_functions() {
    check("text_match(m, 'x y')", "text_match(m, \"x y\")");
    check(
        "TEXT_MATCH(m, 'x', minimum_should_match=2)",
        "text_match(m, \"x\", minimum_should_match=2)",
    );
    check(
        "text_match_fuzzy(m, 'x', max_edit_distance=1)",
        "text_match_fuzzy(m, \"x\", max_edit_distance=1)",
    );
    check("phrase_match(m, 'x')", "phrase_match(m, \"x\", 0)");
    check("phrase_match(m, 'x', 2)", "phrase_match(m, \"x\", 2)");
    check_error("text_match(s, 'x')", "field \"s\" does not enable match");
    check_error("text_match(a, 'x')", "text match operation on non-string is unsupported");
    check_error("phrase_match(a, 'x')", "phrase match operation on non-string is unsupported");
    check_error("phrase_match(s, 'x')", "field \"s\" does not enable match");
    check_error("text_match(m, 5)", "text_match takes a string as its second argument, got: 5");
    check_error(
        "text_match('m', 'x')",
        "text match takes a field name as its first argument, got: 'm'",
    );
    check_error(
        "text_match(m, 'x', minimum_should_match=0)",
        "minimum_should_match should be >= 1, got 0",
    );
    check_error(
        "text_match(m, 'x', minimum_should_match=1001)",
        "minimum_should_match should be <= 1000, got 1001",
    );
    check_error("text_match(m, 'x', other=1)", "function text_match has no option other");
    check_error(
        "text_match_fuzzy(m, 'x', max_edit_distance=3)",
        "max_edit_distance should be between 0 and 2, got 3",
    );
    check_error("text_match_fuzzy(m, 'x')", "text_match_fuzzy takes the option max_edit_distance");
    check_error(
        "phrase_match(m, 'x', -1)",
        "\"slop\" should not be a negative interger. \"slop\" passed: -1",
    );
    check_error(
        "phrase_match(m, 'x', 4294967296)",
        "\"slop\" exceeds the range of \"uint32\". \"slop\" expression passed: 4294967296",
    );
    check_error(
        "phrase_match(m, 'x', 1.5)",
        "\"slop\" should be a const integer expression with \"uint32\" value. \"slop\" expression \
         passed: 1.5",
    );
}

#[test]
fn random_sample_stands_last() {
    check("random_sample(0.5)", "random_sample(0.5)");
    check("a > 1 and random_sample(0.5)", "a > 1 and random_sample(0.5)");
    check(
        "a > 1 and (b == true and random_sample(.5))",
        "a > 1 and b == true and random_sample(0.5)",
    );
    check("random_sample(0.5) and true", "random_sample(0.5)");
    let last = "random sample expression can only be the last expression in the logical and \
                expression";
    check_error("random_sample(0.5) and a > 1", last);
    check_error("(a > 1 and random_sample(0.5)) and a > 2", last);
    let or = "random sample expression cannot be used in logical and expression";
    check_error("random_sample(0.5) or a > 1", or);
    check_error("a > 1 or (a > 2 and random_sample(0.5))", or);
    check_error("true or (random_sample(0.5) or a > 1)", or);
    check_error(
        "not random_sample(0.5)",
        "random sample expression cannot be used in unary expression",
    );
    for factor in ["0.0", "1.0", "1", "0.99999999999", "-0.5"] {
        check_error(
            &format!("random_sample({factor})"),
            &format!(
                "the sample factor should be between 0 and 1 and not too close to 0 or 1(the \
                 difference should be larger than 1e-10), but got {factor}"
            ),
        );
    }
    check_error(
        "random_sample(a)",
        "\"float factor\" should be a const float expression: \"float factor\" passed: a",
    );
}

#[test]
fn element_conditions() {
    check("match_any(ai, $ > 5)", "match_any(ai, $ > 5)");
    check("MATCH_ALL(as, $ like 'a%' or $ == 'b')", "match_all(as, $ like \"a%\" or $ == \"b\")");
    check("match_least(ai, 1 < $ < 5, threshold=2)", "match_least(ai, 1 < $ < 5, threshold=2)");
    check("match_most(ai, $ in [1], THRESHOLD=0)", "match_most(ai, $ in [1], threshold=0)");
    check(
        "match_exact(ai, ($ + 1) == 2, threshold=1)",
        "match_exact(ai, ($ + 1) == 2, threshold=1)",
    );
    check("not match_any(ai, $ > 5)", "not (match_any(ai, $ > 5))");
    check("a > 1 and element_filter(ai, $ > 5)", "a > 1 and element_filter(ai, $ > 5)");
    check("false or element_filter(ai, $ > 5)", "element_filter(ai, $ > 5)");
    let last = "element filter expression can only be the last expression in the logical";
    check_error("element_filter(ai, $ > 5) and a > 1", &format!("{last} and expression"));
    check_error("element_filter(ai, $ > 5) or a > 1", &format!("{last} or expression"));
    check_error("a > 1 or element_filter(ai, $ > 5)", &format!("{last} or expression"));
    check_error(
        "not element_filter(ai, $ > 5)",
        "element filter expression cannot be used in unary expression",
    );
    check_error("$ > 5", "$ syntax can only be used inside ElementFilter or MATCH_*");
    check_error("$[x] > 5", "$[x] syntax can only be used inside ElementFilter or MATCH_*");
    check_error(
        "element_filter(st, $[x] > 5)",
        "cannot parse element expression: $[x]>5, error: array field not found: st[x], error: \
         field st[x] not exist",
    );
    check_error(
        "match_any(nope, $ > 5)",
        "cannot parse predicate expression: $>5, error: field nope not exist",
    );
    check_error("match_any(nope, a > 5)", "field nope not exist");
    check_error("match_any(a, b == true)", "MATCH_ANY is only supported on array fields, got: a");
    check_error(
        "match_any(ai, match_all(ai, $ > 5))",
        "cannot parse predicate expression: match_all(ai,$>5), error: nested MATCH_ALL is not \
         supported, already inside match expression for field: ai",
    );
    check_error(
        "element_filter(ai, element_filter(ai, $ > 5))",
        "cannot parse element expression: element_filter(ai,$>5), error: nested ElementFilter is \
         not supported, already inside ElementFilter for field: ai",
    );
    check_error(
        "match_least(ai, $ > 5, threshold=0)",
        "count in MATCH_LEAST must be positive, got: 0",
    );
    check_error("match_least(ai, $ > 5)", "MATCH_LEAST takes the option threshold");
    check_error("match_any(ai, $ > 5, threshold=1)", "function match_any has no option threshold");
    check_error(
        "match_any(ai, random_sample(0.5))",
        "random sample expression cannot be used in MATCH_ANY",
    );
}

#[test]
fn spatial_functions() {
    for relation in crate::SpatialRelation::ALL {
        let name = relation.function();
        check(&format!("{name}(g, 'POINT(0 0)')"), &format!("{name}(g, \"POINT(0 0)\")"));
    }
    check("ST_DWITHIN(g, 'POINT(0 0)', 5)", "st_dwithin(g, \"POINT(0 0)\", 5.0)");
    check("st_isvalid(g)", "st_isvalid(g)");
    check_error(
        "st_equals(s, 'POINT(0 0)')",
        "spatial operation are only supported on geometry fields now, got: \
         st_equals(s,'POINT(0 0)')",
    );
    check_error(
        "st_isvalid(s)",
        "STIsValid operation are only supported on geometry fields now, got: st_isvalid(s)",
    );
    check_error(
        "st_dwithin(g, 'POINT(0 0)', -1)",
        "distance parameter must be non-negative, got: -1.000000",
    );
    check_error(
        "st_dwithin(g, 'POINT(0 0)', 'x')",
        "distance parameter must be a numeric value (int or float), got: 'x'",
    );
    check_error(
        "st_dwithin(g, 'POINT(0 0)', a)",
        "distance parameter must be a constant numeric value, got: a",
    );
}

#[test]
fn other_calls_are_passed_on() {
    check("Starts_With(s, 'x')", "starts_with(s, \"x\")");
    check("empty(s)", "empty(s)");
    check("now()", "now()");
    check("fn(j['k'], a + 1, [1, 2],)", "fn(j[\"k\"], (a + 1), [1, 2])");
    check_error("fn(a + i8)", "not supported to do arithmetic operations between multiple fields");
    check_error("fn(nope)", "field nope not exist");
    check_error("fn(a, x=1)", "function fn has no option x");
}

#[test]
fn instants() {
    check("ts > ISO '2025-01-01T00:00:00+08:00'", "ts > ISO '2024-12-31T16:00:00Z'");
    check("ISO '2025-01-01T00:00:00Z' < ts", "ts > ISO '2025-01-01T00:00:00Z'");
    check("ts == iso '2025-01-01'", "ts == ISO '2025-01-01T00:00:00Z'");
    check("iso == iso '2025-01-01'", "iso == ISO '2025-01-01T00:00:00Z'");
    check("threshold == 5", "threshold == 5");
    check("ts + INTERVAL 'P1DT2H' > ISO '2025-01-02T02:00:00Z'", "ts > ISO '2025-01-01T00:00:00Z'");
    check("ts - interval 'PT1S' <= iso '2025-01-01'", "ts <= ISO '2025-01-01T00:00:01Z'");
    check(
        "ISO '2025-01-01T00:00:00Z' >= ts - INTERVAL 'P1M'",
        "ts - INTERVAL 'P1M' <= ISO '2025-01-01T00:00:00Z'",
    );
    check(
        "ts + INTERVAL 'P9999999D' > ISO '2025-01-01T00:00:00Z'",
        "ts + INTERVAL 'P9999999D' > ISO '2025-01-01T00:00:00Z'",
    );
    check("not ts > ISO '2025-01-01'", "not (ts > ISO '2025-01-01T00:00:00Z')");
    check("ts is null", "ts is null");
    check_error("a > ISO '2025-01-01'", "field 'a' is not a timestamptz datatype");
    check_error("nope > ISO '2025-01-01'", "field nope not exist");
    check_error("ts > ISO 'soon'", "invalid timestamptz string: 'soon'");
    check_error("ts + INTERVAL '1D' > ISO '2025-01-01'", "invalid ISO 8601 duration: 1D");
    check_error("ISO '2025-01-01' < 5", "line 1:19 mismatched input '5' expecting a field name");
}

#[test]
fn instants_without_an_offset_are_local() {
    let options = ParseOptions { time_zone: "Asia/Shanghai".parse::<TimeZone>().unwrap() };
    let text = "ts > ISO '2025-01-01T08:00:00'";
    let local = parse_with(text, &schema(), &Templates::new(), &options).unwrap();
    assert_eq!(local, filter("ts > ISO '2025-01-01T00:00:00Z'"));
}

#[test]
fn templates_take_the_place_of_constants() {
    check_template("a == {n}", Ok("a == 7"));
    check_template("{n} < a", Ok("a > 7"));
    check_template("f > {n}", Ok("f > 7.0"));
    check_template("b == {flag}", Ok("b == true"));
    check_template("s == {s}", Ok(r#"s == "quo\"te\\%""#));
    check_template("s like {s}", Ok(r#"s like "quo\"te\\%""#));
    check_template("s =~ {s}", Ok(r#"s =~ "quo\"te\\%""#));
    check_template("a in {ids}", Ok("a in [3, 1]"));
    check_template("a not in {none}", Ok("a not in []"));
    check_template("f in {ids}", Ok("f in [3.0, 1.0]"));
    check_template("j['k'] in {mixed}", Ok("j[\"k\"] in [3, \"x\"]"));
    check_template("j['k'] == {json}", Ok("j[\"k\"] == [1, 2.5, \"x\", [true]]"));
    check_template("1 < a < {n}", Ok("1 < a < 7"));
    check_template("a + {n} > 1", Ok("(a + 7) > 1"));
    check_template("array_length(ai) == {n}", Ok("array_length(ai) == 7"));
    check_template("array_contains_any(ai, {ids})", Ok("array_contains_any(ai, [3, 1])"));
    check_template("ai == {ids}", Ok("ai == [3, 1]"));
    check_template("text_match(m, {s})", Ok(r#"text_match(m, "quo\"te\\%")"#));
    check_template("{flag} and a > 1", Ok("a > 1"));
    let missing = "the value of expression template variable name {nope} is not found";
    check_template("a == {nope}", Err(missing));
    check_template("a in {nope}", Err(missing));
    check_template("a == {x}", Err("cannot cast value to Int64, value: float_val:1.5"));
    check_template("a in {mixed}", Err("cannot cast value to Int64, value: string_val:\"x\""));
    check_template(
        "a in {n}",
        Err("the value of term expression template variable {n} is not array"),
    );
    check_template("a in [{n}]", Err("array element type must be generic value, but got: {n}"));
    check_template(
        "s like {n}",
        Err("the value of like expression template variable {n} is not string"),
    );
    check_template(
        "{n} == 7",
        Err("placeholder was not supported between two constants with operator: =="),
    );
    check_template(
        "{n} + 1 == a",
        Err("placeholder was not supported between two constants with operator: +"),
    );
    check_template("9 < a < {n}", Err("invalid range: lowerbound is greater than upperbound"));
    check_template("{n}", Err("predicate is not a boolean expression: {n}, data type: None"));
    let unusable = |name: &str, why: &str| {
        format!("the value of expression template variable {{{name}}} cannot be used: {why}")
    };
    let refused = |text: &str, name: &str, why: &str| {
        check_template(text, Err(&unusable(name, why)));
    };
    refused("d == {nan}", "nan", "NaN is not a finite number");
    refused("j == {object}", "object", "null and objects are no constants");
    let broken = detail("j == {broken}", &templates()).unwrap_err();
    assert!(broken.starts_with(&unusable("broken", "no JSON document: ")), "{broken}");
    check_template("a == {n", Err("line 1:7 mismatched input '<EOF>' expecting '}'"));
    check_template("a == {1}", Err("line 1:6 mismatched input '1' expecting a template name"));
}

#[test]
fn syntax_errors_name_line_and_column() {
    check_error("a >", "line 1:3 mismatched input '<EOF>' expecting an expression");
    check_error("a > and", "line 1:4 mismatched input 'and' expecting an expression");
    check_error("a >\n  )", "line 2:2 mismatched input ')' expecting an expression");
    check_error("(a > 1", "line 1:6 mismatched input '<EOF>' expecting ')'");
    check_error("a > 1)", "invalid expression: a > 1)");
    check_error("a b", "invalid expression: a b");
    check_error("a = 1", "invalid expression: a = 1");
    check_error("s == '你' # 1", "line 1:9 token recognition error at: '#'");
    check_error("你 > 1", "line 1:0 token recognition error at: '你'");
    check_error("a == [,]", "line 1:6 mismatched input ',' expecting an expression");
    check_error("empty(a", "line 1:7 mismatched input '<EOF>' expecting {',', ')'}");
}

#[test]
fn fields_that_are_read() {
    let schema = schema();
    let names = |text: &str| {
        let fields = filter(text).referenced_fields();
        let names = fields.iter().map(|id| schema.field_by_id(*id).unwrap().name.clone());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("true"), "");
    assert_eq!(names("a > 1 and (j['k'] == 1 or not (s like 'x')) and a < 5"), "a s j");
    assert_eq!(names("i8 < i16 and exists j['k'] and v is null"), "i8 i16 j v");
    assert_eq!(names("array_length(ai) == 1 and f + 1 > 2 and 1 < d < 2"), "f d ai");
    assert_eq!(names("text_match(m, 'x') and st_isvalid(g) and empty(s)"), "s g m");
    assert_eq!(names("match_any(ai, $ > 5) and ts + INTERVAL 'P1M' > ISO '2025-01-01'"), "ai ts");
}

#[test]
fn primary_key_constraints() {
    let pk = |text: &str| pk_constraint(&predicate(&text.replace("pk", VIRTUAL_PK_NAME)));
    let ids = |ids: &[i64]| Some(PkConstraint::Ids(ids.to_vec()));
    let range = |lower, upper| Some(PkConstraint::Range { lower, upper });
    assert_eq!(pk("a > 1"), None);
    assert_eq!(pk("true"), None);
    assert_eq!(pk("pk != 5"), None);
    assert_eq!(pk("pk == 5 or a > 1"), None);
    assert_eq!(pk("not (pk == 5)"), None);
    assert_eq!(pk("pk + 1 == 5"), None);
    assert_eq!(pk("false"), ids(&[]));
    assert_eq!(pk("pk == 5"), ids(&[5]));
    assert_eq!(pk("pk in [3, 1, 3, 2]"), ids(&[1, 2, 3]));
    assert_eq!(pk("pk in [1, 2, 3] and a > 1 and pk in [3, 4, 2]"), ids(&[2, 3]));
    assert_eq!(pk("pk in [1, 2, 3] and pk > 1"), ids(&[2, 3]));
    assert_eq!(pk("pk > 5"), range(6, i64::MAX));
    assert_eq!(pk("pk >= 5 and 9 > pk and a == 1"), range(5, 8));
    assert_eq!(pk("5 < pk <= 9"), range(6, 9));
    assert_eq!(pk("pk > 5 and pk < 7"), ids(&[6]));
    assert_eq!(pk("pk > 5 and pk < 3"), ids(&[]));
    assert_eq!(pk("pk > 9223372036854775807"), ids(&[]));
    assert_eq!(pk("pk < -9223372036854775808"), ids(&[]));
    assert_eq!(pk("pk > -9223372036854775807"), range(i64::MIN + 2, i64::MAX));
}
