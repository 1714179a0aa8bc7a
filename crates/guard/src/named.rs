//! The relations that a statement of an open connection names, read from its tokens alone: for the record of the call.
//!
//! This is a reader, not a fence: it says what stands where a relation's name can stand, and may miss one. Nothing is
//! admitted or refused for what it finds.

use sqlparser::tokenizer::Token;

use crate::statement::{ReadStatement, word_at};

/// Names of either kind that are told apart: each is compared with all others.
const MOST_NAMES: usize = 1_000;

/// A relation as the statement names it. Unquoted names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct NamedRelation {
    pub schema: Option<String>,
    pub name: String,
}

/// A name defined in WITH, and the tokens among which it hides a relation of that name.
struct Defined {
    name: String,
    from: usize,
    until: usize,
}

/// What is known at one depth of parentheses.
#[derive(Default)]
struct Frame {
    /// The next thing is a relation, or a sub-query in its place.
    expects: bool,
    /// A comma at this depth is followed by another relation.
    lists: bool,
    /// FROM in here is part of a function's own syntax, as in `extract(year FROM x)`.
    call_syntax: bool,
}

struct Reader<'a> {
    tokens: &'a [Token],
    closings: &'a Closings,
    outermost: Frame,
    /// One per open parenthesis.
    frames: Vec<Frame>,
    /// Each once, in the statement's order; never a name that the statement itself defines in WITH.
    found: Vec<NamedRelation>,
    defined: Vec<Defined>,
}

pub(crate) fn read(statement: &ReadStatement) -> Vec<NamedRelation> {
    let Some(tokens) = &statement.tokens else { return Vec::new() };
    let closings = Closings::of(tokens);
    let mut reader = Reader {
        tokens,
        closings: &closings,
        outermost: Frame::default(),
        frames: Vec::new(),
        found: Vec::new(),
        defined: Vec::new(),
    };
    let mut index = 0;
    while index < tokens.len() {
        index = reader.step(index);
    }
    reader.found
}

impl Reader<'_> {
    /// Reads the token at `index` and answers which one is next.
    fn step(&mut self, index: usize) -> usize {
        let next = index.saturating_add(1);
        match self.tokens.get(index) {
            Some(Token::LParen) => self.open(index),
            Some(Token::RParen) => drop(self.frames.pop()),
            Some(Token::Comma) => {
                let frame = self.frame();
                frame.expects |= frame.lists;
            }
            Some(Token::Word(word)) => {
                let keyword = word_at(self.tokens, index).unwrap_or_default();
                if self.frame().expects {
                    return self.relation(index, &keyword);
                }
                if word.quote_style.is_none() {
                    self.keyword(index, &keyword);
                }
            }
            // A string, a parameter or an operator where a relation belongs.
            _ => self.frame().expects = false,
        }
        next
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or(&mut self.outermost)
    }

    fn open(&mut self, index: usize) {
        let expects = std::mem::take(&mut self.frame().expects);
        let call_syntax =
            index.checked_sub(1).and_then(|before| word_at(self.tokens, before)).is_some_and(|word| {
                ["EXTRACT", "SUBSTRING", "TRIM", "OVERLAY", "POSITION"].contains(&word.as_str())
            });
        self.frames.push(Frame { expects, lists: expects, call_syntax });
    }

    fn keyword(&mut self, index: usize, keyword: &str) {
        let following = word_at(self.tokens, index.saturating_add(1)).unwrap_or_default();
        let word_follows = matches!(self.tokens.get(index.saturating_add(1)), Some(Token::Word(_)));
        let (expects, lists) = match keyword {
            "FROM" if self.frame().call_syntax || self.compares_with_from(index) => return,
            "FROM" | "JOIN" => (true, true),
            "TABLE" | "INTO" => (true, false),
            "UPDATE" if word_follows && !["OF", "SET", "NOWAIT", "SKIP"].contains(&following.as_str()) => {
                (true, false)
            }
            // SQLite takes a table's name after IN.
            "IN" | "USING" if word_follows => (true, keyword == "USING"),
            "WITH" => return self.definitions(index),
            "SELECT" | "WHERE" | "GROUP" | "ORDER" | "HAVING" | "LIMIT" | "UNION" | "INTERSECT"
            | "EXCEPT" | "WINDOW" | "FETCH" | "OFFSET" | "SET" | "RETURNING" | "VALUES" | "FOR" => {
                (false, false)
            }
            _ => return,
        };
        let frame = self.frame();
        (frame.expects, frame.lists) = (expects, lists);
    }

    /// `a IS DISTINCT FROM b` compares; `SELECT DISTINCT FROM t` reads.
    fn compares_with_from(&self, index: usize) -> bool {
        let before =
            |steps| index.checked_sub(steps).and_then(|at| word_at(self.tokens, at)).unwrap_or_default();
        before(1) == "DISTINCT" && before(2) != "SELECT"
    }

    /// A word where a relation belongs: a part of the grammar, the beginning of a sub-query, a call, or a name.
    fn relation(&mut self, index: usize, keyword: &str) -> usize {
        let next = index.saturating_add(1);
        match keyword {
            "LATERAL" | "ONLY" | "TABLE" | "IF" | "NOT" | "EXISTS" | "INTO" | "FROM" | "ROWS" => return next,
            "SELECT" | "VALUES" | "WITH" => {
                let frame = self.frame();
                (frame.expects, frame.lists) = (false, false);
                self.keyword(index, keyword);
                return next;
            }
            _ => {}
        }
        self.frame().expects = false;
        let (parts, end) = self.name(index);
        if self.tokens.get(end) == Some(&Token::LParen) && !self.is_target(index) {
            return end;
        }
        let mut parts = parts.into_iter().rev();
        if let Some(name) = parts.next() {
            let schema = parts.next();
            let defined = schema.is_none() && self.is_defined(&name, index);
            let relation = NamedRelation { schema, name };
            if !defined && self.found.len() < MOST_NAMES && !self.found.contains(&relation) {
                self.found.push(relation);
            }
        }
        end
    }

    /// `INSERT INTO t (a, b)` and `CREATE TABLE t (a int)`: the parenthesis makes no call of it.
    fn is_target(&self, index: usize) -> bool {
        let before = index.checked_sub(1).and_then(|at| word_at(self.tokens, at)).unwrap_or_default();
        ["INTO", "TABLE", "EXISTS"].contains(&before.as_str())
    }

    /// The parts of a dotted name, and the index after it.
    fn name(&self, start: usize) -> (Vec<String>, usize) {
        let mut parts = Vec::new();
        let mut index = start;
        while let Some(Token::Word(word)) = self.tokens.get(index) {
            parts.push(match word.quote_style {
                None => word.value.to_ascii_lowercase(),
                Some(quote) => {
                    let doubled: String = [quote, quote].iter().collect();
                    word.value.replace(&doubled, &quote.to_string())
                }
            });
            index = index.saturating_add(1);
            if self.tokens.get(index) != Some(&Token::Period) {
                break;
            }
            index = index.saturating_add(1);
        }
        (parts, index)
    }

    fn is_defined(&self, name: &str, index: usize) -> bool {
        self.defined
            .iter()
            .any(|defined| defined.name == name && (defined.from..defined.until).contains(&index))
    }

    /// Reads the names that a WITH defines. A name is known after its own definition, with RECURSIVE in all of them.
    fn definitions(&mut self, with: usize) {
        let mut index = with.saturating_add(1);
        let recursive = word_at(self.tokens, index).as_deref() == Some("RECURSIVE");
        if recursive {
            index = index.saturating_add(1);
        }
        let until = self.closings.after(index);
        while let (parts, after) = self.name(index)
            && let [name] = parts.as_slice()
        {
            let mut body = after;
            if self.tokens.get(body) == Some(&Token::LParen) {
                body = self.closings.after(body.saturating_add(1)).saturating_add(1);
            }
            while matches!(word_at(self.tokens, body).as_deref(), Some("AS" | "NOT" | "MATERIALIZED")) {
                body = body.saturating_add(1);
            }
            if self.tokens.get(body) != Some(&Token::LParen) {
                return;
            }
            let end = self.closings.after(body.saturating_add(1));
            if self.defined.len() >= MOST_NAMES {
                return;
            }
            let from = if recursive { with } else { end };
            self.defined.push(Defined { name: name.clone(), from, until });
            index = end.saturating_add(2);
            if self.tokens.get(end.saturating_add(1)) != Some(&Token::Comma) {
                return;
            }
        }
    }
}

/// For each place, the parenthesis that closes what is open there, or the end. Looked up, because statements of a
/// megabyte ask for it at every second token.
struct Closings(Vec<usize>);

impl Closings {
    fn of(tokens: &[Token]) -> Self {
        let mut open = Vec::new();
        let mut closings: Vec<usize> = Vec::with_capacity(tokens.len());
        for (index, token) in tokens.iter().enumerate().rev() {
            match token {
                Token::RParen => open.push(index),
                Token::LParen => drop(open.pop()),
                _ => {}
            }
            closings.push(open.last().copied().unwrap_or(tokens.len()));
        }
        closings.reverse();
        Self(closings)
    }

    fn after(&self, start: usize) -> usize {
        self.0.get(start).copied().unwrap_or(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use ringfence_policy::{ConnectionKind, OpenAccess};

    use crate::open;

    fn named(sql: &str, kind: ConnectionKind) -> Vec<String> {
        let query = open(sql, kind, OpenAccess { read_only: false }).unwrap();
        let names = query.named_relations().iter().map(|relation| match &relation.schema {
            Some(schema) => format!("{schema}.{}", relation.name),
            None => relation.name.clone(),
        });
        names.collect()
    }

    #[test]
    fn relations_are_found_wherever_they_stand() {
        for (sql, expected) in [
            ("SELECT 1", ""),
            ("SELECT * FROM Users", "users"),
            ("SELECT * FROM a, b x, s.c AS y WHERE d IN (1, 2)", "a b s.c"),
            ("SELECT * FROM a JOIN b ON a.i = b.i, c", "a b c"),
            ("SELECT * FROM (a JOIN \"B\" USING (i)) j, (SELECT * FROM c) k", "a B c"),
            ("SELECT (SELECT max(x) FROM t) FROM u WHERE EXISTS (SELECT 1 FROM v)", "t u v"),
            ("SELECT extract(year FROM d), a IS DISTINCT FROM b FROM t", "t"),
            ("SELECT DISTINCT FROM t", "t"),
            ("TABLE t", "t"),
            ("SELECT 1 UNION TABLE s.t", "s.t"),
            ("SELECT * FROM ONLY t, LATERAL (VALUES (1), (2)) x", "t"),
            ("SELECT * FROM generate_series(1, 2) g, t", "t"),
            ("SELECT * FROM db.s.t", "s.t"),
            ("INSERT INTO t (a, b) SELECT a, b FROM u ON CONFLICT DO UPDATE SET a = 1", "t u"),
            ("UPDATE t SET a = 1 FROM u", "t u"),
            ("DELETE FROM t USING u WHERE 1 = 1", "t u"),
            ("SELECT * FROM t FOR UPDATE", "t"),
            ("CREATE TABLE IF NOT EXISTS t (a int)", "t"),
            ("SELECT a::int, CAST(b AS text), date '2020-01-01' FROM t WHERE c LIKE 'x'", "t"),
        ] {
            let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
            assert_eq!(named(sql, ConnectionKind::Postgresql), expected, "{sql}");
        }
        assert_eq!(named("SELECT 1 WHERE 1 IN t", ConnectionKind::Sqlite), ["t"]);
    }

    #[test]
    fn names_defined_in_with_hide_relations_only_where_they_are_known() {
        for (sql, expected) in [
            ("WITH a AS (SELECT * FROM t) SELECT * FROM a", "t"),
            ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"),
            ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "b"),
            ("WITH RECURSIVE a(n) AS (SELECT 1 UNION SELECT n FROM a) SELECT * FROM a", ""),
            ("SELECT * FROM a, (WITH a AS (SELECT 1) SELECT * FROM a) x", "a"),
            ("WITH a AS MATERIALIZED (SELECT 1) SELECT * FROM s.a", "s.a"),
            ("SELECT * FROM t WINDOW a AS (ORDER BY 1), b AS (ORDER BY 2)", "t"),
        ] {
            let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
            assert_eq!(named(sql, ConnectionKind::Postgresql), expected, "{sql}");
        }
    }
}
