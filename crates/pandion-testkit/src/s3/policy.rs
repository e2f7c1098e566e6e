//! Policies of AWS, as far as reading a lake needs them: `Effect`, `Action`, `Resource`,
//! `Principal`, and conditions on strings. What is not known is refused when a policy is read,
//! since a rule that is passed over is a rule that lets through.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// What somebody asks to be let do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Such as `s3:GetObject`.
    pub(crate) action: &'a str,
    /// The ARN of what it is done to; empty for a trust policy, whose resource is its role.
    pub(crate) resource: &'a str,
    /// The ARN of who asks, or [`FEDERATED`].
    pub(crate) principal: &'a str,
    /// Keys of conditions and their values.
    pub(crate) context: &'a [(&'a str, &'a str)],
}

/// The principal of whoever shows a web identity token.
pub(crate) const FEDERATED: &str = "federated";

/// A policy document.
#[derive(Clone, Debug)]
pub(crate) struct Policy(Vec<Statement>);

#[derive(Clone, Debug)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    /// `None` in a trust policy.
    resources: Option<Vec<String>>,
    /// `None` in a policy of permissions.
    principals: Option<Vec<String>>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    is_pattern: bool,
    key: String,
    values: Vec<String>,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// Anything in it that is not known.
    pub(crate) fn parse(document: &Value) -> anyhow::Result<Self> {
        let statements = match document.get("Statement").context("a policy without Statement")? {
            Value::Array(statements) => statements.clone(),
            statement => vec![statement.clone()],
        };
        Ok(Self(statements.iter().map(Statement::parse).collect::<anyhow::Result<_>>()?))
    }

    /// Whether some statement allows it and none denies it.
    pub(crate) fn allows(&self, asked: &Asked<'_>) -> bool {
        let mut matching = self.0.iter().filter(|statement| statement.matches(asked)).peekable();
        matching.peek().is_some() && matching.all(|statement| statement.allows)
    }
}

impl Statement {
    fn parse(statement: &Value) -> anyhow::Result<Self> {
        let fields = statement.as_object().context("a statement that is no object")?;
        for key in fields.keys() {
            let known = ["Sid", "Effect", "Action", "Resource", "Principal", "Condition"];
            ensure!(known.contains(&key.as_str()), "a statement with {key}, which is not built");
        }
        let allows = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => bail!("a statement whose Effect is neither Allow nor Deny"),
        };
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(conditions) => parse_conditions(conditions)?,
        };
        Ok(Self {
            allows,
            actions: texts(fields.get("Action").context("a statement without Action")?)?,
            resources: fields.get("Resource").map(texts).transpose()?,
            principals: fields.get("Principal").map(parse_principals).transpose()?,
            conditions,
        })
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let action = asked.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action))
            && self.resources.as_ref().is_none_or(|patterns| {
                patterns.iter().any(|pattern| is_like(pattern, asked.resource))
            })
            && self.principals.as_ref().is_none_or(|principals| {
                principals.iter().any(|principal| is_principal(principal, asked.principal))
            })
            && self.conditions.iter().all(|condition| condition.holds(asked.context))
    }
}

impl Condition {
    fn holds(&self, context: &[(&str, &str)]) -> bool {
        let found = context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key));
        found.is_some_and(|(_, found)| {
            self.values.iter().any(|value| match self.is_pattern {
                true => is_like(value, found),
                false => value == found,
            })
        })
    }
}

fn parse_conditions(conditions: &Value) -> anyhow::Result<Vec<Condition>> {
    let mut parsed = Vec::new();
    for (operator, keys) in conditions.as_object().context("a Condition that is no object")? {
        let is_pattern = match operator.as_str() {
            "StringEquals" => false,
            "StringLike" => true,
            _ => bail!("the condition operator {operator} is not built"),
        };
        for (key, values) in keys.as_object().context("a condition that is no object")? {
            parsed.push(Condition { is_pattern, key: key.clone(), values: texts(values)? });
        }
    }
    Ok(parsed)
}

fn parse_principals(principals: &Value) -> anyhow::Result<Vec<String>> {
    if principals.as_str() == Some("*") {
        return Ok(vec!["*".to_owned()]);
    }
    let mut parsed = Vec::new();
    for (kind, names) in principals.as_object().context("a Principal that is no object")? {
        match kind.as_str() {
            "AWS" => parsed.extend(texts(names)?),
            "Federated" => parsed.push(FEDERATED.to_owned()),
            // Services of AWS are never who asks here.
            "Service" => {}
            _ => bail!("the principal {kind} is not built"),
        }
    }
    Ok(parsed)
}

/// A whole account stands for everybody in it.
fn is_principal(named: &str, who: &str) -> bool {
    if named == who || (named == "*" && who != FEDERATED) {
        return true;
    }
    let account = named
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_suffix(":root"))
        .unwrap_or(named);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    is_account && who.split(':').nth(4) == Some(account)
}

fn texts(value: &Value) -> anyhow::Result<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a value is no text");
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

/// Whether `text` is like a pattern in which `*` stands for any text and `?` for any character.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where to go on when what came after the last star does not fit: one character further.
    let (mut at, mut star, mut position) = (0, None, 0);
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                at = star_at + 1;
                position = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(policy: &Value, asked: Asked<'_>, expected: bool) {
        assert_eq!(Policy::parse(policy).unwrap().allows(&asked), expected, "{asked:?}");
    }

    #[test]
    fn an_allow_is_needed_and_a_deny_wins() {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:List*"], "Resource": "arn:aws:s3:::lake*"},
            {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/secret/*"},
        ]});
        let asked = |action, resource| Asked { action, resource, principal: "x", context: &[] };
        check(&policy, asked("s3:GetObject", "arn:aws:s3:::lake/a/b"), true);
        check(&policy, asked("s3:listbucket", "arn:aws:s3:::lake"), true);
        check(&policy, asked("s3:PutObject", "arn:aws:s3:::lake/a"), false);
        check(&policy, asked("s3:GetObject", "arn:aws:s3:::other/a"), false);
        check(&policy, asked("s3:GetObject", "arn:aws:s3:::lake/secret/a"), false);
    }

    #[test]
    fn conditions_must_hold() {
        let policy = json!({"Statement": {"Effect": "Allow", "Action": "s3:ListBucket",
            "Resource": "*", "Condition": {"StringLike": {"s3:prefix": ["t/*", "t"]}}}});
        let asked =
            |context| Asked { action: "s3:ListBucket", resource: "r", principal: "x", context };
        check(&policy, asked(&[("s3:prefix", "t/a")]), true);
        check(&policy, asked(&[("s3:prefix", "u/a")]), false);
        check(&policy, asked(&[]), false);
    }

    #[test]
    fn a_trust_policy_names_principals() {
        let trust = |principal: Value| {
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": "id"}}}]})
        };
        let user = "arn:aws:iam::123456789012:user/pandion";
        let asked =
            |context| Asked { action: "sts:AssumeRole", resource: "", principal: user, context };
        let right: &[_] = &[("sts:ExternalId", "id")];
        for principal in ["arn:aws:iam::123456789012:root", "123456789012", user] {
            check(&trust(json!({"AWS": principal})), asked(right), true);
            check(&trust(json!({"AWS": principal})), asked(&[("sts:ExternalId", "no")]), false);
            check(&trust(json!({"AWS": principal})), asked(&[]), false);
        }
        check(&trust(json!({"AWS": "arn:aws:iam::000000000000:root"})), asked(right), false);
        check(&trust(json!({"Federated": "oidc"})), asked(right), false);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for policy in [
            json!({}),
            json!({"Statement": {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}}),
            json!({"Statement": {"Effect": "Maybe", "Action": "s3:*", "Resource": "*"}}),
            json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*",
                "Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}}),
        ] {
            assert!(Policy::parse(&policy).is_err(), "{policy}");
        }
    }

    #[test]
    fn stars_and_question_marks_stand_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxbxb", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
