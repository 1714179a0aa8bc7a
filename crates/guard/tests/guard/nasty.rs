//! Texts that somebody sends to stop the process: as deep, as long and as odd as a megabyte allows.
//!
//! Whatever the guard answers is right here; it must answer. Each text is tried on a thread with the stack of the server's
//! own, so that one which needs more ends the test. One that takes for ever is ended by the test runner.

use ringfence_guard::{MAX_STATEMENT_BYTES, guard, guard_lifted, open, scan};
use ringfence_policy::{ConnectionKind, OpenAccess, Principal, View};

/// What a thread of the server has.
const STACK: usize = 2 * 1024 * 1024;

const KINDS: [ConnectionKind; 4] =
    [ConnectionKind::Postgresql, ConnectionKind::Sqlite, ConnectionKind::Mysql, ConnectionKind::Lake];

/// Words, brackets and operators, each of which is said again and again.
const TOKENS: &[&str] = &[
    "(", ")", "[", "]", "{", "}", "((", "()", "- ", "-", "+ ", "~ ", "@ ", "! ", "|/ ", "NOT ", "CASE ",
    "CASE WHEN ", "CASE a WHEN ", "END ", "WHEN 1 THEN ", "ELSE ", "SELECT ", "(SELECT ", "SELECT (",
    "SELECT 1 FROM (", "WITH a AS (", "WITH RECURSIVE a AS (", "EXISTS (", "NOT EXISTS (", "ARRAY[",
    "ARRAY(SELECT ", "ROW(", "CAST(", "CAST(a AS ", "COALESCE(", "lower(", "a.", "\"a\".", "a,", "1,",
    "'a',", "1+", "a||", "a AND ", "a OR ", "a = ", "a < ", "a::int", "::int", "a ", " IS NULL",
    " IS NOT TRUE", " ISNULL", " NOTNULL", " COLLATE \"C\"", " AT TIME ZONE 'UTC'", "[1]", "[1:2]", "->'a'",
    "->>'a'", " IS DISTINCT FROM a", " LIKE 'a'", " LIKE a ESCAPE 'b'", " ILIKE a", " SIMILAR TO a",
    " BETWEEN 1 AND ", " BETWEEN a AND a", " IN (", " IN (1)", " NOT IN (SELECT ", " = ANY (", " OVER (",
    " FILTER (WHERE ", " UNION SELECT 1", " UNION ALL (SELECT 1", " EXCEPT ", " INTERSECT SELECT 1",
    " JOIN t ON true", " JOIN ", " LEFT JOIN orders USING (id)", " CROSS JOIN orders",
    " NATURAL JOIN orders", ", orders", " FROM ", " FROM orders, LATERAL (", "LATERAL ", "VALUES (1),",
    "(1),", "VALUES ", " ORDER BY 1", " LIMIT 1", " OFFSET 1", " GROUP BY ", "GROUPING SETS (", "ROLLUP(",
    "CUBE(", " WINDOW w AS (", " FOR UPDATE", " FETCH FIRST ", "VARIADIC ", "TABLE ", "TABLE orders ",
    "TRIM(LEADING FROM ", "TRIM(", "SUBSTRING(a FROM ", "EXTRACT(year FROM ", "POSITION(a IN ",
    "INTERVAL '1' ", "INTERVAL ", "int[]", "numeric(", "timestamp(", " RETURNING ", " ON CONFLICT ",
    " DO UPDATE SET a = ", "INSERT INTO orders ", "UPDATE orders SET ", "DELETE FROM ",
    "MERGE INTO orders USING ", "$1 ", "$1,", "$", "$$", "$a$", "?", "?1 ", ":a ", "@a ", "'", "''", "'a",
    "\"", "\"\"", "\"a", "`", "``", "--", "--\n", "-- a\n", "/*", "*/", "/**/", "/* a */ ", "#", "# a\n",
    ";", "; ", "\\", "\\'", "E'", "E'\\'", "U&'\\", "U&\"", "B'", "X'", "N'", "q'[", "0x", "0b1", "1e", "1.",
    ".1", "1_", "9", "%", "^", "=", "<", ">", "!", "&", "|", "||", "::", ":", ":=", "=>", "..", "._", "_rf_",
    "_rf_t.a,", "\u{1F600}", "\u{E9}", "\u{FEFF}", "\u{A0}", "\u{3000}", "\u{2028}", "\u{200B}", "\u{301}",
    "\0", "\r", "\n", "\t", "\u{B}", "\u{7F}", " ", "\u{FFFD}", "\u{202E}", "top.", "DISTINCT ON (",
    "PIVOT(", "PREPARE ", "EXPLAIN ", "DIV ", "a DIV ", "a XOR ", "a MOD ", "a REGEXP ", "a RLIKE ",
    "a OVERLAPS ", "PRIOR ", "a COLLATE ",
];

const PREFIXES: [&str; 4] = ["", "SELECT ", "SELECT * FROM orders WHERE a", "SELECT * FROM orders"];

/// Runs on a stack as small as the server's.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
    thread.join().expect("an answer, whichever");
}

/// Somebody who asks.
struct Caller {
    kind: ConnectionKind,
    principal: Principal,
    view: View,
}

impl Caller {
    fn of(kind: ConnectionKind) -> Self {
        let principal = crate::ann();
        Self { kind, view: crate::view_in(kind, &principal), principal }
    }

    /// Both roads, and what a request would do with the answer.
    fn ask(&self, text: &str) {
        if let Ok(plan) = guard(text, self.kind, &self.view) {
            assert!(plan.bind(&self.principal, &[]).is_ok() || text.contains(['$', '?']), "{text:.200}");
        }
        if let Some(scanned) = scan(text, self.kind) {
            let _ = guard_lifted(&scanned, self.kind, &self.view);
        }
        for read_only in [false, true] {
            let _ = open(text, self.kind, OpenAccess { read_only });
        }
    }
}

/// Every token, repeated to that many bytes, behind every prefix.
fn repeat_all(kind: ConnectionKind, bytes: usize, prefixes: &'static [&'static str]) {
    on_a_small_stack(move || {
        let caller = Caller::of(kind);
        for token in TOKENS {
            for prefix in prefixes {
                let times = bytes.saturating_sub(prefix.len()) / token.len();
                caller.ask(&format!("{prefix}{}", token.repeat(times)));
            }
        }
    });
}

#[test]
fn every_token_again_and_again() {
    repeat_all(ConnectionKind::Postgresql, 10_000, &["SELECT * FROM orders WHERE a"]);
}

#[test]
fn short_texts_may_be_deep() {
    for kind in KINDS {
        on_a_small_stack(move || {
            let caller = Caller::of(kind);
            // Of 119 bytes, and found by `mutated`.
            caller.ask(" TABLE ( (\n((\n((\n(\n( (\t(\n( ( ( (\n( (\t( (\t( (\t( (\t( ( (( ( (\t(\t(\n(\t(\n( ( (\n( (\n(ALTER ROLE app_ownerSETwork_mem = '8MB' ");
            for token in TOKENS {
                for depth in [18, 25, 38] {
                    let parentheses = "(".repeat(depth);
                    for before in ["", "TABLE ", "SELECT "] {
                        caller.ask(&format!("{before}{token}{parentheses}"));
                        caller.ask(&format!("{before}{parentheses}{token}"));
                    }
                }
            }
        });
    }
}

#[test]
fn every_token_often_behind_every_prefix() {
    for kind in KINDS {
        repeat_all(kind, 1_500, &PREFIXES);
    }
}

#[test]
fn a_megabyte_of_one_token() {
    on_a_small_stack(|| {
        let caller = Caller::of(ConnectionKind::Postgresql);
        for token in ["a AND ", "NOT ", "INTERVAL ", "lower(", "WITH a AS (", "'"] {
            let prefix = "SELECT * FROM orders WHERE a";
            let times = (MAX_STATEMENT_BYTES - prefix.len()) / token.len();
            caller.ask(&format!("{prefix}{}", token.repeat(times)));
        }
    });
}

/// How a statement grows with a number, and what is said around it.
struct Shape {
    start: &'static str,
    again: &'static str,
    middle: &'static str,
    back: &'static str,
    end: &'static str,
}

const fn chain(start: &'static str, again: &'static str) -> Shape {
    Shape { start, again, middle: "", back: "", end: "" }
}

const fn nest(start: &'static str, again: &'static str, middle: &'static str, back: &'static str) -> Shape {
    Shape { start, again, middle, back, end: "" }
}

/// Statements that are good SQL at every size.
const SHAPES: &[Shape] = &[
    chain("SELECT 1 FROM orders WHERE id = 1", " AND id = 1"),
    chain("SELECT 1 FROM orders WHERE id IS NULL", " OR id IS NULL"),
    chain("SELECT 1 FROM orders WHERE id IS NULL", " IS NULL"),
    chain("SELECT 1 FROM orders WHERE true", " AND true"),
    chain("SELECT 1 FROM orders WHERE note", " COLLATE \"C\""),
    chain("SELECT created_at", " AT TIME ZONE 'UTC'"),
    chain("SELECT 1", "::int"),
    chain("SELECT 1", "+1"),
    chain("SELECT 1", ", 1"),
    chain("SELECT note", " || note"),
    chain("SELECT note", " LIKE note"),
    chain("SELECT 1", " BETWEEN 1 AND 2"),
    chain("SELECT 1", " IN (1)"),
    chain("SELECT 1", " UNION SELECT 1"),
    chain("SELECT 1", " UNION ALL VALUES (1)"),
    chain("SELECT 1 FROM orders", " JOIN users ON true"),
    chain("SELECT 1 FROM orders", " NATURAL JOIN users"),
    chain("SELECT 1 FROM orders", ", users"),
    chain("SELECT a", ".a"),
    chain("SELECT ('{}'::jsonb)", "['a']"),
    chain("VALUES (1)", ", (1)"),
    chain("INSERT INTO orders (id) VALUES (1)", ", (1)"),
    chain("SELECT 1 FROM orders ORDER BY id", ", id"),
    chain("SELECT 1 FROM orders GROUP BY id", ", id"),
    chain("UPDATE orders SET note = ''", ", note = ''"),
    chain("SELECT NULL::int", "[]"),
    chain("SELECT", " NOT"),
    chain("SELECT", " -"),
    Shape { start: "SELECT 1 WHERE 1 IN (1", again: ", 1", middle: ")", back: "", end: "" },
    Shape { start: "SELECT CASE", again: " WHEN true THEN 1", middle: " END", back: "", end: "" },
    Shape { start: "SELECT concat(1", again: ", 1", middle: ")", back: "", end: "" },
    Shape {
        start: "WITH a AS (SELECT 1)",
        again: ", b AS (SELECT 1)",
        middle: " SELECT 1",
        back: "",
        end: "",
    },
    Shape { start: "SELECT 1 FROM orders WINDOW w AS ()", again: ", w AS ()", middle: "", back: "", end: "" },
    nest("SELECT ", "(", "1", ")"),
    nest("SELECT ", "(SELECT ", "1", ")"),
    nest("SELECT 1 FROM ", "(SELECT 1 FROM ", "orders", ") a"),
    nest("SELECT 1 FROM ", "(", "orders", ")"),
    nest("SELECT 1 FROM ", "(orders JOIN ", "orders o", " ON true)"),
    nest("SELECT 1 FROM ", "orders JOIN ", "users", " ON true"),
    nest("", "(", "SELECT 1", ")"),
    nest("", "WITH a AS (", "SELECT 1", ") SELECT 1"),
    nest("SELECT ", "CASE WHEN true THEN ", "1", " END"),
    nest("SELECT ", "CASE ", "1", " WHEN 1 THEN 1 END"),
    nest("SELECT ", "ARRAY[", "1", "]"),
    nest("SELECT ARRAY", "[", "1", "]"),
    nest("SELECT ", "ROW(", "1", ")"),
    nest("SELECT ", "lower(", "''", ")"),
    nest("SELECT ", "COALESCE(1, ", "1", ")"),
    nest("SELECT ", "CAST(", "1", " AS int)"),
    nest("SELECT ", "EXISTS (SELECT ", "1", ")"),
    nest("SELECT ", "1 IN (SELECT ", "1", ")"),
    nest("SELECT ", "1 = ANY (SELECT ", "1", ")"),
    nest("SELECT 1 WHERE ", "NOT (", "true", ")"),
    nest("SELECT ", "- ", "1", ""),
    nest("SELECT ", "NOT ", "true", ""),
    nest("SELECT a", "[a", "", "]"),
    nest("SELECT 1", " UNION (SELECT 1", "", ")"),
    nest("SELECT ", "sum(1) FILTER (WHERE ", "true", ")"),
    nest("SELECT ", "sum(", "1", ") OVER ()"),
    nest("SELECT 1", " + (1", "", ")"),
];

impl Shape {
    fn of(&self, times: usize) -> String {
        let Self { start, again, middle, back, end } = self;
        format!("{start}{}{middle}{}{end}", again.repeat(times), back.repeat(times))
    }

    /// As often as fits into a statement.
    fn most(&self) -> usize {
        let rest = MAX_STATEMENT_BYTES - self.start.len() - self.middle.len() - self.end.len();
        rest / (self.again.len() + self.back.len())
    }
}

#[test]
fn good_statements_of_every_size() {
    for kind in KINDS {
        on_a_small_stack(move || {
            let caller = Caller::of(kind);
            for shape in SHAPES {
                for times in [1, 7, 30, 48, 63, 64, 65, 199, 200, 201, 1_000] {
                    caller.ask(&shape.of(times));
                }
            }
        });
    }
}

#[test]
fn good_statements_as_long_as_they_may_be() {
    on_a_small_stack(|| {
        let caller = Caller::of(ConnectionKind::Postgresql);
        // Chains without a bracket are what the tree of a statement may become deepest by.
        for shape in SHAPES.iter().filter(|shape| !shape.again.contains(['(', '['])).step_by(6) {
            caller.ask(&shape.of(shape.most()));
        }
        for shape in SHAPES {
            caller.ask(&shape.of(shape.most().min(2_100)));
        }
    });
}

/// Where the parser reads one thing in two ways, and so on within each, a hundred bytes would take it hours.
#[test]
fn nothing_is_read_twice_at_each_level() {
    for kind in KINDS {
        on_a_small_stack(move || {
            let caller = Caller::of(kind);
            for shape in SHAPES.iter().filter(|shape| !shape.back.is_empty()) {
                for end in ["", ")", " FROM", " x y z", ","] {
                    caller.ask(&format!("{}{end}", shape.of(60)));
                    caller.ask(&format!("{}{}{end}", shape.start, shape.again.repeat(60)));
                }
            }
        });
    }
    let nested = (0..40).fold("note".to_owned(), |inner, _| format!("lower({inner})"));
    let caller = Caller::of(ConnectionKind::Postgresql);
    assert!(guard(&format!("SELECT {nested} FROM orders"), caller.kind, &caller.view).is_ok());
}

#[test]
fn statements_cut_anywhere() {
    let whole = "WITH q AS (SELECT o.id, sum(o.total) FILTER (WHERE o.note LIKE '%a''b%' ESCAPE '\\') AS s FROM orders o \
        JOIN LATERAL (SELECT CASE WHEN u.id IS NULL THEN ARRAY[1, 2] ELSE '{}'::int[] END AS a FROM users u) x ON true \
        WHERE o.id = ANY ($1) GROUP BY o.id HAVING count(*) > 1e3 /* b */ WINDOW w AS (PARTITION BY o.id)) -- c\n\
        INSERT INTO orders (id, note) SELECT id, E'\\n' || U&'\\0041' || $tag$ \u{E9} $tag$ FROM q \
        ON CONFLICT (id) DO UPDATE SET note = excluded.note WHERE orders.id BETWEEN 1 AND 2 RETURNING \"id\", *";
    for kind in KINDS {
        on_a_small_stack(move || {
            let caller = Caller::of(kind);
            let places = (0..=whole.len()).step_by(3).filter(|place| whole.is_char_boundary(*place));
            for place in places {
                let (start, end) = whole.split_at(place);
                caller.ask(start);
                caller.ask(end);
                // What is left of one half in front of the other, and odd characters in between.
                caller.ask(&format!("{end}{start}"));
                for odd in ["'", "\"", "\u{FEFF}", "\0", ")", "\u{A0}", "/*", "--", "$$", "\\"] {
                    caller.ask(&format!("{start}{odd}{end}"));
                }
            }
        });
    }
}
