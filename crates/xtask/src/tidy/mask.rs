//! Rust text with everything blanked out that is not code, so that a rule can look for words and
//! braces without being fooled by a comment or a string.

/// The text with comments, strings and character literals replaced by spaces. Line breaks stay
/// where they are. Made for well-formed Rust: on other text it still ends, with a mask that may
/// hide too much.
pub(crate) fn mask(text: &str) -> String {
    let mut masker = Masker { text, at: 0, masked: String::with_capacity(text.len()) };
    while let Some(next) = masker.rest().chars().next() {
        masker.step(next);
    }
    masker.masked
}

struct Masker<'a> {
    text: &'a str,
    at: usize,
    masked: String,
}

impl Masker<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn step(&mut self, next: char) {
        let rest = self.rest();
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if next == '"' {
            self.blank(string(rest, 1));
        } else if next == '\'' {
            match character(rest) {
                Some(length) => self.blank(length),
                None => self.keep(1),
            }
        } else if next.is_alphabetic() || next == '_' {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            match literal_after_prefix(&rest[..word], &rest[word..]) {
                Some(length) => self.blank(word + length),
                None => self.keep(word),
            }
        } else {
            self.keep(next.len_utf8());
        }
    }

    fn keep(&mut self, length: usize) {
        self.masked.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn blank(&mut self, length: usize) {
        let hidden = self.text[self.at..self.at + length].chars();
        self.masked.extend(hidden.map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.at += length;
    }
}

/// The length of a literal whose prefix (`b`, `r`, `c`, `br`, `cr`) has just been read.
fn literal_after_prefix(prefix: &str, rest: &str) -> Option<usize> {
    match prefix {
        "r" | "br" | "cr" => raw_string(rest),
        "b" if rest.starts_with('\'') => character(rest),
        "b" | "c" if rest.starts_with('"') => Some(string(rest, 1)),
        _ => None,
    }
}

/// The length of `#"..."#` with any number of `#`.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    let body = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// The length of a string literal whose text begins at `from`.
fn string(rest: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return from + at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; nothing when the quote begins a lifetime or a label.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn what_is_no_code_is_blanked() {
        let check = |text: &str, hidden: &str| {
            let masked = mask(text);
            assert_eq!(masked.chars().count(), text.chars().count(), "{text}");
            assert!(!masked.contains(hidden), "{text}: {masked}");
            assert!(masked.starts_with("a ") && masked.ends_with(" z"), "{text}: {masked}");
        };
        check("a // {\n z", "{");
        check("a /* { /* { */ { */ z", "{");
        check("a \"{ \\\" {\" z", "{");
        check("a r\"{\\\" z", "{");
        check("a br##\"{ \"# {\"## z", "{");
        check("a '{' z", "{");
        check("a b'{' '\\'' '\\u{7f}' z", "{");
        check("a c\"{\" \"ß{\" z", "{");
    }

    #[test]
    fn code_stays() {
        let code = "fn f<'a>(x: &'a str) -> r#type { 'outer: loop { break 'outer } }\n";
        assert_eq!(mask(code), code);
    }

    #[test]
    fn broken_text_ends() {
        for text in ["\"", "'", "/*", "r#\"", "b'", "'\\", "/* /*", "r#"] {
            assert_eq!(mask(text).chars().count(), text.chars().count(), "{text}");
        }
    }
}
