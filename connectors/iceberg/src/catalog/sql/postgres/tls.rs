//! TLS to a server of PostgreSQL, which must prove its name by a certificate. There is no way to do
//! without that proof but to do without TLS.

use std::sync::Arc;

use pandion_types::{Error, Result, Secret, Subject};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::guard::{corrupt, decode};

/// The first message of a client that wants TLS.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Whom a server must be, and whose word is taken for it.
pub(super) struct Trust {
    host: String,
    name: ServerName<'static>,
    /// What is trusted beside the system's.
    authorities: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// `host` may be an address, an IPv6 address in brackets.
    ///
    /// # Errors
    /// `InvalidArgument` about the source when `ca_pem` is no PEM text or `host` cannot stand in a
    /// certificate.
    pub(super) fn new(host: &str, ca_pem: Option<&Secret>) -> Result<Self> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name =
            ServerName::try_from(bare.trim_end_matches('.').to_owned()).map_err(|error| {
                Error::invalid_argument(format!("no certificate can be for the host {host:?}"))
                    .about(Subject::Source)
                    .caused_by(error)
            })?;
        let authorities = match ca_pem {
            None => Vec::new(),
            Some(pem) => read_authorities(pem).ok_or_else(|| {
                Error::invalid_argument(
                    "catalog.ssl_ca_cert must be the text of certificates in PEM form, not a path",
                )
                .about(Subject::Source)
            })?,
        };
        Ok(Self { host: host.to_owned(), name, authorities })
    }

    /// Asks for TLS and begins it.
    ///
    /// # Errors
    /// `InvalidArgument` for a server without TLS or with a certificate that is not trusted;
    /// `Corrupt` for what is no PostgreSQL; `Unavailable` when the connection is lost.
    pub(super) async fn secure(&self, mut stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let lost = |error| Error::unavailable("broke off the connection").caused_by(error);
        stream.write_all(&REQUEST).await.map_err(lost)?;
        // Not a byte more than this one is read before TLS begins.
        match stream.read_u8().await.map_err(lost)? {
            b'S' => {}
            b'N' => {
                return Err(Error::invalid_argument(
                    "has no TLS: let it be set up there, or set catalog.sslmode to \"disable\" if \
                     the operator has named the server",
                ));
            }
            _ => return Err(corrupt("does not answer as PostgreSQL does")),
        }
        let authorities = self.authorities.clone();
        // Reads files.
        let config = decode("the system's certificates".to_owned(), move |_| config(authorities));
        let connector = TlsConnector::from(Arc::new(config.await?));
        connector.connect(self.name.clone(), stream).await.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: std::io::Error) -> Error {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let ours = match cause {
            Some(rustls::Error::InvalidCertificate(what)) => Error::invalid_argument(format!(
                "does not prove by its certificate that it is {} ({what}): set \
                 catalog.ssl_ca_cert to the authority's certificate",
                self.host
            )),
            Some(_) => corrupt("does not speak TLS as it should"),
            None => Error::unavailable("broke off the connection"),
        };
        ours.caused_by(error)
    }
}

fn read_authorities(pem: &Secret) -> Option<Vec<CertificateDer<'static>>> {
    let read: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.expose().as_bytes()).collect();
    read.ok().filter(|certificates| {
        let mut store = RootCertStore::empty();
        !certificates.is_empty()
            && certificates.iter().all(|certificate| store.add(certificate.clone()).is_ok())
    })
}

fn config(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // Systems have certificates that cannot be used among those that can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities);
    // The provider is named, because a process with two of them has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS cannot be set up").caused_by(error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
