//! Cuts the text of an expression into tokens, on demand.
//!
//! The lexer is a position in the text and costs nothing to copy; the parser looks ahead by
//! copying it. It checks the shape of tokens only: escapes and number ranges belong to
//! [`crate::literal`]. As in Milvus's grammar a JSON path such as `meta["k"][0]` is one token, in
//! which no white space may stand.

use crate::fault::Fault;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Float,
    /// A quoted string with its prefix and quotes.
    Text,
    Identifier,
    /// `$meta`.
    Meta,
    /// `field["key"][0]`.
    JsonPath,
    /// `struct[sub]` or `struct[0][sub]`.
    StructField,
    /// `$[sub]`.
    StructSubField,
    /// `$`.
    ElementSelf,
    True,
    False,
    And,
    Or,
    Not,
    In,
    Like,
    Exists,
    IsNull,
    IsNotNull,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    Comma,
    Assign,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    RegexMatch,
    RegexNotMatch,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    ShiftLeft,
    ShiftRight,
    BitAnd,
    BitOr,
    BitXor,
    BitNot,
    End,
}

/// A token: what it is, and where its text lies, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads tokens from a position on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// A lexer of the same text that goes on at byte `position`.
    pub(crate) fn at(text: &'a str, position: usize) -> Self {
        Self { text, position }
    }

    /// The next token; [`Kind::End`] again and again at the end of the text.
    pub(crate) fn next(&mut self) -> Result<Token, Fault> {
        while matches!(self.byte(self.position), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.position += 1;
        }
        let start = self.position;
        let Some(first) = self.byte(start) else {
            return Ok(Token { kind: Kind::End, start, end: start });
        };
        let (kind, end) = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(start)?,
            b'0'..=b'9' => self.number(start),
            b'.' if self.byte(start + 1).is_some_and(|byte| byte.is_ascii_digit()) => {
                self.number(start)
            }
            b'"' | b'\'' => (Kind::Text, self.string(start, start)?),
            b'$' => self.dollar(start),
            _ => self.operator(start)?,
        };
        self.position = end;
        Ok(Token { kind, start, end })
    }

    fn byte(&self, position: usize) -> Option<u8> {
        self.text.as_bytes().get(position).copied()
    }

    fn unrecognised(&self, start: usize) -> Fault {
        let rest = self.text.get(start..).unwrap_or_default();
        let first: String = rest.chars().take(1).collect();
        Fault::syntax(self.text, start, &format!("token recognition error at: '{first}'"))
    }

    /// The end of the longest run of bytes from `start` on that `accept` takes.
    fn run(&self, start: usize, accept: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        start + rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len())
    }

    fn identifier_end(&self, start: usize) -> usize {
        self.run(start, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    fn word(&self, start: usize) -> Result<(Kind, usize), Fault> {
        let end = self.identifier_end(start);
        let word = self.text.get(start..end).unwrap_or_default();
        let quoted = matches!(self.byte(end), Some(b'"' | b'\''));
        if quoted && matches!(word, "u8" | "u" | "U" | "L" | "r" | "R") {
            return Ok((Kind::Text, self.string(start, end)?));
        }
        let kind = match word {
            "and" | "AND" => Kind::And,
            "or" | "OR" => Kind::Or,
            "not" | "NOT" => Kind::Not,
            "in" | "IN" => Kind::In,
            "like" | "LIKE" => Kind::Like,
            "exists" | "EXISTS" => Kind::Exists,
            "true" | "True" | "TRUE" => Kind::True,
            "false" | "False" | "FALSE" => Kind::False,
            "is" => return Ok(self.null_test(end, " null", " not null")),
            "IS" => return Ok(self.null_test(end, " NULL", " NOT NULL")),
            _ => return Ok(self.path(end, Kind::Identifier)),
        };
        Ok((kind, end))
    }

    /// `is null` and `is not null` are single tokens with exactly one space between the words.
    fn null_test(&self, end: usize, null: &str, not_null: &str) -> (Kind, usize) {
        let rest = self.text.get(end..).unwrap_or_default();
        if rest.starts_with(not_null) {
            (Kind::IsNotNull, end + not_null.len())
        } else if rest.starts_with(null) {
            (Kind::IsNull, end + null.len())
        } else {
            self.path(end, Kind::Identifier)
        }
    }

    /// The subscripts that follow a name without a space: the longest match wins.
    fn path(&self, name_end: usize, bare: Kind) -> (Kind, usize) {
        let mut end = name_end;
        let mut subscripts = 0;
        let mut only_index = true;
        while let Some((next, is_index)) = self.subscript(end) {
            end = next;
            subscripts += 1;
            only_index &= is_index;
        }
        if bare == Kind::Identifier
            && subscripts <= 1
            && only_index
            && let Some(next) = self.sub_field(end)
        {
            return (Kind::StructField, next);
        }
        if subscripts == 0 { (bare, name_end) } else { (Kind::JsonPath, end) }
    }

    /// The end of `["key"]` or `[0]` at `start`, and whether it is an index.
    fn subscript(&self, start: usize) -> Option<(usize, bool)> {
        if self.byte(start)? != b'[' {
            return None;
        }
        let inner = start + 1;
        let (end, is_index) = match self.byte(inner)? {
            b'0' => (inner + 1, true),
            b'1'..=b'9' => (self.run(inner, |byte| byte.is_ascii_digit()), true),
            b'"' | b'\'' => (self.string(inner, inner).ok()?, false),
            _ => {
                let quote = self.identifier_end(inner);
                let prefix = self.text.get(inner..quote)?;
                if !matches!(prefix, "u8" | "u" | "U" | "L" | "r" | "R") {
                    return None;
                }
                (self.string(inner, quote).ok()?, false)
            }
        };
        (self.byte(end)? == b']').then_some((end + 1, is_index))
    }

    /// The end of `[name]` at `start`.
    fn sub_field(&self, start: usize) -> Option<usize> {
        let first = self.byte(start + 1)?;
        if self.byte(start)? != b'[' || !(first.is_ascii_alphabetic() || first == b'_') {
            return None;
        }
        let end = self.identifier_end(start + 1);
        (self.byte(end)? == b']').then_some(end + 1)
    }

    fn dollar(&self, start: usize) -> (Kind, usize) {
        let end = self.identifier_end(start + 1);
        if self.text.get(start..end) == Some("$meta") {
            return self.path(end, Kind::Meta);
        }
        match self.sub_field(start + 1) {
            Some(end) => (Kind::StructSubField, end),
            None => (Kind::ElementSelf, start + 1),
        }
    }

    /// The end of the string whose prefix begins at `start` and whose quote stands at `quote`.
    fn string(&self, start: usize, quote: usize) -> Result<usize, Fault> {
        let fault = || self.unrecognised(start);
        let delimiter = self.byte(quote).ok_or_else(fault)?;
        let raw = matches!(self.byte(start), Some(b'r' | b'R'));
        let mut position = quote + 1;
        loop {
            match self.byte(position).ok_or_else(fault)? {
                b'\r' | b'\n' => return Err(fault()),
                b'\\' => {
                    position += match (self.byte(position + 1), self.byte(position + 2)) {
                        (Some(b'\n'), _) if !raw => 2,
                        (Some(b'\r'), Some(b'\n')) if !raw => 3,
                        (Some(b'\r' | b'\n') | None, _) => return Err(fault()),
                        (Some(_), _) => 2,
                    };
                }
                byte if byte == delimiter => return Ok(position + 1),
                _ => position += 1,
            }
        }
    }

    fn number(&self, start: usize) -> (Kind, usize) {
        let digits_end = self.run(start, |byte| byte.is_ascii_digit());
        if self.byte(start) == Some(b'0') {
            match self.byte(start + 1) {
                Some(b'x' | b'X') => return self.hexadecimal(start),
                Some(b'b' | b'B') => {
                    let end = self.run(start + 2, |byte| matches!(byte, b'0' | b'1'));
                    let end = if end == start + 2 { start + 1 } else { end };
                    return (Kind::Integer, end);
                }
                _ => {}
            }
        }
        let mut end = digits_end;
        if self.byte(end) == Some(b'.') {
            end = self.run(end + 1, |byte| byte.is_ascii_digit());
        }
        end = self.exponent(end, b"eE").unwrap_or(end);
        if end > digits_end {
            return (Kind::Float, end);
        }
        // A leading zero means octal, which ends at the first digit that is none.
        if self.byte(start) == Some(b'0') {
            end = self.run(start, |byte| matches!(byte, b'0'..=b'7'));
        }
        (Kind::Integer, end)
    }

    fn hexadecimal(&self, start: usize) -> (Kind, usize) {
        let is_hex = |byte: u8| byte.is_ascii_hexdigit();
        let whole_end = self.run(start + 2, is_hex);
        let (mantissa_end, digits) = if self.byte(whole_end) == Some(b'.') {
            let end = self.run(whole_end + 1, is_hex);
            (end, end - start - 3)
        } else {
            (whole_end, whole_end - start - 2)
        };
        match self.exponent(mantissa_end, b"pP") {
            Some(end) if digits > 0 => (Kind::Float, end),
            _ if whole_end > start + 2 => (Kind::Integer, whole_end),
            _ => (Kind::Integer, start + 1),
        }
    }

    /// The end of an exponent with one of these letters at `start`, if there is a whole one.
    fn exponent(&self, start: usize, letters: &[u8; 2]) -> Option<usize> {
        if !letters.contains(&self.byte(start)?) {
            return None;
        }
        let signed = matches!(self.byte(start + 1), Some(b'+' | b'-'));
        let digits = start + 1 + usize::from(signed);
        let end = self.run(digits, |byte| byte.is_ascii_digit());
        (end > digits).then_some(end)
    }

    fn operator(&self, start: usize) -> Result<(Kind, usize), Fault> {
        const TWO: [(&str, Kind); 11] = [
            ("&&", Kind::And),
            ("||", Kind::Or),
            ("==", Kind::Equal),
            ("!=", Kind::NotEqual),
            ("<=", Kind::LessEqual),
            (">=", Kind::GreaterEqual),
            ("=~", Kind::RegexMatch),
            ("!~", Kind::RegexNotMatch),
            ("**", Kind::Power),
            ("<<", Kind::ShiftLeft),
            (">>", Kind::ShiftRight),
        ];
        let rest = self.text.get(start..).unwrap_or_default();
        if let Some((_, kind)) = TWO.iter().find(|(text, _)| rest.starts_with(text)) {
            return Ok((*kind, start + 2));
        }
        let kind = match rest.as_bytes().first() {
            Some(b'(') => Kind::LeftParen,
            Some(b')') => Kind::RightParen,
            Some(b'[') => Kind::LeftBracket,
            Some(b']') => Kind::RightBracket,
            Some(b'{') => Kind::LeftBrace,
            Some(b'}') => Kind::RightBrace,
            Some(b',') => Kind::Comma,
            Some(b'=') => Kind::Assign,
            Some(b'<') => Kind::Less,
            Some(b'>') => Kind::Greater,
            Some(b'+') => Kind::Add,
            Some(b'-') => Kind::Subtract,
            Some(b'*') => Kind::Multiply,
            Some(b'/') => Kind::Divide,
            Some(b'%') => Kind::Modulo,
            Some(b'&') => Kind::BitAnd,
            Some(b'|') => Kind::BitOr,
            Some(b'^') => Kind::BitXor,
            Some(b'~') => Kind::BitNot,
            Some(b'!') => Kind::Not,
            _ => return Err(self.unrecognised(start)),
        };
        Ok((kind, start + 1))
    }
}

/// The name in front of a JSON path token, and the inside of each of its brackets.
pub(crate) fn subscripts(path: &str) -> (&str, Vec<&str>) {
    let lexer = Lexer::new(path);
    let name_end = path.find('[').unwrap_or(path.len());
    let mut end = name_end;
    let mut inside = Vec::new();
    while let Some((next, _)) = lexer.subscript(end) {
        inside.push(path.get(end + 1..next - 1).unwrap_or_default());
        end = next;
    }
    (path.get(..name_end).unwrap_or_default(), inside)
}

/// The text between two bytes without the white space between its tokens, at most `chars_max`
/// characters of it: how Milvus quotes a part of an expression.
pub(crate) fn squeeze(text: &str, start: usize, end: usize, chars_max: usize) -> String {
    let mut lexer = Lexer::at(text, start);
    let mut squeezed = String::new();
    while let Ok(token) = lexer.next() {
        if token.start >= end || token.kind == Kind::End {
            break;
        }
        squeezed.push_str(text.get(token.start..token.end).unwrap_or_default());
        if squeezed.len() > chars_max * 4 {
            break;
        }
    }
    crate::fault::shorten(&squeezed, chars_max)
}
