//! SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the password, which is not
//! sent. Without channel binding: where a server must prove its name, TLS does it.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pandion_types::{Error, ErrorKind, Result, Secret};
use ring::rand::SecureRandom as _;
use ring::{digest, hmac, pbkdf2};

use crate::guard::corrupt;

/// The mechanism's name.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// The most rounds that a server may ask for: PostgreSQL's default is 4096.
const ROUNDS_MAX: u32 = 1_000_000;
/// Bytes of chance in a nonce.
const NONCE_BYTES: usize = 18;
/// No channel binding, no other identity.
const GS2_HEADER: &str = "n,,";

/// The side of the client, before the server has answered.
pub(super) struct Scram {
    nonce: String,
}

/// The side of the client, before the server has proven itself.
pub(super) struct Proven {
    /// What the server is to sign, and with what.
    key: hmac::Key,
    signed: String,
}

impl Scram {
    /// A conversation with a nonce of its own.
    ///
    /// # Errors
    /// `Internal` when the system has no random numbers.
    pub(super) fn new() -> Result<Self> {
        let mut bytes = [0; NONCE_BYTES];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|error| Error::internal("there are no random numbers").caused_by(error))?;
        Ok(Self { nonce: STANDARD.encode(bytes) })
    }

    /// The first message. The user is the one of the connection, so that none is named here.
    pub(super) fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first message. Computes for as long as the server asks, up to a
    /// bound.
    ///
    /// # Errors
    /// `Corrupt` for a message that makes no sense.
    pub(super) fn answer(self, server_first: &str, password: &Secret) -> Result<(String, Proven)> {
        let senseless = || corrupt("sent a challenge of SCRAM-SHA-256 that makes no sense");
        let mut parts = server_first.split(',');
        let mut part = |key: &str| parts.next().and_then(|part| part.strip_prefix(key));
        let nonce = part("r=").filter(|nonce| {
            nonce.len() > self.nonce.len() && nonce.starts_with(self.nonce.as_str())
        });
        let salt = part("s=").and_then(|salt| STANDARD.decode(salt).ok());
        let rounds = part("i=").and_then(|rounds| rounds.parse().ok());
        let (Some(nonce), Some(salt), Some(rounds)) = (nonce, salt, rounds) else {
            return Err(senseless());
        };
        let rounds = NonZeroU32::new(rounds)
            .filter(|rounds| rounds.get() <= ROUNDS_MAX)
            .ok_or_else(senseless)?;

        // As PostgreSQL does: what cannot be prepared is taken as it is.
        let prepared = stringprep::saslprep(password.expose());
        let prepared = prepared.as_deref().unwrap_or(password.expose());
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, &salt, prepared.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);

        let bare = format!("c={},r={nonce}", STANDARD.encode(GS2_HEADER));
        let signed = format!("{},{server_first},{bare}", self.first_bare());
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let stored_key = hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref());
        let signature = hmac::sign(&stored_key, signed.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let key = hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref());
        Ok((format!("{bare},p={}", STANDARD.encode(proof)), Proven { key, signed }))
    }
}

impl Proven {
    /// Checks the server's proof.
    ///
    /// # Errors
    /// `PermissionDenied` when it is missing or wrong.
    pub(super) fn check(&self, server_final: &str) -> Result<()> {
        let signature = server_final.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = signature.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        hmac::verify(&self.key, self.signed.as_bytes(), &signature).map_err(|error| {
            Error::new(
                ErrorKind::PermissionDenied,
                "the server of the catalog did not prove that it knows catalog.password",
            )
            .caused_by(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 but without its user, whom PostgreSQL has named before; proof and
    /// signature are those that Python's hashlib and hmac come to.
    #[test]
    fn the_example_of_the_standard() {
        let scram = Scram { nonce: "rOprNGfwEbeRWgbNEkqO".to_owned() };
        assert_eq!(scram.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server_first = format!("{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let (answer, proven) = scram.answer(&server_first, &Secret::new("pencil")).unwrap();
        let proof = "qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=";
        assert_eq!(answer, format!("c=biws,{nonce},p={proof}"));
        proven.check("v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=").unwrap();
        for wrong in
            ["", "e=other-error", "v=", "v=AAAA", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="]
        {
            assert_eq!(proven.check(wrong).unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn challenges_that_make_no_sense() {
        for challenge in [
            "",
            "r=other,s=AAAA,i=1",
            "r=nonce,s=AAAA,i=1",
            "r=nonce1,s=?,i=1",
            "r=nonce1,s=AAAA",
            "r=nonce1,s=AAAA,i=0",
            "r=nonce1,s=AAAA,i=1000001",
            "r=nonce1,s=AAAA,i=-1",
            "s=AAAA,r=nonce1,i=1",
        ] {
            let scram = Scram { nonce: "nonce".to_owned() };
            let Err(error) = scram.answer(challenge, &Secret::new("x")) else {
                panic!("{challenge}");
            };
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{challenge}");
        }
    }

    #[test]
    fn no_nonce_is_used_twice() {
        assert_ne!(Scram::new().unwrap().first(), Scram::new().unwrap().first());
    }
}
