//! Comparisons of a field with an instant: the one place where the grammar has words that are
//! keywords only where they stand (`ISO`, `INTERVAL`).

use super::{Parser, compare_op, is_word};
use crate::ast::{Node, NodeKind, TimeNode};
use crate::fault::Fault;
use crate::lexer::Kind;
use crate::typed::CompareOp;

impl<'a> Parser<'a> {
    pub(super) fn time_compare(&mut self, field: &'a str) -> Result<Node<'a>, Fault> {
        let start = self.start();
        self.advance()?;
        let interval = self.interval()?;
        let op = self.compare_operator()?;
        let instant = self.word_and_text("iso")?;
        let kind = NodeKind::TimeCompare(Box::new(TimeNode { field, interval, op, instant }));
        self.node(kind, start, 1)
    }

    pub(super) fn time_compare_reversed(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        let instant = self.word_and_text("iso")?;
        let op = self.compare_operator()?.flipped();
        let field = self.token_text();
        self.expect(Kind::Identifier, "a field name")?;
        let interval = self.interval()?;
        let kind = NodeKind::TimeCompare(Box::new(TimeNode { field, interval, op, instant }));
        self.node(kind, start, 1)
    }

    /// `+ INTERVAL 'P1D'` or `- INTERVAL 'P1D'`, if one follows.
    fn interval(&mut self) -> Result<Option<(bool, &'a str)>, Fault> {
        let negative = self.token.kind == Kind::Subtract;
        if !(negative || self.token.kind == Kind::Add) {
            return Ok(None);
        }
        self.advance()?;
        Ok(Some((negative, self.word_and_text("interval")?)))
    }

    fn compare_operator(&mut self) -> Result<CompareOp, Fault> {
        let op = compare_op(self.token.kind)
            .ok_or_else(|| self.unexpected("{'<', '<=', '>', '>=', '==', '!='}"))?;
        self.advance()?;
        Ok(op)
    }

    /// `word 'text'`, with the word in lower or in upper case.
    fn word_and_text(&mut self, word: &str) -> Result<&'a str, Fault> {
        if !is_word(self.token_text(), word) {
            return Err(self.unexpected(&word.to_uppercase()));
        }
        self.advance()?;
        let text = self.token_text();
        self.expect(Kind::Text, "a string")?;
        Ok(text)
    }
}
