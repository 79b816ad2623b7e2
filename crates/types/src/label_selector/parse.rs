//! The text form of label selectors: a lexer and a recursive descent, in upstream's shape so that
//! the same text fails at the same place with the same message.

use std::collections::BTreeSet;

use super::{Operator, Requirement};
use crate::names;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    text: String,
}

impl Token {
    const fn end() -> Self {
        Self {
            kind: Kind::End,
            text: String::new(),
        }
    }
}

/// The requirements in the order of the text.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser {
        tokens: tokens(text),
        position: 0,
    };
    let mut found = Vec::new();
    loop {
        let next = parser.peek();
        match next.kind {
            Kind::End => return Ok(found),
            Kind::Identifier | Kind::Not => {
                let requirement = parser.requirement();
                found.push(requirement.map_err(|e| format!("unable to parse requirement: {e}"))?);
                if !parser.separator()? {
                    return Ok(found);
                }
            }
            _ => {
                let text = next.text;
                return Err(format!(
                    "found '{text}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
    }
}

// === lexer ===

const fn is_special(ch: char) -> bool {
    matches!(ch, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

const fn is_space(ch: char) -> bool {
    matches!(ch, ' ' | '\t' | '\r' | '\n')
}

fn keyword(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::Close,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "==" => Kind::DoubleEquals,
        "=" => Kind::Equals,
        ">" => Kind::Greater,
        "in" => Kind::In,
        "<" => Kind::Less,
        "!=" => Kind::NotEquals,
        "notin" => Kind::NotIn,
        "(" => Kind::Open,
        _ => return None,
    })
}

fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else {
            break;
        };
        let operator = is_special(first).then(|| operator(rest)).flatten();
        let token = operator.unwrap_or_else(|| {
            let end = rest
                .find(|ch| is_special(ch) || is_space(ch))
                .unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or_default().to_owned();
            (
                Token {
                    kind: keyword(&word).unwrap_or(Kind::Identifier),
                    text: word,
                },
                end,
            )
        });
        rest = rest.get(token.1..).unwrap_or_default();
        tokens.push(token.0);
    }
    tokens.push(Token::end());
    tokens
}

/// The operator at the start of `rest`, and its length. The longer one counts.
fn operator(rest: &str) -> Option<(Token, usize)> {
    [2, 1].into_iter().find_map(|length| {
        let text = rest.get(..length)?;
        let token = Token {
            kind: keyword(text)?,
            text: text.to_owned(),
        };
        Some((token, length))
    })
}

// === parser ===

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn at(&self, position: usize) -> Token {
        let token = self.tokens.get(position).cloned();
        token.unwrap_or_else(Token::end)
    }

    /// The next token where a name or a value may stand: `in` and `notin` are plain words there.
    fn peek(&self) -> Token {
        let mut token = self.at(self.position);
        if matches!(token.kind, Kind::In | Kind::NotIn) {
            token.kind = Kind::Identifier;
        }
        token
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.position += 1;
        token
    }

    /// Consumes what stands between two requirements; false at the end.
    fn separator(&mut self) -> Result<bool, String> {
        let token = self.take();
        match token.kind {
            Kind::End => Ok(false),
            Kind::Comma => {
                let next = self.peek();
                if matches!(next.kind, Kind::Identifier | Kind::Not) {
                    return Ok(true);
                }
                Err(format!(
                    "found '{}', expected: identifier after ','",
                    next.text
                ))
            }
            _ => Err(format!(
                "found '{}', expected: ',' or 'end of string'",
                token.text
            )),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (key, unary) = self.key()?;
        let (operator, values) = match unary {
            Some(operator) => (operator, Vec::new()),
            None => {
                let operator = self.operator()?;
                let values = match operator {
                    Operator::In | Operator::NotIn => self.values()?,
                    _ => self.exact_value()?,
                };
                (operator, values)
            }
        };
        Requirement::new(&key, operator, values).map_err(|error| error.0)
    }

    fn key(&mut self) -> Result<(String, Option<Operator>), String> {
        let mut token = self.take();
        let mut operator = None;
        if token.kind == Kind::Not {
            operator = Some(Operator::DoesNotExist);
            token = self.take();
        }
        if token.kind != Kind::Identifier {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        let faults = names::qualified_name(&token.text);
        if !faults.is_empty() {
            let (key, faults) = (&token.text, faults.join("; "));
            return Err(format!("<nil>: Invalid value: {key:?}: {faults}"));
        }
        if operator.is_none() && matches!(self.peek().kind, Kind::End | Kind::Comma) {
            operator = Some(Operator::Exists);
        }
        Ok((token.text, operator))
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let token = self.at(self.position);
        self.position += 1;
        Ok(match token.kind {
            Kind::In => Operator::In,
            Kind::Equals => Operator::Equals,
            Kind::DoubleEquals => Operator::DoubleEquals,
            Kind::Greater => Operator::GreaterThan,
            Kind::Less => Operator::LessThan,
            Kind::NotIn => Operator::NotIn,
            Kind::NotEquals => Operator::NotEquals,
            _ => {
                let text = token.text;
                return Err(format!(
                    "found '{text}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.take();
        if open.kind != Kind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let first = self.peek();
        match first.kind {
            Kind::Identifier | Kind::Comma => {
                let values = self.list()?;
                if self.take().kind != Kind::Close {
                    return Err(format!("found '{}', expected: ')'", first.text));
                }
                Ok(values.into_iter().collect())
            }
            Kind::Close => {
                self.position += 1;
                Ok(vec![String::new()])
            }
            _ => Err(format!(
                "found '{}', expected: ',', ')' or identifier",
                first.text
            )),
        }
    }

    fn list(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            let token = self.take();
            let next = self.peek();
            match (token.kind, next.kind) {
                (Kind::Identifier, Kind::Comma) => {
                    values.insert(token.text);
                }
                (Kind::Identifier, Kind::Close) => {
                    values.insert(token.text);
                    return Ok(values);
                }
                (Kind::Identifier, _) => {
                    return Err(format!("found '{}', expected: ',' or ')'", next.text));
                }
                (Kind::Comma, kind) => {
                    if values.is_empty() || kind != Kind::Identifier {
                        values.insert(String::new());
                    }
                    match kind {
                        Kind::Close => return Ok(values),
                        Kind::Comma => self.position += 1,
                        _ => {}
                    }
                }
                _ => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        token.text
                    ));
                }
            }
        }
    }

    fn exact_value(&mut self) -> Result<Vec<String>, String> {
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Ok(vec![String::new()]);
        }
        let token = self.take();
        if token.kind == Kind::Identifier {
            return Ok(vec![token.text]);
        }
        Err(format!("found '{}', expected: identifier", token.text))
    }
}
