//! Writes the descriptor set of our `.proto` files to the file that the only argument names.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: descriptor_set FILE");
        return ExitCode::from(2);
    };
    match std::fs::write(&path, pandion_proto::FILE_DESCRIPTOR_SET) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {path}: {error}");
            ExitCode::FAILURE
        }
    }
}
