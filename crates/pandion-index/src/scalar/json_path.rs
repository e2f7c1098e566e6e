//! The path of a JSON index, as clients write it: `field["a"]["b"][0]`, or `/a/b/0` as a JSON
//! pointer.

use pandion_filter::PathSegment;
use pandion_types::{Error, Result};

/// The most steps of a path; no filter reaches deeper.
const STEPS_MAX: usize = 128;

/// Reads the path of an index on `field`.
///
/// # Errors
/// `InvalidArgument` that names the path.
pub(super) fn parse(field: &str, path: &str) -> Result<Vec<PathSegment>> {
    let text = path.trim();
    let steps = if text.starts_with('/') { pointer(text) } else { subscripts(field, text) };
    steps.filter(|steps| steps.len() <= STEPS_MAX).ok_or_else(|| {
        let shown: String = path.chars().take(256).collect();
        Error::invalid_argument(format!(
            "cannot parse json path: {shown}, it must be {field}[\"key\"][0] or /key/0: invalid \
             parameter"
        ))
    })
}

fn pointer(text: &str) -> Option<Vec<PathSegment>> {
    text.split('/').skip(1).map(pointer_step).collect()
}

/// A step of a JSON pointer: `~1` is a slash and `~0` a tilde. A number is an index, which also
/// names the member of that name.
fn pointer_step(text: &str) -> Option<PathSegment> {
    if is_index(text) {
        return text.parse().ok().map(PathSegment::Index);
    }
    let key = text.replace("~1", "/").replace("~0", "~");
    (!key.is_empty()).then_some(PathSegment::Key(key))
}

fn is_index(text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (text == "0" || !text.starts_with('0'))
}

fn subscripts(field: &str, text: &str) -> Option<Vec<PathSegment>> {
    let mut rest = text.strip_prefix(field)?.trim_start();
    let mut steps = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix('[')?.trim_start();
        let (step, after) = match rest.chars().next()? {
            quote @ ('"' | '\'') => {
                let (key, after) = quoted(&rest[1..], quote)?;
                (PathSegment::Key(key), after)
            }
            _ => {
                let (number, _) = rest.split_once(']')?;
                let index = number.trim_end();
                let step = is_index(index).then(|| index.parse().ok()).flatten()?;
                (PathSegment::Index(step), &rest[number.len()..])
            }
        };
        if matches!(&step, PathSegment::Key(key) if key.is_empty()) {
            return None;
        }
        steps.push(step);
        rest = after.trim_start().strip_prefix(']')?.trim_start();
    }
    Some(steps)
}

/// The text up to the closing quote, and what comes behind it. A backslash takes the meaning from
/// the character after it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '\\' => key.push(chars.next()?),
            char if char == quote => return Some((key, chars.as_str())),
            char => key.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let key = |key: &str| PathSegment::Key(key.to_owned());
        let table = [
            ("j", vec![]),
            (r#"j["a"]"#, vec![key("a")]),
            (r#" j ["a"]['b'] [ 0 ] "#, vec![key("a"), key("b"), PathSegment::Index(0)]),
            (r#"j["a]b"]["q\"q"]"#, vec![key("a]b"), key("q\"q")]),
            (r#"j["0"]"#, vec![key("0")]),
            ("/a/b", vec![key("a"), key("b")]),
            ("/a~1b/c~0d", vec![key("a/b"), key("c~d")]),
            ("/a/10/01", vec![key("a"), PathSegment::Index(10), key("01")]),
        ];
        for (text, path) in table {
            assert_eq!(parse("j", text).unwrap(), path, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let deep = format!("j{}", "[1]".repeat(STEPS_MAX + 1));
        let table = [
            "",
            "k",
            "k[\"a\"]",
            "jj",
            "j[",
            "j[]",
            "j[\"a\"",
            "j[\"a]",
            "j[\"\"]",
            "j[a]",
            "j[-1]",
            "j[01]",
            "j.a",
            "j[\"a\"]b",
            "/",
            "/a//b",
            "j[99999999999999999999]",
            deep.as_str(),
        ];
        for text in table {
            let error = parse("j", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }
}
