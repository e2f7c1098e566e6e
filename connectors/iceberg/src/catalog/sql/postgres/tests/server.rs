//! A server that says what a test wants, in the turns of the protocol.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server says when the client has ended its turn with this message.
type Turn = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;
/// What is said on one connection; behind its end the server is silent, or closes.
pub(super) struct Talk {
    /// The answer to a request for TLS.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) turns: Vec<Turn>,
    pub(super) closes: bool,
}

impl Talk {
    pub(super) fn of(replies: &[&[u8]]) -> Self {
        let fixed = |reply: &&[u8]| -> Turn {
            let reply = reply.to_vec();
            Box::new(move |_: &[u8]| reply.clone())
        };
        Self { tls: None, turns: replies.iter().map(fixed).collect(), closes: true }
    }
}

/// A listener on loopback; it serves one connection after the other.
pub(super) struct Server {
    pub(super) host_port: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    pub(super) async fn start(talks: Vec<Talk>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            for mut talk in talks {
                let Ok((stream, _)) = listener.accept().await else { return };
                let at = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let heard = |bytes: &[u8]| all.lock().unwrap()[at].extend_from_slice(bytes);
                match talk.tls.take() {
                    None => converse(stream, talk, heard).await,
                    Some(acceptor) => {
                        let mut stream = stream;
                        let mut request = [0; 8];
                        if stream.read_exact(&mut request).await.is_ok()
                            && stream.write_all(b"S").await.is_ok()
                            && let Ok(stream) = acceptor.accept(stream).await
                        {
                            converse(stream, talk, heard).await;
                        }
                    }
                }
            }
        });
        Self { host_port, heard }
    }

    /// What was heard on each connection.
    pub(super) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    talk: Talk,
    heard: impl Fn(&[u8]),
) {
    let mut is_first = true;
    for mut turn in talk.turns {
        // A turn ends with the first message, a proof, a question as text, or a request to answer.
        let last = loop {
            let tag = match is_first {
                true => 0,
                false => match stream.read_u8().await {
                    Ok(tag) => tag,
                    Err(_) => return,
                },
            };
            let Ok(length) = stream.read_u32().await else { return };
            let mut body = vec![0; length as usize - 4];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            heard(&body);
            let is_tls_request = is_first && body == [0x04, 0xd2, 0x16, 0x2f];
            let ends = is_first || matches!(tag, b'p' | b'Q' | b'S');
            is_first = is_tls_request;
            if ends {
                break body;
            }
        };
        if stream.write_all(&turn(&last)).await.is_err() {
            return;
        }
    }
    if !talk.closes {
        let mut rest = Vec::new();
        let _ended = stream.read_to_end(&mut rest).await;
    }
}

/// A message with this letter and body.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A step of the proof of who asks.
pub(super) fn step(code: i32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes()[..], rest].concat())
}

/// What a server says once it knows who asks.
pub(super) fn welcome() -> Vec<u8> {
    let setting = message(b'S', b"server_version\x0015\0");
    [step(0, b""), setting, message(b'K', &[0; 8]), message(b'Z', b"I")].concat()
}

/// What a server says to two statements without rows.
pub(super) fn begun() -> Vec<u8> {
    let notice = message(b'N', b"SWARNING\0\0");
    [message(b'C', b"BEGIN\0"), notice, message(b'C', b"SET\0"), message(b'Z', b"T")].concat()
}

/// An answer with these columns and rows.
pub(super) fn rows(columns: &[&str], rows: &[&[Option<&str>]]) -> Vec<u8> {
    let count = |count: usize| i16::try_from(count).unwrap().to_be_bytes();
    let mut described = count(columns.len()).to_vec();
    for column in columns {
        described.extend(column.as_bytes());
        // The end of the name, and what describes the column.
        described.extend([0; 19]);
    }
    let mut all = [message(b'1', b""), message(b'2', b""), message(b'T', &described)].concat();
    for row in rows {
        let mut values = count(row.len()).to_vec();
        for value in *row {
            match value {
                None => values.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    values.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                    values.extend(text.as_bytes());
                }
            }
        }
        all.extend(message(b'D', &values));
    }
    all.extend(message(b'C', b"SELECT 1\0"));
    all.extend(message(b'Z', b"T"));
    all
}

/// A report of an error.
pub(super) fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0Fauth.c\0\0").as_bytes())
}
