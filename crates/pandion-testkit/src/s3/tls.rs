//! A certificate authority that lives as long as the server, and the certificate that it signs.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The server's side of TLS, and what clients must trust.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate.
    pub(crate) ca_pem: String,
}

/// A fresh authority and a certificate for the loopback address, `localhost`, the domain and every
/// bucket below it.
pub(crate) fn issue(domain: &str) -> anyhow::Result<Tls> {
    let ca_key = KeyPair::generate().context("cannot make the authority's key")?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "Pandion test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key).context("cannot sign the authority")?.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().context("cannot make the server's key")?;
    let names = ["127.0.0.1", "localhost", domain, &format!("*.{domain}")].map(str::to_owned);
    let certificate = CertificateParams::new(names.to_vec())?
        .signed_by(&key, &issuer)
        .context("cannot sign the server's certificate")?;

    // The provider is named, because a process with two of them has no default.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem })
}
