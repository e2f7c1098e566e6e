//! Developer commands, run as `cargo xtask COMMAND`.
//!
//! It builds, checks and tests the workspace. It is no part of the product: nothing may depend on
//! it, and it depends on no crate of the workspace.

mod fuzz;
mod installed;
mod node;
mod pipeline;
mod process;
mod python;
mod tally;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::pipeline::Stage;
use crate::process::say;
use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask COMMAND

  test [--only STAGE]...   every check and every test; the last line is the sum
                           stages: fmt clippy tidy deny build rust node python
  ci                       the same as test
  py [PYTEST ARGUMENT]...  builds the binaries and runs tests/python, for instance: py -k refresh
  fuzz [--seconds N]       runs every fuzz target for N seconds (60); needs a nightly toolchain
  tidy                     the rules that no compiler checks: layers, sizes, heads, lock file
  fmt                      formats the workspace
  bench [ARGUMENT]...      builds in release mode and runs the benchmarks with these arguments
  help                     this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            process::complain(&format!("xtask: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs one command; `false` when what it checked is not in order.
fn run(arguments: &[String]) -> Result<bool> {
    let Some((command, rest)) = arguments.split_first() else {
        say(HELP)?;
        return Ok(false);
    };
    match command.as_str() {
        "test" | "ci" => pipeline::test(&Workspace::load()?, &stages(rest)?),
        "py" => pipeline::python_only(&Workspace::load()?, rest),
        "fuzz" => fuzz::run_all(&Workspace::load()?, rest),
        "tidy" => tidy::run(&Workspace::load()?),
        "fmt" => pipeline::format(&Workspace::load()?),
        "bench" => pipeline::bench(&Workspace::load()?, rest),
        "help" | "--help" | "-h" => {
            say(HELP)?;
            Ok(true)
        }
        _ => bail!("unknown command {command}; try `cargo xtask help`"),
    }
}

/// The stages that `--only` names, or all of them.
fn stages(arguments: &[String]) -> Result<Vec<Stage>> {
    let mut chosen = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = match argument.strip_prefix("--only") {
            Some("") => match rest.next() {
                Some(name) => name,
                None => bail!("--only needs the name of a stage"),
            },
            Some(value) if value.starts_with('=') => &value[1..],
            _ => bail!("unknown argument {argument}; try `cargo xtask help`"),
        };
        match Stage::named(name) {
            Some(stage) => chosen.push(stage),
            None => bail!("there is no stage {name}; try `cargo xtask help`"),
        }
    }
    Ok(if chosen.is_empty() { Stage::ALL.to_vec() } else { chosen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn stages_are_chosen_by_name() {
        assert_eq!(stages(&[]).unwrap(), Stage::ALL);
        assert_eq!(
            stages(&arguments("--only tidy --only=fmt")).unwrap(),
            [Stage::Tidy, Stage::Format]
        );
        for wrong in ["--only", "--only nothing", "tidy", "--onlyfmt"] {
            assert!(stages(&arguments(wrong)).is_err(), "{wrong}");
        }
    }
}
