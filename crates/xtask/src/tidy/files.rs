//! What each file must keep to: a head, a length, small traits, and no leftovers.

use super::mask::mask;
use super::ratchet::Ratchet;

const LINES_MAX: usize = 500;
const TRAIT_METHODS_MAX: usize = 10;

/// Leftovers and paths of one machine, in pieces so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or say in a sentence why it is so"),
    (concat!("FIX", "ME"), "finish it or say in a sentence why it is so"),
    (concat!("#[ign", "ore"), "a test runs or goes"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/fa", "rm/"), "a path of one machine"),
];

/// Checks one text file.
pub(crate) fn check(file: &str, text: &str, ratchet: &mut Ratchet, findings: &mut Vec<String>) {
    for (number, line) in lines(text) {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                findings.push(format!("{file}:{number}: `{word}`: {why}"));
            }
        }
    }
    if !file.ends_with(".rs") {
        return;
    }
    let first = text.lines().find(|line| !line.trim().is_empty());
    // The name of a file `tests.rs` says already what it is for.
    if !file.ends_with("/tests.rs") && !first.is_some_and(|line| line.starts_with("//!")) {
        findings.push(format!("{file}:1: no `//!` head that says what the file is for"));
    }
    let masked = mask(text);
    check_length(file, &masked, ratchet, findings);
    for (number, name, methods) in public_traits(&masked) {
        if methods > TRAIT_METHODS_MAX {
            findings.push(format!(
                "{file}:{number}: trait {name} has {methods} methods, at most {TRAIT_METHODS_MAX} may be"
            ));
        }
    }
}

fn check_length(file: &str, masked: &str, ratchet: &mut Ratchet, findings: &mut Vec<String>) {
    if is_test(file) {
        return;
    }
    let length = lines_before_tests(masked);
    if length <= LINES_MAX {
        return;
    }
    let limit = ratchet.granted("length", file).unwrap_or(LINES_MAX);
    if length > limit {
        findings.push(format!(
            "{file}:{limit}: {length} lines before the tests, at most {limit} may be"
        ));
    }
}

/// Whether the whole file is tests: `tests.rs`, or anything in a `tests` folder of a crate.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// Lines before the module of tests that stands in the file itself. A `mod tests;` is one line.
fn lines_before_tests(masked: &str) -> usize {
    let mut all = lines(masked).peekable();
    let mut length = 0;
    while let Some((number, line)) = all.next() {
        length = number;
        let module = all.peek().map(|(_, next)| next.trim_start()).unwrap_or_default();
        if line.trim() == "#[cfg(test)]" && module.starts_with("mod ") && module.contains('{') {
            return number - 1;
        }
    }
    length
}

/// The public traits with the line they begin at, their name and the number of their methods.
fn public_traits(masked: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, _) in masked.match_indices("pub trait ") {
        let rest = &masked[at + "pub trait ".len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let number = masked[..at].matches('\n').count() + 1;
        found.push((number, &rest[..end], methods(rest)));
    }
    found
}

/// Counts `fn` directly inside the first pair of braces.
fn methods(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut count = 0;
    let mut word = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        count += usize::from(depth == 1 && word == "fn");
        word.clear();
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    count
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(file, text, &mut Ratchet::empty(), &mut found);
        found
    }

    #[test]
    fn leftovers_are_found_in_any_text() {
        for (word, why) in FORBIDDEN {
            let expected = format!("a.md:2: `{word}`: {why}");
            assert_eq!(findings("a.md", &format!("fine\nsee {word}x\n")), [expected]);
        }
        assert!(findings("a.md", "fine\n").is_empty());
    }

    #[test]
    fn a_source_file_needs_a_head() {
        assert!(findings("a.rs", "\n//! What it is for.\nfn f() {}\n").is_empty());
        assert_eq!(findings("a.rs", "// Not a head.\nfn f() {}\n").len(), 1);
        assert_eq!(findings("a.rs", "").len(), 1);
        assert!(findings("src/a/tests.rs", "use super::*;\n").is_empty());
    }

    #[test]
    fn length_is_measured_before_the_tests() {
        let body = "//! Head.\n".to_owned() + &"fn f() {}\n".repeat(LINES_MAX - 1);
        let tests = "#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert!(findings("a.rs", &body).is_empty());
        assert!(findings("a.rs", &(body.clone() + tests)).is_empty());
        assert_eq!(findings("a.rs", &(body.clone() + "#[cfg(test)]\nmod tests;\n")).len(), 1);
        assert_eq!(findings("a.rs", &(body.clone() + "fn f() {}\n" + tests)).len(), 1);
        assert!(findings("crates/a/src/b/tests.rs", &(body + "fn f() {}\n")).is_empty());
    }

    #[test]
    fn methods_of_public_traits_are_counted() {
        let text = "pub trait Wide<'a>: Send {\n    const N: usize; // fn no();\n    fn one(&self) { fn inner() {} }\n    async fn two(f: fn(u8));\n}\nfn outside() {}\n";
        // A function pointer in a signature counts too: the rule errs towards small traits.
        assert_eq!(public_traits(&mask(text)), [(1, "Wide", 3)]);
        let wide = |methods: usize| {
            format!("//! Head.\npub trait T {{\n{}}}\n", "    fn f(&self);\n".repeat(methods))
        };
        assert!(findings("a.rs", &wide(TRAIT_METHODS_MAX)).is_empty());
        assert_eq!(findings("a.rs", &wide(TRAIT_METHODS_MAX + 1)).len(), 1);
    }
}
