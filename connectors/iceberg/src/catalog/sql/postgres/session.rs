//! One conversation: who asks, the proof of it, one question in a transaction that cannot write.

use md5::{Digest as _, Md5};
use pandion_types::{Error, ErrorKind, Result, Secret};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::ROWS_MAX;
use super::super::row::{CatalogRow, RowKey, no_text};
use super::Login;
use super::scram::{self, Proven, Scram};
use super::server_error::reported;
use super::wire::{Message, Messages, Wire, utf8};
use crate::guard::{corrupt, decode, unsupported};

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 3 << 16;
/// Bytes that describe a column behind its name.
const COLUMN_BYTES: usize = 18;
/// What comes before the question. Sent as text, since poolers pass on few settings of a
/// connection's first message.
const BEGIN: &str = "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = 15000";

/// A connection on which nothing has been said yet.
pub(super) struct Session<'a, S> {
    wire: Wire<'a, S>,
    login: &'a Login,
    is_private: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    /// `is_private` says whether nobody can listen, and the server has proven its name.
    pub(super) fn new(wire: Wire<'a, S>, login: &'a Login, is_private: bool) -> Self {
        Self { wire, login, is_private }
    }

    /// Asks for the rows with this key, and ends the conversation.
    ///
    /// # Errors
    /// Those that the server reports; `PermissionDenied` where who asks cannot be proven;
    /// `Unsupported` for a proof that is not known; `Corrupt` and `Unavailable` as [`Wire`].
    pub(super) async fn rows(mut self, key: &RowKey) -> Result<Vec<CatalogRow>> {
        self.log_in().await?;
        self.wire.send(Messages::default().add(b'Q', &zero_ended([BEGIN]))?).await?;
        self.collect().await?;
        self.wire.send(question(key)?).await?;
        let rows = self.collect().await?;
        // The answer is whole; that the end is not heard does no harm.
        let ended = self.wire.send(Messages::default().add(b'X', &[])?).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "the connection to a catalog was not ended in form");
        }
        Ok(rows)
    }

    async fn log_in(&mut self) -> Result<()> {
        let Login { user, database, .. } = self.login;
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        body.extend(zero_ended([
            "user",
            user,
            "database",
            database,
            "client_encoding",
            "UTF8",
            "application_name",
            "pandion",
        ]));
        body.push(0);
        self.wire.send(Messages::default().add_bare(&body)?).await?;
        loop {
            let message = self.next().await?;
            match message.tag {
                b'R' => {
                    let mut fields = message.fields();
                    match fields.i32()? {
                        0 => {}
                        3 => self.send_password().await?,
                        5 => self.send_md5(fields.rest()).await?,
                        10 => self.prove(fields.rest()).await?,
                        _ => return Err(unknown_proof()),
                    }
                }
                // Ready; which version of the protocol is older; the key to cancel.
                b'Z' => return Ok(()),
                b'v' | b'K' => {}
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// The next message that means something: news of settings and notices do not.
    async fn next(&mut self) -> Result<Message> {
        loop {
            let message = self.wire.receive().await?;
            match message.tag {
                b'E' => return Err(reported(&message, self.login)),
                b'S' | b'N' | b'A' => {}
                _ => return Ok(message),
            }
        }
    }

    fn password(&self) -> Result<&'a Secret> {
        self.login.password.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "the server of the catalog asks for the password of user {:?}: set \
                     catalog.password",
                    self.login.user
                ),
            )
        })
    }

    /// The password, for what shows it to who listens or asks.
    fn private_password(&self) -> Result<&'a Secret> {
        let password = self.password()?;
        if self.is_private {
            return Ok(password);
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "the server of the catalog asks for the password in a way that shows it to whoever \
             listens, which is refused with catalog.sslmode=disable: use TLS, or let the server \
             ask for scram-sha-256",
        ))
    }

    async fn send_password(&mut self) -> Result<()> {
        let password = self.private_password()?;
        self.send_proof(&zero_ended([password.expose()])).await
    }

    async fn send_md5(&mut self, salt: &[u8]) -> Result<()> {
        let password = self.private_password()?.expose();
        let inner = hex(&Md5::digest(format!("{password}{}", self.login.user)));
        let outer = hex(&Md5::new().chain_update(inner).chain_update(salt).finalize());
        self.send_proof(&zero_ended([format!("md5{outer}").as_str()])).await
    }

    async fn send_proof(&mut self, body: &[u8]) -> Result<()> {
        self.wire.send(Messages::default().add(b'p', body)?).await
    }

    /// Proves who asks, and has the server prove itself, by one of the `mechanisms`.
    async fn prove(&mut self, mechanisms: &[u8]) -> Result<()> {
        let mut names = mechanisms.split(|byte| *byte == 0);
        if !names.any(|name| name == scram::MECHANISM.as_bytes()) {
            return Err(unknown_proof());
        }
        let password = self.password()?.clone();
        let scram = Scram::new()?;
        let first = scram.first();
        let mut body = zero_ended([scram::MECHANISM]);
        body.extend(i32::try_from(first.len()).unwrap_or_default().to_be_bytes());
        body.extend(first.as_bytes());
        self.send_proof(&body).await?;

        let challenge = self.sasl(11).await?;
        let answer = move |_: &str| scram.answer(&challenge, &password);
        let (answer, proven): (String, Proven) =
            decode("the challenge of the server".to_owned(), answer).await?;
        self.send_proof(answer.as_bytes()).await?;
        proven.check(&self.sasl(12).await?)
    }

    /// The text of the next message, which must be this step of the proof.
    async fn sasl(&mut self, step: i32) -> Result<String> {
        let message = self.next().await?;
        let mut fields = message.fields();
        if message.tag != b'R' || fields.i32()? != step {
            return Err(unexpected(message.tag));
        }
        utf8(fields.rest()).map(str::to_owned)
    }

    /// The rows up to the message that says that the server is ready again.
    async fn collect(&mut self) -> Result<Vec<CatalogRow>> {
        let mut columns = Vec::new();
        let mut rows = Vec::new();
        loop {
            let message = self.next().await?;
            match message.tag {
                b'T' => columns = read_columns(&message)?,
                b'D' if rows.len() < ROWS_MAX => rows.push(read_row(&message, &columns)?),
                b'D' => return Err(corrupt("sent more rows than were asked for")),
                // Parsed, bound, done, nothing done, no rows.
                b'1' | b'2' | b'C' | b'I' | b'n' => {}
                b'Z' => return Ok(rows),
                tag => return Err(unexpected(tag)),
            }
        }
    }
}

/// The question in the protocol's own steps, so that names are values and never text of a question.
fn question(key: &RowKey) -> Result<Messages> {
    let parameters = [&key.catalog, &key.namespace, &key.table];
    let count = i16::try_from(parameters.len()).unwrap_or_default();
    // No name, the text, no types: those of the columns are taken.
    let mut parse = zero_ended(["", &CatalogRow::question('$')]);
    parse.extend(0_i16.to_be_bytes());
    // No names; all values, and all answers, as text.
    let mut bind = zero_ended(["", ""]);
    bind.extend(0_i16.to_be_bytes());
    bind.extend(count.to_be_bytes());
    for parameter in parameters {
        let length = i32::try_from(parameter.len()).map_err(|error| {
            Error::invalid_argument("a name of the table is too long").caused_by(error)
        })?;
        bind.extend(length.to_be_bytes());
        bind.extend(parameter.as_bytes());
    }
    bind.extend(0_i16.to_be_bytes());
    let mut execute = zero_ended([""]);
    execute.extend(0_i32.to_be_bytes());
    Messages::default()
        .add(b'P', &parse)?
        .add(b'B', &bind)?
        .add(b'D', b"P\0")?
        .add(b'E', &execute)?
        .add(b'S', &[])
}

fn read_columns(message: &Message) -> Result<Vec<String>> {
    let mut fields = message.fields();
    let count = fields.i16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(fields.text()?.to_owned());
        // The column's table, its place there, its type, the type's length and modifier, its form.
        fields.skip(COLUMN_BYTES)?;
    }
    Ok(columns)
}

fn read_row(message: &Message, columns: &[String]) -> Result<CatalogRow> {
    let mut fields = message.fields();
    let count = fields.i16()?;
    if usize::try_from(count).ok() != Some(columns.len()) {
        return Err(corrupt("sent a row that does not fit its columns"));
    }
    let mut row = CatalogRow::default();
    for column in columns {
        let value = fields.value()?;
        row.take(column, || match value.map(std::str::from_utf8).transpose() {
            Ok(text) => Ok(text.map(str::to_owned)),
            Err(error) => Err(no_text("the server").caused_by(error)),
        })?;
    }
    Ok(row)
}

/// Texts, each with the zero that ends it.
fn zero_ended<const N: usize>(texts: [&str; N]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unknown_proof() -> Error {
    unsupported(
        "asks who connects in a way that is not supported: must be one of [scram-sha-256, md5, \
         password, trust]",
    )
}

fn unexpected(tag: u8) -> Error {
    corrupt(format!("sent a message {:?} that PostgreSQL does not send there", char::from(tag)))
}
