//! Servers that must prove their names.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

/// An authority, and a server with a certificate of it for this name.
fn authority(name: &str) -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}

fn secured(host_port: &str, more: &str, ca: Option<&str>) -> Result<SqlCatalog> {
    let ca = ca.map(|pem| format!(r#","ssl_ca_cert":{}"#, serde_json::Value::from(pem)));
    let more = format!("{more}{}", ca.unwrap_or_default());
    try_catalog(host_port, &more, &[host_port], options())
}

#[tokio::test]
async fn the_password_is_sent_to_who_proves_the_name() {
    let (pem, acceptor) = authority("127.0.0.1");
    for (proof, sent) in [
        (step(3, b""), "CANARY\0"),
        // md5(hex(md5("CANARY" + "reader")) + "salt")
        (step(5, b"salt"), "md5d0a3c0664f717bec78f305dd7570a20b\0"),
    ] {
        let mut talk = Talk::of(&[&proof, &welcome(), &begun(), &found()]);
        talk.tls = Some(acceptor.clone());
        let server = Server::start(vec![talk]).await;
        let password = r#","password":"CANARY""#;
        let catalog = secured(&server.host_port, password, Some(&pem)).unwrap();
        let (found, _) = ask(&catalog).await;
        assert_eq!(found.unwrap(), LOCATION);
        let heard = server.heard().concat();
        assert!(String::from_utf8_lossy(&heard).contains(sent), "{sent}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_proven_hears_nothing() {
    let (pem, acceptor) = authority("127.0.0.1");
    let (other_pem, _) = authority("127.0.0.1");
    let (elsewhere_pem, elsewhere) = authority("db.example");
    for (acceptor, ca) in [
        (&acceptor, None),
        (&acceptor, Some(&other_pem)),
        (&elsewhere, Some(&elsewhere_pem)),
        (&elsewhere, Some(&pem)),
    ] {
        let talk = Talk { tls: Some(acceptor.clone()), ..good() };
        let server = Server::start(vec![talk]).await;
        let catalog = secured(&server.host_port, "", ca.map(String::as_str)).unwrap();
        let error = refused(&catalog).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let text = error.to_string();
        assert!(text.contains("prove by its certificate that it is 127.0.0.1"), "{error}");
        assert!(server.heard().concat().is_empty());
    }
}

#[tokio::test]
async fn servers_without_tls_are_not_spoken_to() {
    for (reply, kind, expected) in [
        (&b"N"[..], ErrorKind::InvalidArgument, "has no TLS"),
        (&b"E"[..], ErrorKind::Corrupt, "does not answer as PostgreSQL does"),
        (&b"H"[..], ErrorKind::Corrupt, "does not answer as PostgreSQL does"),
        (&b"Sbut no TLS at all, whatever it is"[..], ErrorKind::Corrupt, "does not speak TLS"),
    ] {
        let server = Server::start(vec![Talk::of(&[reply])]).await;
        let catalog = secured(&server.host_port, r#","password":"CANARY""#, None).unwrap();
        let error = refused(&catalog).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(server.heard().concat(), [0x04, 0xd2, 0x16, 0x2f]);
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_at_once() {
    for pem in ["/etc/ssl/ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
        let error = secured("db.example:5432", "", Some(pem)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("catalog.ssl_ca_cert must be the text"), "{error}");
    }
}
