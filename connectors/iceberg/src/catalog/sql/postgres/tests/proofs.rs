//! How it is proven who asks, and what is never sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::*;

const PASSWORD: &str = r#","password":"CANARY ü""#;

fn says_nothing_of_the_password(server: &Server) {
    let heard = server.heard().concat();
    let heard = String::from_utf8_lossy(&heard);
    assert!(!heard.contains("CANARY") && !heard.contains("md5"), "{heard:?}");
}

#[tokio::test]
async fn without_tls_nothing_is_sent_that_shows_the_password() {
    for proof in [step(3, b""), step(5, b"salt")] {
        let server = Server::start(vec![Talk::of(&[&proof, &welcome()])]).await;
        let error = refused(&plain(&server, PASSWORD)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("shows it to whoever listens"), "{error}");
        says_nothing_of_the_password(&server);
    }
}

#[tokio::test]
async fn a_password_that_is_missing_is_asked_for() {
    for proof in [step(3, b""), step(5, b"salt"), step(10, b"SCRAM-SHA-256\0\0")] {
        let server = Server::start(vec![Talk::of(&[&proof])]).await;
        let error = refused(&plain(&server, "")).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("set catalog.password"), "{error}");
    }
}

#[tokio::test]
async fn other_proofs_are_refused_by_name() {
    for proof in [step(7, b""), step(10, b"SCRAM-SHA-256-PLUS\0OTHER\0\0"), step(10, b"")] {
        let server = Server::start(vec![Talk::of(&[&proof])]).await;
        let error = refused(&plain(&server, PASSWORD)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("one of [scram-sha-256, md5, password"), "{error}");
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// A server that knows `password`, and proves it unless it `lies`.
fn scram_server(password: &'static str, lies: bool) -> Talk {
    let salted = {
        let (mut salted, rounds) = ([0; 32], 4096.try_into().unwrap());
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, b"salt", password.as_bytes(), &mut salted);
        salted
    };
    let mut talk = Talk::of(&[&step(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")]);
    let (sender, receiver) = std::sync::mpsc::channel();
    talk.turns.push(Box::new(move |message| {
        let first = message.strip_prefix(b"SCRAM-SHA-256\0").unwrap();
        let bare = std::str::from_utf8(&first[4..]).unwrap().strip_prefix("n,,").unwrap();
        let nonce = bare.strip_prefix("n=,r=").unwrap();
        let challenge = format!("r={nonce}+server,s={},i=4096", STANDARD.encode("salt"));
        sender.send((bare.to_owned(), challenge.clone())).unwrap();
        step(11, challenge.as_bytes())
    }));
    talk.turns.push(Box::new(move |message| {
        let (first, challenge) = receiver.recv().unwrap();
        let (bare, proof) = std::str::from_utf8(message).unwrap().rsplit_once(",p=").unwrap();
        let signed = format!("{first},{challenge},{bare}");
        let client_key = sign(&salted, "Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = sign(stored_key.as_ref(), &signed);
        let proof = STANDARD.decode(proof).unwrap();
        let shown: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if shown != client_key {
            return error("28P01", "password authentication failed for user \"reader\"");
        }
        let server_key = if lies { vec![0; 32] } else { sign(&salted, "Server Key") };
        let signature = STANDARD.encode(sign(&server_key, &signed));
        [step(12, format!("v={signature}").as_bytes()), welcome()].concat()
    }));
    talk.turns.extend(Talk::of(&[&begun(), &found()]).turns);
    talk
}

#[tokio::test]
async fn both_sides_prove_that_they_know_the_password() {
    let server = Server::start(vec![scram_server("CANARY ü", false)]).await;
    let (found, _) = ask(&plain(&server, PASSWORD)).await;
    assert_eq!(found.unwrap(), LOCATION);
    says_nothing_of_the_password(&server);

    let server = Server::start(vec![scram_server("another", false)]).await;
    let error = refused(&plain(&server, PASSWORD)).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("refuses user \"reader\""), "{error}");

    let server = Server::start(vec![scram_server("CANARY ü", true)]).await;
    let error = refused(&plain(&server, PASSWORD)).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("did not prove that it knows"), "{error}");
}

#[tokio::test]
async fn a_proof_that_is_cut_short_is_none() {
    let first = step(10, b"SCRAM-SHA-256\0\0");
    for second in [welcome(), step(12, b"v=AAAA"), step(11, b"r=x,s=AAAA,i=1"), step(11, b"\xff")] {
        let server = Server::start(vec![Talk::of(&[&first, &second])]).await;
        let error = refused(&plain(&server, PASSWORD)).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}
