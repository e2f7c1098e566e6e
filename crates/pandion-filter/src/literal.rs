//! What the text of a literal stands for: strings with C escapes, raw strings, integers in four
//! bases, decimal and hexadecimal floats.

use crate::fault::{Fault, shorten};

/// How many characters of a literal are repeated inside a message.
const MAX_QUOTED_CHARS: usize = 128;

/// What to do with a backslash before a character that C does not know as an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownEscape {
    /// Refuse the string.
    Refuse,
    /// Keep both characters: the string is a pattern with escapes of its own.
    Keep,
}

/// The text that a string token stands for.
///
/// `\xNN` and octal escapes are bytes, and the bytes together have to be UTF-8; `\uNNNN` and
/// `\UNNNNNNNN` are characters. A backslash at the end of a line joins the lines. In a raw string
/// (`r"..."`) every character stands for itself, the backslash too.
pub(crate) fn unquote(token: &str, unknown: UnknownEscape) -> Result<String, Fault> {
    let quote = token.find(['"', '\'']).unwrap_or_default();
    let body = token.get(quote + 1..token.len().saturating_sub(1)).unwrap_or_default();
    if token.starts_with(['r', 'R']) || !body.contains('\\') {
        return Ok(body.to_owned());
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(backslash) = rest.find('\\') {
        bytes.extend_from_slice(rest.get(..backslash).unwrap_or_default().as_bytes());
        let escape = rest.get(backslash..).unwrap_or_default();
        let taken = unescape(escape, unknown, &mut bytes).ok_or_else(|| {
            let shown: String = escape.chars().take(2).collect();
            Fault::detail(format!(
                "invalid escape sequence {shown} in string {}",
                shorten(token, MAX_QUOTED_CHARS)
            ))
        })?;
        rest = escape.get(taken..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_not_utf8| {
        Fault::detail(format!("string {} is not UTF-8", shorten(token, MAX_QUOTED_CHARS)))
    })
}

/// Appends what the escape at the start of `text` stands for and says how many bytes it took;
/// `None` when there is no such escape.
fn unescape(text: &str, unknown: UnknownEscape, bytes: &mut Vec<u8>) -> Option<usize> {
    let letter = text.chars().nth(1)?;
    let simple = match letter {
        '\'' | '"' | '?' | '\\' => u8::try_from(letter).ok()?,
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\n' => return Some(2),
        '\r' => return Some(3),
        '0'..='7' => {
            let digits = digits(text, 1, 3, 8);
            bytes.push(u8::from_str_radix(digits, 8).ok()?);
            return Some(1 + digits.len());
        }
        'x' if !digits(text, 2, 2, 16).is_empty() => {
            let digits = digits(text, 2, 2, 16);
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            return Some(2 + digits.len());
        }
        'u' if digits(text, 2, 4, 16).len() == 4 => return code_point(text, 4, bytes),
        'U' if digits(text, 2, 8, 16).len() == 8 => return code_point(text, 8, bytes),
        _ if unknown == UnknownEscape::Keep => {
            bytes.push(b'\\');
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(1 + letter.len_utf8());
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(2)
}

fn code_point(text: &str, length: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    let code = u32::from_str_radix(digits(text, 2, length, 16), 16).ok()?;
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(2 + length)
}

/// The digits of this base at byte `start`, at most `length_max` of them.
fn digits(text: &str, start: usize, length_max: usize, base: u32) -> &str {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.chars().take(length_max).take_while(|digit| digit.is_digit(base)).count();
    rest.get(..length).unwrap_or_default()
}

/// The magnitude of an integer token. At most 2^63, which only a minus sign makes an `i64`.
pub(crate) fn parse_integer(token: &str) -> Result<u64, Fault> {
    let (digits, base) = match token.as_bytes() {
        [b'0', b'x' | b'X', ..] => (token.get(2..), 16),
        [b'0', b'b' | b'B', ..] => (token.get(2..), 2),
        [b'0', _, ..] => (token.get(1..), 8),
        _ => (Some(token), 10),
    };
    digits
        .and_then(|digits| u64::from_str_radix(digits, base).ok())
        .filter(|magnitude| *magnitude <= i64::MIN.unsigned_abs())
        .ok_or_else(|| {
            Fault::detail(format!("int64 overflow: {}", shorten(token, MAX_QUOTED_CHARS)))
        })
}

/// The value of a float token; always finite.
pub(crate) fn parse_float(token: &str) -> Result<f64, Fault> {
    let value = if token.starts_with("0x") || token.starts_with("0X") {
        parse_hexadecimal_float(token)
    } else {
        token.parse().ok()
    };
    value.filter(|value: &f64| value.is_finite()).ok_or_else(|| {
        Fault::detail(format!("float64 overflow: {}", shorten(token, MAX_QUOTED_CHARS)))
    })
}

/// `0x<hex>.<hex>p<exponent>`: exact for mantissas of 53 bits or fewer.
fn parse_hexadecimal_float(token: &str) -> Option<f64> {
    let (mantissa, exponent) = token.get(2..)?.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value = whole
        .chars()
        .chain(fraction.chars())
        .filter_map(|digit| digit.to_digit(16))
        .fold(0.0, |value, digit| value * 16.0 + f64::from(digit));
    // Exponents beyond these bounds give zero or infinity whatever the mantissa is.
    let exponent = exponent.parse::<i64>().ok()?.clamp(-100_000, 100_000);
    let exponent = exponent - 4 * i64::try_from(fraction.len()).ok()?;
    scale_by_power_of_two(value, exponent)
}

fn scale_by_power_of_two(mut value: f64, exponent: i64) -> Option<f64> {
    let step = if exponent < 0 { 0.5 } else { 2.0 };
    for _ in 0..exponent.unsigned_abs() {
        if value == 0.0 || value.is_infinite() {
            break;
        }
        value *= step;
    }
    Some(value)
}
