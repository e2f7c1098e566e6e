//! Tokens to tree: recursive descent for what starts an expression, precedence climbing for what
//! joins two.
//!
//! The levels are those of Milvus's grammar, which differ from C's and SQL's: `not` binds tighter
//! than comparisons, `in` tighter than ranges. Types are not looked at.

use crate::ast::{BinaryOp, CallNode, Node, NodeKind, RangeNode, UnaryOp};
use crate::fault::Fault;
use crate::lexer::{Kind, Lexer, Token};
use crate::literal;
use crate::typed::{ArithmeticOp, CompareOp};
use crate::{MAX_NESTING_DEPTH, MAX_NODES};

mod instant;

/// How tightly an operator binds, loosest first.
mod level {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const BIT_OR: u8 = 3;
    pub(super) const BIT_XOR: u8 = 4;
    pub(super) const BIT_AND: u8 = 5;
    pub(super) const EQUALITY: u8 = 6;
    pub(super) const RELATIONAL: u8 = 7;
    pub(super) const RANGE: u8 = 8;
    pub(super) const IN: u8 = 9;
    pub(super) const SHIFT: u8 = 10;
    pub(super) const ADD: u8 = 11;
    pub(super) const MULTIPLY: u8 = 12;
    pub(super) const UNARY: u8 = 13;
    pub(super) const POWER: u8 = 14;
    pub(super) const REGEX_NOT_MATCH: u8 = 15;
    pub(super) const REGEX_MATCH: u8 = 16;
    pub(super) const LIKE: u8 = 17;
    pub(super) const EXISTS: u8 = 18;
}

/// Parses the whole text as one expression.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Fault> {
    let mut lexer = Lexer::new(text);
    let token = lexer.next()?;
    let mut parser = Parser { text, lexer, token, nesting: 0, nodes: 0 };
    let node = parser.expression(level::OR)?;
    if parser.token.kind == Kind::End {
        Ok(node)
    } else {
        Err(Fault::detail(format!("invalid expression: {}", crate::fault::shorten(text, 1024))))
    }
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    nesting: usize,
    nodes: usize,
}

impl<'a> Parser<'a> {
    /// An expression whose operators all bind at least as tightly as `level`.
    fn expression(&mut self, level: u8) -> Result<Node<'a>, Fault> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING_DEPTH {
            return Err(too_deep());
        }
        let mut left = self.prefix()?;
        while let Some(operator_level) = self.operator_level(level) {
            left = self.join(left, operator_level)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    /// The level of the operator at the current token, if there is one at `level` or tighter.
    fn operator_level(&self, level: u8) -> Option<u8> {
        let operator_level = match self.token.kind {
            Kind::Or => level::OR,
            Kind::And => level::AND,
            Kind::BitOr => level::BIT_OR,
            Kind::BitXor => level::BIT_XOR,
            Kind::BitAnd => level::BIT_AND,
            Kind::Equal | Kind::NotEqual => level::EQUALITY,
            Kind::Less | Kind::LessEqual | Kind::Greater | Kind::GreaterEqual => {
                if level <= level::RANGE && self.range_follows() {
                    level::RANGE
                } else {
                    level::RELATIONAL
                }
            }
            Kind::In => level::IN,
            Kind::Not if self.peek(0) == Kind::In => level::IN,
            Kind::ShiftLeft | Kind::ShiftRight => level::SHIFT,
            Kind::Add | Kind::Subtract => level::ADD,
            Kind::Multiply | Kind::Divide | Kind::Modulo => level::MULTIPLY,
            Kind::Power => level::POWER,
            Kind::RegexNotMatch => level::REGEX_NOT_MATCH,
            Kind::RegexMatch => level::REGEX_MATCH,
            Kind::Like => level::LIKE,
            _ => return None,
        };
        (operator_level >= level).then_some(operator_level)
    }

    /// Whether the comparison at the current token is the first of `< name <` or `> name >`.
    fn range_follows(&self) -> bool {
        let is_name = matches!(
            self.peek(0),
            Kind::Identifier | Kind::JsonPath | Kind::StructSubField | Kind::ElementSelf
        );
        let upwards = |kind| matches!(kind, Kind::Less | Kind::LessEqual);
        let downwards = |kind| matches!(kind, Kind::Greater | Kind::GreaterEqual);
        let (first, second) = (self.token.kind, self.peek(1));
        is_name && (upwards(first) && upwards(second) || downwards(first) && downwards(second))
    }

    /// The kind of the token that stands `skip` tokens after the next one; `End` where the text
    /// has no token.
    fn peek(&self, skip: usize) -> Kind {
        let mut lexer = self.lexer;
        let mut kind = Kind::End;
        for _ in 0..=skip {
            kind = lexer.next().map_or(Kind::End, |token| token.kind);
        }
        kind
    }

    /// Joins `left` by the operator at the current token with what stands right of it.
    fn join(&mut self, left: Node<'a>, operator_level: u8) -> Result<Node<'a>, Fault> {
        let operator = self.token.kind;
        let start = left.start;
        if operator_level == level::RANGE {
            return self.range(left);
        }
        if matches!(operator, Kind::And | Kind::Or) {
            return self.chain(left, operator, operator_level);
        }
        let negated_in = operator == Kind::Not;
        self.advance()?;
        if negated_in {
            self.advance()?;
        }
        let right = self.expression(operator_level + 1)?;
        let depth = left.depth.max(right.depth);
        let sides = Box::new([left, right]);
        let kind = match operator {
            Kind::In | Kind::Not => NodeKind::In { sides, negated: negated_in },
            Kind::Like => NodeKind::Like(sides),
            Kind::RegexMatch => NodeKind::Regex { sides, negated: false },
            Kind::RegexNotMatch => NodeKind::Regex { sides, negated: true },
            _ => NodeKind::Binary(binary_op(operator)?, sides),
        };
        self.node(kind, start, depth + 1)
    }

    /// All operands of a run of `and` or of `or`, as one flat node.
    fn chain(&mut self, left: Node<'a>, operator: Kind, level: u8) -> Result<Node<'a>, Fault> {
        let start = left.start;
        let mut depth = left.depth;
        let mut operands = vec![left];
        while self.token.kind == operator {
            self.advance()?;
            let operand = self.expression(level + 1)?;
            depth = depth.max(operand.depth);
            operands.push(operand);
        }
        let kind = if operator == Kind::And { NodeKind::And } else { NodeKind::Or };
        self.node(kind(operands), start, depth + 1)
    }

    fn range(&mut self, first: Node<'a>) -> Result<Node<'a>, Fault> {
        let start = first.start;
        let first_op = self.token.kind;
        self.advance()?;
        let middle = self.primary()?;
        let second_op = self.token.kind;
        self.advance()?;
        let last = self.expression(level::RANGE + 1)?;
        let depth = first.depth.max(middle.depth).max(last.depth);
        let inclusive = |op| matches!(op, Kind::LessEqual | Kind::GreaterEqual);
        let range = if matches!(first_op, Kind::Less | Kind::LessEqual) {
            RangeNode {
                lower: first,
                lower_inclusive: inclusive(first_op),
                middle,
                upper: last,
                upper_inclusive: inclusive(second_op),
            }
        } else {
            RangeNode {
                lower: last,
                lower_inclusive: inclusive(second_op),
                middle,
                upper: first,
                upper_inclusive: inclusive(first_op),
            }
        };
        self.node(NodeKind::Range(Box::new(range)), start, depth + 1)
    }

    /// What an expression starts with: unary operators, then a primary.
    fn prefix(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        let (op, level) = match self.token.kind {
            Kind::Add => (Some(UnaryOp::Plus), level::UNARY),
            Kind::Subtract => (Some(UnaryOp::Minus), level::UNARY),
            Kind::BitNot => (Some(UnaryOp::BitNot), level::UNARY),
            Kind::Not => (Some(UnaryOp::Not), level::UNARY),
            Kind::Exists => (None, level::EXISTS),
            _ => return self.primary(),
        };
        self.advance()?;
        let operand = self.expression(level)?;
        let depth = operand.depth + 1;
        let operand = Box::new(operand);
        let kind = match op {
            Some(op) => NodeKind::Unary(op, operand),
            None => NodeKind::Exists(operand),
        };
        self.node(kind, start, depth)
    }

    fn primary(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        let text = self.token_text();
        let kind = match self.token.kind {
            Kind::True => NodeKind::Bool(true),
            Kind::False => NodeKind::Bool(false),
            Kind::Integer => NodeKind::Integer(literal::parse_integer(text)?),
            Kind::Float => NodeKind::Float(literal::parse_float(text)?),
            Kind::Text => NodeKind::Text(text),
            Kind::Meta => NodeKind::Identifier(text),
            Kind::StructField => NodeKind::StructField(text),
            Kind::ElementSelf => NodeKind::ElementSelf,
            Kind::StructSubField => {
                NodeKind::StructSubField(text.get(2..text.len() - 1).unwrap_or_default())
            }
            Kind::Identifier => return self.identifier(),
            Kind::JsonPath => return self.json_path(),
            Kind::LeftBrace => return self.template(),
            Kind::LeftParen => return self.parenthesised(),
            Kind::LeftBracket => return self.list(),
            _ => return Err(self.unexpected("an expression")),
        };
        self.advance()?;
        self.node(kind, start, 1)
    }

    /// A name and what may follow only a name: a call, a comparison of instants, a null test.
    fn identifier(&mut self) -> Result<Node<'a>, Fault> {
        let name = self.token_text();
        let next = self.peek(0);
        if next == Kind::LeftParen {
            return self.call(name);
        }
        if next == Kind::Text && matches!(name, "iso" | "ISO") {
            return self.time_compare_reversed();
        }
        let has_interval = matches!(next, Kind::Add | Kind::Subtract)
            && self.peek_word(1, "interval")
            && self.peek(2) == Kind::Text;
        let has_instant =
            compare_op(next).is_some() && self.peek_word(1, "iso") && self.peek(2) == Kind::Text;
        if has_interval || has_instant {
            return self.time_compare(name);
        }
        let start = self.start();
        self.advance()?;
        let node = self.node(NodeKind::Identifier(name), start, 1)?;
        self.null_test(node)
    }

    fn json_path(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        let path = self.token_text();
        self.advance()?;
        let node = self.node(NodeKind::JsonPath(path), start, 1)?;
        self.null_test(node)
    }

    fn null_test(&mut self, target: Node<'a>) -> Result<Node<'a>, Fault> {
        let negated = match self.token.kind {
            Kind::IsNull => false,
            Kind::IsNotNull => true,
            _ => return Ok(target),
        };
        self.advance()?;
        let start = target.start;
        self.node(NodeKind::IsNull { target: Box::new(target), negated }, start, 2)
    }

    fn template(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        self.advance()?;
        let name = self.token_text();
        self.expect(Kind::Identifier, "a template name")?;
        self.expect(Kind::RightBrace, "'}'")?;
        self.node(NodeKind::Template(name), start, 1)
    }

    fn parenthesised(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        self.advance()?;
        let mut inner = self.expression(level::OR)?;
        let end = self.token.end;
        self.expect(Kind::RightParen, "')'")?;
        inner.start = start;
        inner.end = offset(end);
        Ok(inner)
    }

    fn list(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.start();
        self.advance()?;
        let mut elements = Vec::new();
        let mut depth = 0;
        while self.token.kind != Kind::RightBracket {
            let element = self.expression(level::OR)?;
            depth = depth.max(element.depth);
            elements.push(element);
            if self.token.kind != Kind::Comma {
                break;
            }
            self.advance()?;
        }
        self.expect(Kind::RightBracket, "{',', ']'}")?;
        self.node(NodeKind::List(elements), start, depth + 1)
    }

    fn call(&mut self, name: &'a str) -> Result<Node<'a>, Fault> {
        let start = self.start();
        self.advance()?;
        self.advance()?;
        let mut call = CallNode { name, arguments: Vec::new(), option: None };
        let mut depth = 0;
        while self.token.kind != Kind::RightParen {
            if self.token.kind == Kind::Identifier && self.peek(0) == Kind::Assign {
                call.option = Some(self.call_option()?);
                break;
            }
            let argument = self.expression(level::OR)?;
            depth = depth.max(argument.depth);
            call.arguments.push(argument);
            if self.token.kind != Kind::Comma {
                break;
            }
            self.advance()?;
        }
        self.expect(Kind::RightParen, "{',', ')'}")?;
        self.node(NodeKind::Call(Box::new(call)), start, depth + 1)
    }

    /// `name=7`, the last argument of some calls.
    fn call_option(&mut self) -> Result<(&'a str, u64), Fault> {
        let name = self.token_text();
        self.advance()?;
        self.advance()?;
        let number = self.token_text();
        self.expect(Kind::Integer, "an integer")?;
        Ok((name, literal::parse_integer(number)?))
    }

    fn peek_word(&self, skip: usize, word: &str) -> bool {
        let mut lexer = self.lexer;
        for _ in 0..skip {
            if lexer.next().is_err() {
                return false;
            }
        }
        lexer.next().is_ok_and(|token| {
            is_word(self.text.get(token.start..token.end).unwrap_or_default(), word)
        })
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn expect(&mut self, kind: Kind, wanted: &str) -> Result<(), Fault> {
        if self.token.kind == kind { self.advance() } else { Err(self.unexpected(wanted)) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.token.kind {
            Kind::End => "<EOF>".to_owned(),
            _ => crate::fault::shorten(self.token_text(), 128),
        };
        let what = format!("mismatched input '{found}' expecting {wanted}");
        Fault::syntax(self.text, self.token.start, &what)
    }

    fn token_text(&self) -> &'a str {
        self.text.get(self.token.start..self.token.end).unwrap_or_default()
    }

    fn start(&self) -> u32 {
        offset(self.token.start)
    }

    /// A node that ends where the text before the current token ends.
    fn node(&mut self, kind: NodeKind<'a>, start: u32, depth: u16) -> Result<Node<'a>, Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::detail(format!(
                "the expression has more than {MAX_NODES} literals, fields and operators"
            )));
        }
        if usize::from(depth) > MAX_NESTING_DEPTH {
            return Err(too_deep());
        }
        Ok(Node { kind, start, end: self.start(), depth })
    }
}

fn too_deep() -> Fault {
    Fault::detail(format!("the nesting depth of the expression exceeds {MAX_NESTING_DEPTH}"))
}

/// Offsets fit in 32 bits because the length of the text is bounded.
fn offset(position: usize) -> u32 {
    debug_assert!(position <= crate::MAX_EXPRESSION_BYTES, "the text was measured before");
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn is_word(text: &str, lower: &str) -> bool {
    text == lower || text == lower.to_uppercase()
}

fn compare_op(kind: Kind) -> Option<CompareOp> {
    Some(match kind {
        Kind::Equal => CompareOp::Equal,
        Kind::NotEqual => CompareOp::NotEqual,
        Kind::Less => CompareOp::Less,
        Kind::LessEqual => CompareOp::LessEqual,
        Kind::Greater => CompareOp::Greater,
        Kind::GreaterEqual => CompareOp::GreaterEqual,
        _ => return None,
    })
}

fn binary_op(kind: Kind) -> Result<BinaryOp, Fault> {
    if let Some(op) = compare_op(kind) {
        return Ok(BinaryOp::Compare(op));
    }
    Ok(match kind {
        Kind::Add => BinaryOp::Arithmetic(ArithmeticOp::Add),
        Kind::Subtract => BinaryOp::Arithmetic(ArithmeticOp::Subtract),
        Kind::Multiply => BinaryOp::Arithmetic(ArithmeticOp::Multiply),
        Kind::Divide => BinaryOp::Arithmetic(ArithmeticOp::Divide),
        Kind::Modulo => BinaryOp::Arithmetic(ArithmeticOp::Modulo),
        Kind::BitAnd => BinaryOp::Arithmetic(ArithmeticOp::BitAnd),
        Kind::BitOr => BinaryOp::Arithmetic(ArithmeticOp::BitOr),
        Kind::BitXor => BinaryOp::Arithmetic(ArithmeticOp::BitXor),
        Kind::Power => BinaryOp::Power,
        Kind::ShiftLeft | Kind::ShiftRight => BinaryOp::Shift,
        other => return Err(Fault::detail(format!("{other:?} does not join two operands"))),
    })
}
