//! Statements put together from pieces of good and bad ones: the guard must answer each, soon, and with what it reads again.
//!
//! The seeds are the statements of cases/guard and cases/guard-corpus. They are cut into tokens, and tokens, brackets and
//! whole ends of other statements are doubled, dropped, swapped, nested and spliced. A short run with one seed is a test;
//! `GUARD_FUZZ_MINUTES=20 GUARD_FUZZ_SEED=7 cargo test -p ringfence-guard --test guard mutated` makes a long one.

use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_guard::{guard, open};
use ringfence_policy::{ConnectionKind, OpenAccess, Principal, View};

/// Statements of the short run.
const SHORT: u64 = 2_000;

/// What is put between the pieces now and then: all that has ever been read in two ways.
const ODD: &[&str] = &[
    "'", "\"", "`", "$$", "$a$", "E'", "U&'", "--", "/*", "*/", "\\", "\u{A0}", "\u{FEFF}", "\u{1F600}",
    "\0", "\r", ";", "::", "||", "|?|", "->", "=>", ":=", "?", "$1", "$2", "@", "#", "NULL", "ISNULL",
    "NOTNULL", "VARIADIC", "LATERAL", "RETURNING *", "excluded.id", "_rf_t.id", "\"_RF_r\".id",
    "pg_catalog.", "public.", "ctid", "tableoid::regclass", "orders", "users", "users.*", "password_hash",
    "email", "tenant_id", "ONLY", "TABLE users", "FOR UPDATE", "INTO x", "WITH ORDINALITY", "OVER ()",
    "FILTER (WHERE true)", "COLLATE \"C\"", "AT TIME ZONE 'UTC'", "IS DISTINCT FROM", "BETWEEN SYMMETRIC",
    "USING (id)", "NATURAL", "UNION ALL", "EXCEPT", "LIMIT 1", "OFFSET 1", "1e400", "-9223372036854775808",
    "0x1F", "1_000",
];

/// The same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).expect("a length")).expect("below a length")
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Every statement of the cases, cut into words, numbers, quoted texts and single signs.
fn seeds() -> Vec<Vec<String>> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut statements = Vec::new();
    for directory in ["guard", "guard-corpus", "guard-corpus/given"] {
        let entries = std::fs::read_dir(cases.join(directory)).expect("cases").flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let is = |end: &str| file.extension().is_some_and(|extension| extension == end);
            let text = || std::fs::read_to_string(&file).expect("a text");
            if is("jsonl") {
                let lines = text();
                let records =
                    lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
                statements.extend(records.filter_map(|record| Some(record["sql"].as_str()?.to_owned())));
            } else if is("txt") {
                statements.extend(
                    text()
                        .lines()
                        .filter(|line| !line.starts_with("=> ") && !line.starts_with('#') && !line.is_empty())
                        .map(str::to_owned),
                );
            }
        }
    }
    statements.retain(|statement| statement.len() < 3_000);
    assert!(statements.len() > 500, "the cases were not found");
    statements.iter().map(|statement| pieces(statement)).collect()
}

fn pieces(statement: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut quoted_by = None;
    let mut was_word = false;
    for character in statement.chars() {
        let is_word = character.is_alphanumeric() || matches!(character, '_' | '.');
        match quoted_by {
            Some(quote) => {
                pieces.last_mut().expect("it began with the quote").push(character);
                if character == quote {
                    quoted_by = None;
                }
            }
            None if is_word && was_word => pieces.last_mut().expect("a word").push(character),
            None if character.is_whitespace() => {}
            None => {
                quoted_by = Some(character).filter(|character| matches!(character, '\'' | '"'));
                pieces.push(character.to_string());
            }
        }
        was_word = is_word && quoted_by.is_none();
    }
    pieces
}

fn mutated(random: &mut Random, seeds: &[Vec<String>]) -> String {
    let mut pieces = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let (from, to) = (random.below(pieces.len() + 1), random.below(pieces.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        match random.below(9) {
            0 => drop(pieces.drain(from..to.min(from + 3))),
            1 => pieces.insert(from, random.of(ODD).to_owned()),
            2 => {
                // The end of another statement, or its middle.
                let other = &seeds[random.below(seeds.len())];
                let at = random.below(other.len() + 1);
                pieces.truncate(from);
                pieces.extend_from_slice(&other[at..]);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let at = random.below(other.len() + 1);
                let end = (at + random.below(12)).min(other.len());
                pieces.splice(from..from, other[at..end].iter().cloned());
            }
            4 => {
                let part = pieces[from..to].to_vec();
                for _ in 0..random.below(4) {
                    pieces.splice(from..from, part.iter().cloned());
                }
            }
            5 => {
                let deep = random.below(70);
                pieces.splice(to..to, std::iter::repeat_n(")".to_owned(), deep));
                let opening =
                    random.of(&["(", "(SELECT", "lower(", "ARRAY[", "CASE WHEN", "NOT (", "EXISTS (SELECT"]);
                pieces.splice(from..from, std::iter::repeat_n(opening.to_owned(), deep));
            }
            6 if from < pieces.len() && to < pieces.len() => pieces.swap(from, to),
            7 if from < pieces.len() => {
                // A piece of a piece.
                let at = random.below(pieces[from].chars().count() + 1);
                pieces[from] = pieces[from].chars().take(at).collect();
            }
            _ => {
                let again = random.below(300);
                let piece = random.of(ODD).to_owned();
                pieces.splice(from..from, std::iter::repeat_n(piece, again));
            }
        }
    }
    let mut text = String::new();
    for piece in &pieces {
        text.push_str(piece);
        text.push_str(random.of(&[" ", " ", " ", "", "\n", "\t"]));
    }
    text
}

/// What came of a run.
#[derive(Debug, Default)]
struct Seen {
    asked: u64,
    accepted: u64,
    slowest: Duration,
}

fn ask(text: &str, kind: ConnectionKind, view: &View, principal: &Principal, seen: &mut Seen) {
    let began = Instant::now();
    seen.asked += 1;
    if let Ok(plan) = guard(text, kind, view) {
        seen.accepted += 1;
        assert_eq!(guard(text, kind, view).expect("as before"), plan, "{text}");
        // None of our own: the plan is of the shape that the engine takes.
        let given = vec![None; plan.bind(principal, &[]).map_or_else(|refusal| expected(&refusal), |_| 0)];
        let bound = plan.bind(principal, &given).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        assert!(!bound.sql().contains(['\0', '\u{FEFF}']), "{text}");
        // Nobody names a hidden column of a raw relation, however the name got in.
        for raw in ["_rf_r", "_rf_t"] {
            let hidden = ['"', '`'].map(|quote| format!("{quote}{raw}{quote}.{quote}password_hash{quote}"));
            assert!(!hidden.iter().any(|hidden| bound.sql().contains(hidden)), "{text}\n{}", bound.sql());
        }
    }
    let _ = open(text, kind, OpenAccess { read_only: true });
    seen.slowest = seen.slowest.max(began.elapsed());
}

fn expected(refusal: &ringfence_guard::Refusal) -> usize {
    match refusal {
        ringfence_guard::Refusal::ParameterCount { expected, .. } => *expected,
        other => panic!("{other}"),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a long run tells how much it asked")]
fn pieces_of_statements_are_answered() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let minutes = number("GUARD_FUZZ_MINUTES");
    let seed = number("GUARD_FUZZ_SEED").unwrap_or(1);
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let seeds = seeds();
    let principal = crate::ann();
    let kinds =
        [ConnectionKind::Postgresql, ConnectionKind::Sqlite, ConnectionKind::Mysql, ConnectionKind::Lake];
    let views = kinds.map(|kind| (kind, crate::view_in(kind, &principal)));
    let mut answers = Seen::default();
    for number in 0.. {
        if until.map_or(number >= SHORT, |until| Instant::now() > until) {
            break;
        }
        // A statement depends on seed and number alone.
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let text = mutated(&mut random, &seeds);
        if minutes.is_some() {
            // What was asked last is what ended the process.
            std::fs::write(std::env::temp_dir().join(format!("ringfence-guard-fuzz-{seed}")), &text)
                .expect("written");
        }
        for (kind, view) in &views {
            ask(&text, *kind, view, &principal, &mut answers);
        }
    }
    assert!(answers.accepted * 200 > answers.asked, "hardly any is a statement: {answers:?}");
    if minutes.is_some() {
        eprintln!("seed {seed}: {answers:?}");
    }
}
