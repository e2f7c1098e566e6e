//! Where a path of a JSON document leads, without building a tree of the document.
//!
//! The one place that says so: terms of filters and the builders of indexes agree because they ask
//! here. A document is read from its start, and only as far as the answer needs.
//!
//! - A document that is malformed where it is read leads nowhere. What a path passes over only has
//!   to have its quotes and brackets balanced; what stands after the value is not looked at. The
//!   empty text is malformed, and so is a number beyond the range of a double.
//! - Of members with the same name the first counts.
//! - An integer that fits into 64 bits is an integer, every other number the nearest double.
//!
//! Nesting costs no stack, whatever its depth, and only strings with escapes are copied. That is
//! why no library is used to walk: the lazy ones recurse without bound, or allocate for each
//! document and each member that is missing.

use std::borrow::Cow;

use pandion_filter::PathSegment;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JsonValue<'a> {
    /// Nowhere: there is no such member or element, or the document is malformed.
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Array(JsonArray<'a>),
    Object,
}

/// The elements of an array; brackets and commas are known to be in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct JsonArray<'a> {
    /// What stands between the brackets.
    inside: &'a str,
    length: usize,
}

impl<'a> JsonArray<'a> {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The elements in order; a malformed one is [`JsonValue::Missing`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = JsonValue<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.inside);
        (0..self.length).map(move |_| reader.element())
    }
}

/// The value at a path of a document; the document itself when the path is empty.
pub(crate) fn value_at<'a>(document: &'a str, path: &[PathSegment]) -> JsonValue<'a> {
    let mut reader = Reader::new(document);
    for segment in path {
        if reader.descend(segment).is_none() {
            return JsonValue::Missing;
        }
    }
    reader.value().unwrap_or(JsonValue::Missing)
}

/// A place in a text.
#[derive(Clone)]
struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// A string as it stands in the text, without its quotes.
struct RawText {
    start: usize,
    end: usize,
    has_escapes: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// The byte at the next place that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Moves from the start of a value to the start of what the segment names in it.
    fn descend(&mut self, segment: &PathSegment) -> Option<()> {
        match (self.peek()?, segment) {
            (b'{', PathSegment::Key(key)) => self.member(|name| name == key.as_bytes()),
            (b'{', PathSegment::Index(index)) => self.member(|name| is_decimal(name, *index)),
            (b'[', PathSegment::Index(index)) => self.nth(*index),
            _ => None,
        }
    }

    fn member(&mut self, is_it: impl Fn(&[u8]) -> bool) -> Option<()> {
        self.at += 1;
        if self.peek()? == b'}' {
            return None;
        }
        loop {
            self.expect(b'"')?;
            let name = self.string()?;
            self.expect(b':')?;
            let found = if name.has_escapes {
                is_it(self.unescaped(&name)?.as_bytes())
            } else {
                is_it(self.bytes.get(name.start..name.end)?)
            };
            if found {
                return Some(());
            }
            self.skip_value()?;
            self.expect(b',')?;
        }
    }

    fn nth(&mut self, index: u64) -> Option<()> {
        self.at += 1;
        if self.peek()? == b']' {
            return None;
        }
        for _ in 0..index {
            self.skip_value()?;
            self.expect(b',')?;
        }
        Some(())
    }

    /// The value that starts here. Leaves the reader behind it, unless it is an object.
    fn value(&mut self) -> Option<JsonValue<'a>> {
        match self.peek()? {
            b'{' => Some(JsonValue::Object),
            b'[' => self.array().map(JsonValue::Array),
            b'"' => {
                self.at += 1;
                let raw = self.string()?;
                self.text_of(&raw).map(JsonValue::Text)
            }
            _ => scalar(self.token()?),
        }
    }

    /// The next element of the inside of an array, and on to the one after it.
    fn element(&mut self) -> JsonValue<'a> {
        let start = self.at;
        let value = self.value().unwrap_or(JsonValue::Missing);
        // These were not read to their end.
        if matches!(value, JsonValue::Object | JsonValue::Missing) {
            self.at = start;
            self.skip_value();
        }
        self.expect(b',');
        value
    }

    /// The array that starts here, once its end has been found.
    fn array(&mut self) -> Option<JsonArray<'a>> {
        self.at += 1;
        let start = self.at;
        let mut length = 0;
        if self.peek()? != b']' {
            loop {
                self.skip_value()?;
                length += 1;
                match self.peek()? {
                    b',' => self.at += 1,
                    b']' => break,
                    _ => return None,
                }
            }
        }
        let inside = self.text.get(start..self.at)?;
        self.at += 1;
        Some(JsonArray { inside, length })
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string().map(|_| ())
            }
            b'{' | b'[' => self.skip_nested(),
            _ => self.token().map(|_| ()),
        }
    }

    /// Skips an array or object by counting brackets.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
    }

    /// The string whose opening quote was just read; leaves the reader behind its closing one.
    fn string(&mut self) -> Option<RawText> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at += self.bytes.get(self.at..).map_or(0, plain_prefix);
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(RawText { start, end: self.at - 1, has_escapes });
                }
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
    }

    fn text_of(&self, raw: &RawText) -> Option<Cow<'a, str>> {
        if raw.has_escapes {
            return self.unescaped(raw).map(Cow::Owned);
        }
        let text = self.text.get(raw.start..raw.end)?;
        let has_control = text.bytes().any(|byte| byte < 0x20);
        (!has_control).then_some(Cow::Borrowed(text))
    }

    fn unescaped(&self, raw: &RawText) -> Option<String> {
        let quoted = self.text.get(raw.start - 1..=raw.end)?;
        serde_json::from_str(quoted).ok()
    }

    /// A number or a name: everything up to the next mark or white space.
    fn token(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let ends = |byte: &u8| TOKEN_ENDS.get(usize::from(*byte)).is_some_and(|ends| *ends);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { None } else { rest.get(..length) }
    }
}

/// The bytes that end a number or a name.
const TOKEN_ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let marks = b",]}:\"[{ \n\r\t";
    let mut at = 0;
    while at < marks.len() {
        ends[marks[at] as usize] = true;
        at += 1;
    }
    ends
};

/// How many whole groups of eight bytes, and then bytes, hold neither a quote nor a backslash. May
/// stop up to seven bytes early at the end of the text.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest set bit is exact; those above it need not be.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = zero_bytes(word ^ (ONES * u64::from(b'"')))
            | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if hits != 0 {
            return index * 8 + hits.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8
}

/// Whether a name is this number, written without leading zeros.
fn is_decimal(name: &[u8], index: u64) -> bool {
    let (Some(last), Some(first)) = (name.last(), name.first()) else { return false };
    if (*first == b'0' && name.len() > 1) || u64::from(last.wrapping_sub(b'0')) != index % 10 {
        return false;
    }
    let number = name.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    });
    number == Some(index)
}

fn scalar(token: &[u8]) -> Option<JsonValue<'static>> {
    match token {
        b"true" => Some(JsonValue::Bool(true)),
        b"false" => Some(JsonValue::Bool(false)),
        b"null" => Some(JsonValue::Null),
        _ => number(token),
    }
}

fn number(token: &[u8]) -> Option<JsonValue<'static>> {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let leading_zero = whole > 1 && digits.first() == Some(&b'0');
    if whole == 0 || leading_zero {
        return None;
    }
    // Eighteen digits always fit.
    if whole == digits.len() && whole <= 18 {
        let magnitude =
            digits.iter().fold(0_i64, |number, byte| number * 10 + i64::from(byte - b'0'));
        return Some(JsonValue::Int(if digits.len() == token.len() {
            magnitude
        } else {
            -magnitude
        }));
    }
    let text = std::str::from_utf8(token).ok()?;
    if whole == digits.len()
        && let Ok(value) = text.parse()
    {
        return Some(JsonValue::Int(value));
    }
    // Rust reads more forms than JSON has: a point needs digits after it, too.
    let rest = digits.get(whole..)?;
    if rest.first() == Some(&b'.') && !rest.get(1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(JsonValue::Float)
}

#[cfg(test)]
mod tests;
