//! Literals out of a statement's text, so that texts that differ in them alone share a plan and a prepared statement.
//!
//! The scanner here only finds the literals: it looks at each byte once and parses nothing. Which of them become
//! parameters is decided on the tree, when the first text of a kind is read ([`crate::rewrite`] on the guarded road,
//! [`crate::liftable`] on the open one); the others stay in the text, and in the key. A text with anything that could be
//! read in two ways (a comment, a backslash in a string, `E''`, dollar quotes) is not scanned at all: it is its own key.

use std::fmt::Write as _;

use ringfence_policy::ConnectionKind;
use sqlparser::tokenizer::Token;

use crate::sealed::Parameter;

/// Texts with more literals are their own keys.
const MOST: usize = 64;

/// The type that a literal has by itself (manual, 4.1.2). A text has none: it takes that of the other operand, as a
/// parameter without a type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    Int4,
    Int8,
    Numeric,
    Text,
}

impl LiteralKind {
    /// What stands for the literal in the skeleton. No text that is scanned has such a character.
    const fn mark(self) -> char {
        match self {
            Self::Int4 => '\u{1}',
            Self::Int8 => '\u{2}',
            Self::Numeric => '\u{3}',
            Self::Text => '\u{4}',
        }
    }

    /// What gives a placeholder the literal's own type, so that operators are found as they are for the literal. These
    /// names are words of the grammar: no search path leads elsewhere.
    pub(crate) const fn cast(self) -> &'static str {
        match self {
            Self::Int4 => "::integer",
            Self::Int8 => "::bigint",
            Self::Numeric => "::numeric",
            Self::Text => "",
        }
    }
}

/// A literal of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) kind: LiteralKind,
    /// Where it stands in the text, quotes included.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where its mark stands in the skeleton.
    mark: usize,
}

/// A text whose literals were found.
#[derive(Debug)]
pub struct Scanned<'t> {
    text: &'t str,
    skeleton: String,
    literals: Vec<Literal>,
}

/// Finds the literals of a text. `None`: it has none, or something that this does not read.
pub fn scan(text: &str, kind: ConnectionKind) -> Option<Scanned<'_>> {
    // Others compare a value by the type that it has, which a parameter may not have.
    if kind != ConnectionKind::Postgresql {
        return None;
    }
    let mut scanner = Scanner {
        text,
        scanned: Scanned { text, skeleton: String::with_capacity(text.len()), literals: Vec::new() },
        place: 0,
        copied: 0,
        after_string: false,
    };
    while scanner.step()? {}
    let Scanner { mut scanned, copied, .. } = scanner;
    scanned.skeleton.push_str(text.get(copied..)?);
    (!scanned.literals.is_empty()).then_some(scanned)
}

impl Scanned<'_> {
    /// The text with a mark for each literal.
    pub fn skeleton(&self) -> &str {
        &self.skeleton
    }

    /// The text with a mark for each literal that is lifted, and the others as they are.
    pub fn key(&self, lifted: &[bool]) -> String {
        let mut key = String::with_capacity(self.text.len());
        let mut copied = 0;
        for (literal, lifted) in self.literals.iter().zip(lifted) {
            if !lifted {
                key.push_str(self.skeleton.get(copied..literal.mark).unwrap_or_default());
                key.push_str(self.text.get(literal.start..literal.end).unwrap_or_default());
                copied = literal.mark.saturating_add(1);
            }
        }
        key.push_str(self.skeleton.get(copied..).unwrap_or_default());
        key
    }

    /// The text with a placeholder for each literal that is lifted.
    pub(crate) fn with_placeholders(&self, lifted: &[bool]) -> String {
        let mut text = String::with_capacity(self.text.len());
        let (mut copied, mut number) = (0, 0_usize);
        for (literal, _) in self.literals.iter().zip(lifted).filter(|(_, lifted)| **lifted) {
            number = number.saturating_add(1);
            text.push_str(self.text.get(copied..literal.start).unwrap_or_default());
            let _ = write!(text, "(${number}{})", literal.kind.cast());
            copied = literal.end;
        }
        text.push_str(self.text.get(copied..).unwrap_or_default());
        text
    }

    /// Whether a text among the literals has a part that this finds.
    pub(crate) fn any_text(&self, found: impl Fn(&str) -> bool) -> bool {
        let mut texts = self.literals.iter().filter(|literal| literal.kind == LiteralKind::Text);
        texts.any(|literal| self.text.get(literal.start..literal.end).is_some_and(&found))
    }

    /// The values of the literals that are lifted, in their order.
    pub fn values(&self, lifted: &[bool]) -> Vec<Parameter> {
        let lifted = self.literals.iter().zip(lifted).filter(|(_, lifted)| **lifted);
        lifted.map(|(literal, _)| Parameter::Text(self.value(literal))).collect()
    }

    pub(crate) fn literals(&self) -> &[Literal] {
        &self.literals
    }

    pub(crate) fn text(&self) -> &str {
        self.text
    }

    /// Whether the tokenizer found these very literals.
    pub(crate) fn agrees(&self, tokens: &[Token]) -> bool {
        let mut found = tokens.iter().filter(|token| crate::fingerprint::is_literal(token));
        let all = self.literals.iter().all(|literal| match (literal.kind, found.next()) {
            (LiteralKind::Text, Some(Token::SingleQuotedString(text))) => {
                *text == self.value(literal) || *text == self.value(literal).replace('\'', "''")
            }
            (LiteralKind::Text, _) | (_, None) => false,
            (_, Some(Token::Number(number, false))) => {
                self.text.get(literal.start..literal.end) == Some(number.as_str())
            }
            (_, Some(_)) => false,
        });
        all && found.next().is_none()
    }

    fn value(&self, literal: &Literal) -> String {
        let text = self.text.get(literal.start..literal.end).unwrap_or_default();
        match literal.kind {
            LiteralKind::Int4 | LiteralKind::Int8 | LiteralKind::Numeric => text.to_owned(),
            LiteralKind::Text => {
                let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                inner.unwrap_or_default().replace("''", "'")
            }
        }
    }
}

struct Scanner<'t> {
    text: &'t str,
    scanned: Scanned<'t>,
    place: usize,
    /// What of the text is in the skeleton.
    copied: usize,
    /// Whether nothing but white space came after a string: two strings may be one.
    after_string: bool,
}

impl Scanner<'_> {
    /// One token or white space. `None` for what is not read here, `false` at the end.
    fn step(&mut self) -> Option<bool> {
        let Some(byte) = self.byte(0) else { return Some(false) };
        let after_string = std::mem::replace(&mut self.after_string, false);
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.after_string = after_string;
                self.advance(1);
            }
            b'\'' if !after_string => self.string()?,
            b'0'..=b'9' => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word()?,
            b'"' => self.quoted_name()?,
            // Numbered placeholders; any other dollar may begin a string.
            b'$' if self.byte(1).is_some_and(|next| next.is_ascii_digit()) => {
                self.advance(1);
                self.skip(|byte| byte.is_ascii_digit());
                if self.byte(0).is_some_and(continues_word) {
                    return None;
                }
            }
            b'-' if self.byte(1) == Some(b'-') => return None,
            b'/' if self.byte(1) == Some(b'*') => return None,
            // `.5` is a number.
            b'.' if self.byte(1).is_some_and(|next| next.is_ascii_digit()) => return None,
            b'\'' | b'$' | b'\\' | b'`' | b'{' | b'}' | 0..=0x1f | 0x7f => return None,
            _ => self.advance(1),
        }
        Some(true)
    }

    fn string(&mut self) -> Option<()> {
        let start = self.place;
        self.advance(1);
        loop {
            match self.byte(0)? {
                b'\'' if self.byte(1) == Some(b'\'') => self.advance(2),
                b'\'' => break,
                b'\\' | 0..=8 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => return None,
                _ => self.advance(1),
            }
        }
        self.advance(1);
        let text = self.text.get(start..self.place)?;
        // What the guard would refuse in a text, it refuses in every text.
        let is_odd = |c: char| !c.is_ascii() && (c.is_whitespace() || c.is_control() || c == '\u{feff}');
        if (!text.is_ascii() && text.contains(is_odd)) || self.byte(0).is_some_and(continues_word) {
            return None;
        }
        self.after_string = true;
        self.note(LiteralKind::Text, start)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.place;
        self.skip(|byte| byte.is_ascii_digit());
        let mut is_whole = true;
        if self.byte(0) == Some(b'.') {
            is_whole = false;
            self.advance(1);
            self.digits()?;
        }
        if matches!(self.byte(0), Some(b'e' | b'E')) {
            is_whole = false;
            self.advance(1);
            if matches!(self.byte(0), Some(b'+' | b'-')) {
                self.advance(1);
            }
            self.digits()?;
        }
        if self.byte(0).is_some_and(|byte| continues_word(byte) || matches!(byte, b'.' | b'\'')) {
            return None;
        }
        let digits = self.text.get(start..self.place)?;
        let kind = match digits.parse::<i64>() {
            _ if !is_whole => LiteralKind::Numeric,
            // Some read it as an octal number.
            _ if digits.len() > 1 && digits.starts_with('0') => return None,
            Ok(number) if i32::try_from(number).is_ok() => LiteralKind::Int4,
            Ok(_) => LiteralKind::Int8,
            Err(_) => LiteralKind::Numeric,
        };
        self.note(kind, start)
    }

    fn digits(&mut self) -> Option<()> {
        self.byte(0).filter(u8::is_ascii_digit)?;
        self.skip(|byte| byte.is_ascii_digit());
        Some(())
    }

    fn word(&mut self) -> Option<()> {
        self.skip(continues_word);
        // `E'...'`, `U&'...'`, `N'...'`: strings that are read otherwise.
        match self.byte(0) {
            Some(b'\'' | b'"') => None,
            Some(b'&') if matches!(self.byte(1), Some(b'\'' | b'"')) => None,
            _ => Some(()),
        }
    }

    fn quoted_name(&mut self) -> Option<()> {
        self.advance(1);
        loop {
            match self.byte(0)? {
                b'"' if self.byte(1) == Some(b'"') => self.advance(2),
                b'"' => break,
                0..=0x1f | 0x7f => return None,
                _ => self.advance(1),
            }
        }
        self.advance(1);
        (!matches!(self.byte(0), Some(b'\'' | b'"'))).then_some(())
    }

    /// A literal ends here.
    fn note(&mut self, kind: LiteralKind, start: usize) -> Option<()> {
        let scanned = &mut self.scanned;
        if scanned.literals.len() >= MOST {
            return None;
        }
        scanned.skeleton.push_str(self.text.get(self.copied..start)?);
        let mark = scanned.skeleton.len();
        scanned.skeleton.push(kind.mark());
        scanned.literals.push(Literal { kind, start, end: self.place, mark });
        self.copied = self.place;
        Some(())
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.place.saturating_add(ahead)).copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.place = self.place.saturating_add(bytes);
    }

    fn skip(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&belongs) {
            self.advance(1);
        }
    }
}

/// Bytes of names behind their first.
fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The skeleton with marks that can be read, and the values.
    fn scanned(text: &str) -> Option<(String, Vec<String>)> {
        let scanned = scan(text, ConnectionKind::Postgresql)?;
        let readable = scanned.skeleton().replace('\u{1}', "#4").replace('\u{2}', "#8");
        let readable = readable.replace('\u{3}', "#n").replace('\u{4}', "#t");
        let all = vec![true; scanned.literals.len()];
        let values = scanned.values(&all).into_iter().map(|value| match value {
            Parameter::Text(text) => text,
            other => panic!("{other:?}"),
        });
        assert_eq!(scanned.key(&vec![false; all.len()]), text);
        assert_eq!(scanned.key(&all), scanned.skeleton());
        Some((readable, values.collect()))
    }

    #[test]
    fn literals_have_the_types_that_postgresql_gives_them() {
        for (text, skeleton, values) in [
            ("SELECT a1 FROM t WHERE id = 4711", "SELECT a1 FROM t WHERE id = #4", vec!["4711"]),
            ("id=2147483647", "id=#4", vec!["2147483647"]),
            ("id=2147483648", "id=#8", vec!["2147483648"]),
            ("id=9223372036854775808", "id=#n", vec!["9223372036854775808"]),
            ("x < 1.50 OR x>1e5", "x < #n OR x>#n", vec!["1.50", "1e5"]),
            ("s='it''s' AND \"q\"\"1\"=0", "s=#t AND \"q\"\"1\"=#4", vec!["it's", "0"]),
            ("é='ü' AND $1 = 2", "é=#t AND $1 = #4", vec!["ü", "2"]),
            ("x IN (1,2)", "x IN (#4,#4)", vec!["1", "2"]),
            ("x = ''", "x = #t", vec![""]),
            ("a[1:2]", "a[#4:#4]", vec!["1", "2"]),
        ] {
            let values = values.into_iter().map(str::to_owned).collect();
            assert_eq!(scanned(text), Some((skeleton.to_owned(), values)), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_its_own_key() {
        for text in [
            "SELECT a FROM t", "x = E'a'", "x = U&'a'", "x = U&\"a\" AND y = 1", "x = N'a'", "x = 'a\\'",
            "x = $$a$$", "x = $a$1$a$", "x = 1 -- 2", "x = 1 /* 2 */", "x = 'a'\n'b'", "x = 'a' 'b'",
            "x = 'a'b", "x = 'a", "x = \"a", "x = .5", "x = 1.", "x = 1..2", "x = 1.2.3", "x = 0x1F",
            "x = 1_000", "x = 007", "x = 1a", "x = $1a", "x = 1e", "x = 'a\0'", "x = 'a\u{3000}'",
            "x = \u{1} AND y = 1", "x = `1`",
        ] {
            assert_eq!(scanned(text), None, "{text}");
        }
        let many = format!("x IN ({})", vec!["1"; MOST + 1].join(","));
        assert_eq!(scanned(&many), None);
        assert!(scan("x = 1", ConnectionKind::Sqlite).is_none());
    }

    #[test]
    fn keys_keep_what_is_not_lifted() {
        let scanned = scan("SELECT 1, 'a' FROM t WHERE x = 2 LIMIT 3", ConnectionKind::Postgresql).unwrap();
        let lifted = [false, false, true, false];
        assert_eq!(scanned.key(&lifted), "SELECT 1, 'a' FROM t WHERE x = \u{1} LIMIT 3");
        assert_eq!(scanned.values(&lifted), [Parameter::Text("2".to_owned())]);
    }
}
