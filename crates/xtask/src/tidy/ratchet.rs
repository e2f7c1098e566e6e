//! The exceptions that stood before a rule was made: `crates/xtask/tidy-ratchet.txt`.

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

const FILE: &str = "crates/xtask/tidy-ratchet.txt";

/// Lines of the form `RULE SUBJECT [LIMIT] # reason`.
#[derive(Debug)]
pub(crate) struct Ratchet {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    rule: String,
    subject: String,
    limit: usize,
    used: bool,
}

impl Ratchet {
    /// Reads the list.
    ///
    /// # Errors
    /// When the file is missing or a line has another form or no reason.
    pub(crate) fn load(workspace: &Workspace) -> Result<Self> {
        let text = workspace.text(FILE)?.with_context(|| format!("{FILE} is no text"))?;
        Self::parse(&text).with_context(|| format!("read {FILE}"))
    }

    /// A list that lets nothing pass.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self { entries: Vec::new() }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let Some((exception, reason)) = line.split_once('#') else {
                bail!("line {number} gives no reason after a #");
            };
            anyhow::ensure!(!reason.trim().is_empty(), "line {number} gives no reason after the #");
            let words: Vec<&str> = exception.split_whitespace().collect();
            let (rule, subject, limit) = match words.as_slice() {
                [rule, subject] => (rule, subject, 0),
                [rule, subject, limit] => {
                    let limit = limit.parse().with_context(|| format!("limit in line {number}"))?;
                    (rule, subject, limit)
                }
                _ => bail!("line {number} is not of the form RULE SUBJECT [LIMIT] # reason"),
            };
            let (rule, subject) = ((*rule).to_owned(), (*subject).to_owned());
            entries.push(Entry { line: number, rule, subject, limit, used: false });
        }
        Ok(Self { entries })
    }

    /// The limit that the list grants a subject under a rule; 0 where a rule has no number. Asking
    /// marks the entry as needed, so a rule asks only about what breaks it.
    pub(crate) fn granted(&mut self, rule: &str, subject: &str) -> Option<usize> {
        let matches = |entry: &&mut Entry| entry.rule == rule && entry.subject == subject;
        let entry = self.entries.iter_mut().find(matches)?;
        entry.used = true;
        Some(entry.limit)
    }

    /// A finding for each entry that nothing asked for.
    pub(crate) fn unused(&self) -> impl Iterator<Item = String> {
        self.entries.iter().filter(|entry| !entry.used).map(|entry| {
            let Entry { line, rule, subject, .. } = entry;
            format!("{FILE}:{line}: {subject} keeps the rule `{rule}` now; remove the line")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_grants_its_limit_and_an_unused_one_is_a_finding() {
        let text = "# head\n\nlength a.rs 700 # a table\nedge a->b # the demo\n";
        let mut ratchet = Ratchet::parse(text).unwrap();
        assert_eq!(ratchet.granted("length", "a.rs"), Some(700));
        assert_eq!(ratchet.granted("length", "b.rs"), None);
        assert_eq!(
            ratchet.unused().collect::<Vec<_>>(),
            ["crates/xtask/tidy-ratchet.txt:4: a->b keeps the rule `edge` now; remove the line"]
        );
        assert_eq!(ratchet.granted("edge", "a->b"), Some(0));
        assert_eq!(ratchet.unused().count(), 0);
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        for wrong in ["length a.rs 7", "length a.rs 7 #", "length # why", "length a b # why"] {
            assert!(Ratchet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
