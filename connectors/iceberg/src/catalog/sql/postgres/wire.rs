//! Messages of PostgreSQL's protocol, version 3: a letter, a length, a body. What they mean is said
//! elsewhere. Lengths are checked before anything is allocated.
//!
//! Format: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use pandion_types::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::guard::corrupt;

/// The longest message that is read, in bytes of its body.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The most that one connection may send, in bytes.
const RECEIVED_BYTES_MAX: u64 = 4 << 20;

/// A connection as a sequence of messages.
pub(super) struct Wire<'a, S> {
    stream: S,
    received: &'a mut u64,
}

/// A message of the server.
pub(super) struct Message {
    pub(super) tag: u8,
    body: Vec<u8>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wire<'a, S> {
    /// Counts what is received in `received`.
    pub(super) fn new(stream: S, received: &'a mut u64) -> Self {
        Self { stream, received }
    }

    /// Sends messages.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost.
    pub(super) async fn send(&mut self, messages: Messages) -> Result<()> {
        self.stream.write_all(&messages.0).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// The next message.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; `Corrupt` for a length that makes no sense or is
    /// too much.
    pub(super) async fn receive(&mut self) -> Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).await.map_err(lost)?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let body_bytes = length.checked_sub(4).filter(|bytes| *bytes <= MESSAGE_BYTES_MAX);
        let Some(body_bytes) = body_bytes else {
            return Err(corrupt(format!(
                "sent a message of {length} bytes, which none of PostgreSQL's here can have"
            )));
        };
        *self.received += 5 + body_bytes as u64;
        if *self.received > RECEIVED_BYTES_MAX {
            return Err(corrupt(format!("sent more than {RECEIVED_BYTES_MAX} bytes")));
        }
        let mut body = vec![0; body_bytes];
        self.stream.read_exact(&mut body).await.map_err(lost)?;
        Ok(Message { tag, body })
    }
}

fn lost(error: std::io::Error) -> Error {
    Error::unavailable("broke off the connection").caused_by(error)
}

impl Message {
    /// The body, to be read from the front.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields(&self.body)
    }
}

/// What is left of a message's body.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(bytes) else {
            return Err(corrupt("sent a message that is cut short"));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Result<()> {
        self.take(bytes).map(|_| ())
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Text up to a zero.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let Some(end) = self.0.iter().position(|byte| *byte == 0) else {
            return Err(corrupt("sent a message that is cut short"));
        };
        let text = self.take(end)?;
        self.take(1)?;
        utf8(text)
    }

    /// A value with its length before it; `None` for a null.
    pub(super) fn value(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(error) => Err(corrupt("sent a value of no length").caused_by(error)),
            },
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// # Errors
/// `Corrupt`; UTF-8 is what the connection was opened with.
pub(super) fn utf8(text: &[u8]) -> Result<&str> {
    std::str::from_utf8(text)
        .map_err(|error| corrupt("sent text that is not UTF-8").caused_by(error))
}

/// Messages to the server, one after the other.
#[derive(Default)]
pub(super) struct Messages(Vec<u8>);

impl Messages {
    /// Adds a message with this letter and body.
    ///
    /// # Errors
    /// `InvalidArgument` for a body that is too long.
    pub(super) fn add(mut self, tag: u8, body: &[u8]) -> Result<Self> {
        self.0.push(tag);
        self.add_bare(body)
    }

    /// Adds a message without a letter, as the first ones of a connection are.
    ///
    /// # Errors
    /// `InvalidArgument` for a body that is too long.
    pub(super) fn add_bare(mut self, body: &[u8]) -> Result<Self> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(Error::invalid_argument("a name or password is too long"));
        }
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(body);
        Ok(self)
    }
}
