//! The wire format of protobuf messages, as far as it is read from the values of a lake.
//!
//! A [`Reader`] walks over the fields of one message and knows nothing of schemas: what a number
//! stands for is the caller's business. Nothing is copied or allocated, and no length is believed
//! before the bytes are there. Messages are not written here.

/// How deep groups may lie in each other. Nobody writes them any more, but they may be skipped.
const GROUP_DEPTH_MAX: usize = 100;

/// What is wrong with a message, as a clause.
pub(super) type Malformed = &'static str;

const CUT_OFF: Malformed = "a value runs past the end";

/// The value of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    /// A group, which has been skipped.
    Group,
}

/// The fields of a message that are still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field, by number; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        Ok(Some((number, self.value(number, wire_type, 0)?)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits")
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        let split = usize::try_from(length).ok().and_then(|at| self.rest.split_at_checked(at));
        let (bytes, rest) = split.ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = self.varint()?;
        let [wire_type, ..] = (tag & 7).to_le_bytes();
        match u32::try_from(tag).map(|tag| tag >> 3) {
            Ok(number) if number > 0 => Ok((number, wire_type)),
            _ => Err("a field has no valid number"),
        }
    }

    fn value(&mut self, number: u32, wire_type: u8, depth: usize) -> Result<Value<'a>, Malformed> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.take()?),
            2 => Value::Bytes(self.bytes()?),
            3 => {
                self.skip_group(number, depth + 1)?;
                Value::Group
            }
            5 => Value::Fixed32(self.take()?),
            4 => return Err("a group ends that has not begun"),
            _ => return Err("a field has no valid wire type"),
        })
    }

    fn skip_group(&mut self, group: u32, depth: usize) -> Result<(), Malformed> {
        if depth > GROUP_DEPTH_MAX {
            return Err("groups lie too deep in each other");
        }
        loop {
            match self.tag()? {
                (number, 4) if number == group => return Ok(()),
                (number, wire_type) => self.value(number, wire_type, depth)?,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut reader = Reader::new(message);
        std::iter::from_fn(|| reader.field().transpose()).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_read() {
        let message = [
            0x08, 0xac, 0x02, // 1: varint
            0x15, 1, 2, 3, 4, // 2: fixed32
            0x19, 1, 2, 3, 4, 5, 6, 7, 8, // 3: fixed64
            0x22, 2, 9, 9, // 4: bytes
            0x2b, 0x33, 0x08, 1, 0x34, 0x2c, // 5: a group round a group
            0xf8, 0xff, 0xff, 0xff, 0x0f, 0, // the largest number
        ];
        let expected = vec![
            (1, Value::Varint(300)),
            (2, Value::Fixed32([1, 2, 3, 4])),
            (3, Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
            (4, Value::Bytes(&[9, 9])),
            (5, Value::Group),
            (0x1fff_ffff, Value::Varint(0)),
        ];
        assert_eq!(fields(&message), Ok(expected));
        assert_eq!(fields(&[]), Ok(Vec::new()));
    }

    #[test]
    fn varints_have_up_to_64_bits() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Reader::new(&largest).varint(), Ok(u64::MAX));
        assert_eq!(Reader::new(&[0x80, 0x80, 0]).varint(), Ok(0));
        let mut larger = largest;
        larger[9] = 2;
        assert_eq!(Reader::new(&larger).varint(), Err("a number has more than 64 bits"));
        assert_eq!(Reader::new(&[0x80; 11]).varint(), Err("a number has more than 64 bits"));
        assert_eq!(Reader::new(&[0x80; 3]).varint(), Err(CUT_OFF));
    }

    #[test]
    fn broken_messages_are_told() {
        for (message, expected) in [
            (&[0x08][..], CUT_OFF),
            (&[0x15, 1, 2, 3], CUT_OFF),
            (&[0x19, 1, 2, 3], CUT_OFF),
            (&[0x22, 3, 9, 9], CUT_OFF),
            (&[0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], CUT_OFF),
            (&[0x2b, 0x08, 1], CUT_OFF),
            (&[0x00, 0], "a field has no valid number"),
            (&[0xf8, 0xff, 0xff, 0xff, 0x1f, 0], "a field has no valid number"),
            (&[0x0e], "a field has no valid wire type"),
            (&[0x2c], "a group ends that has not begun"),
            (&[0x2b, 0x34], "a group ends that has not begun"),
            (&[0x2b; 100_000], "groups lie too deep in each other"),
        ] {
            assert_eq!(fields(message), Err(expected), "{:?}", &message[..message.len().min(20)]);
        }
    }
}
