//! An error that the server reports, and what it means for who asked.
//!
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use pandion_types::{Error, ErrorKind, Result, Secret, Subject};

use super::super::CATALOG_TABLE;
use super::Login;
use super::wire::Message;
use crate::catalog::answer::shown;
use crate::guard::corrupt;

/// Reads a report and makes it an error of ours.
pub(super) fn reported(message: &Message, login: &Login) -> Error {
    match read(message) {
        Ok((code, text)) => {
            let secrets: Vec<&Secret> = login.password.iter().collect();
            meaning(&code, &shown(&text, &secrets), login)
        }
        Err(error) => error,
    }
}

/// The code and the text of a report.
fn read(message: &Message) -> Result<(String, String)> {
    let mut fields = message.fields();
    let (mut code, mut text) = (String::new(), String::new());
    loop {
        match fields.byte()? {
            0 => return Ok((code, text)),
            b'C' => fields.text()?.clone_into(&mut code),
            b'M' => fields.text()?.clone_into(&mut text),
            _ => {
                fields.text()?;
            }
        }
    }
}

fn meaning(code: &str, text: &str, login: &Login) -> Error {
    let Login { user, database, .. } = login;
    let reason = format!("({code}: {text})");
    let denied = |what: String| Error::new(ErrorKind::PermissionDenied, what);
    let error = match code {
        "42501" => denied(format!(
            "user {user:?} of the catalog's database {database:?} may not read {CATALOG_TABLE} \
             {reason}"
        )),
        "3D000" => Error::new(
            ErrorKind::NotFound,
            format!("the server has no database {database:?} {reason}"),
        ),
        "42P01" => Error::new(
            ErrorKind::NotFound,
            format!(
                "the database {database:?} has no table {CATALOG_TABLE} in the schemas that user \
                 {user:?} looks in {reason}"
            ),
        ),
        "42703" => corrupt(format!("the table {CATALOG_TABLE} is not that of a catalog {reason}")),
        _ => match code.get(..2) {
            Some("28") => denied(format!(
                "the server of the catalog's database {database:?} refuses user {user:?}: check \
                 the user in catalog.uri and catalog.password {reason}"
            )),
            // Lost connections, too little of something, a timeout or an end that was asked for,
            // trouble of its own, a transaction that lost against another.
            Some("08" | "40" | "53" | "55" | "57" | "58") => {
                Error::unavailable(format!("cannot answer now {reason}"))
            }
            Some("0A") => Error::unsupported(format!("does not serve the request {reason}")),
            _ => corrupt(format!("answered with an error that makes no sense here {reason}")),
        },
    };
    error.about(Subject::Source)
}
