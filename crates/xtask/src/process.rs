//! Child processes whose output is seen as it comes, and what xtask itself prints.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Prints a line.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).context("print")?;
    out.flush().context("print")
}

/// Prints a line to standard error; there is nobody left to tell when that fails.
pub(crate) fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Runs a command with its output going straight to the terminal. Returns whether it succeeded.
///
/// # Errors
/// When the program cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<bool> {
    show(command)?;
    let status = command.status().with_context(|| format!("start {}", name(command)))?;
    Ok(status.success())
}

/// Runs a command, prints each line of its standard output as it comes and hands it to `see`.
/// Returns whether the command succeeded.
///
/// # Errors
/// When the program cannot be started or its output cannot be read.
pub(crate) fn run_watched(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    show(command)?;
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", name(command)))?;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        // A test may print bytes that are no UTF-8, so lines are read as bytes.
        while lines.read_until(b'\n', &mut line).context("read the output")? > 0 {
            let text = String::from_utf8_lossy(&line);
            see(text.trim_end());
            say(text.trim_end())?;
            line.clear();
        }
    }
    Ok(child.wait().context("wait for the command")?.success())
}

/// Whether a command can be started and succeeds; its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The standard output of a command.
///
/// # Errors
/// When the command cannot be started, fails, or prints what is no UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", name(command)))?;
    anyhow::ensure!(output.status.success(), "{} failed: {}", name(command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", name(command)))
}

/// The cargo that runs us, or the one on the path, in the environment that it has when a person
/// calls it: some dependencies compile anew whenever the variables that cargo sets for a program it
/// runs are there at one time and not at another, and everything above them with them.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    command
}

fn show(command: &Command) -> Result<()> {
    let words = command.get_args().map(OsStr::to_string_lossy);
    let text: Vec<_> = std::iter::once(name(command).into()).chain(words).collect();
    say(&format!("$ {}", text.join(" ")))
}

fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_seen_and_the_status_kept() {
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'one\\ntwo\\377\\nthree'; exit 3"]);
        let succeeded = run_watched(&mut command, |line| seen.push(line.to_owned())).unwrap();
        assert!(!succeeded);
        assert_eq!(seen, ["one", "two\u{fffd}", "three"]);
    }

    #[test]
    fn output_of_a_failing_command_is_an_error() {
        assert_eq!(output(Command::new("sh").args(["-c", "echo x"])).unwrap(), "x\n");
        assert!(output(Command::new("sh").args(["-c", "exit 1"])).is_err());
        assert!(!succeeds(&mut Command::new("/nowhere/no-such-program")));
    }
}
