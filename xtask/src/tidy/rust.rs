//! A scanner of Rust text: which characters are code, which are comments, where functions and tests begin and end.
//!
//! Not a parser. It knows strings, raw strings, character literals, lifetimes and nested comments, which is what it
//! takes to match braces.

/// A Rust file, line by line.
pub(super) struct Source {
    /// The code, with comments and the insides of literals blanked out.
    pub(super) code: Vec<String>,
    /// The comments alone.
    pub(super) comments: Vec<String>,
    /// Whether the line belongs to a test.
    pub(super) is_test: Vec<bool>,
    pub(super) functions: Vec<Function>,
}

/// A function with a body.
pub(super) struct Function {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) lines: usize,
    /// Nothing but one `match`, whose arms hold no blocks inside blocks.
    pub(super) is_flat_match: bool,
}

impl Source {
    pub(super) fn read(path: &str, text: &str) -> Self {
        let (code, comments) = Masker::default().mask(text);
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        let whole_file = path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("tests.rs");
        let mut is_test = vec![whole_file; code.split('\n').count()];
        for (first, last) in test_regions(&code) {
            is_test[first..=last].fill(true);
        }
        Self { functions: functions(&code), code: lines(&code), comments: lines(&comments), is_test }
    }

    /// Lines that hold code and belong to no test, from 1.
    pub(super) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(number, _)| !self.is_test[number - 1])
    }

    /// Lines that hold code and belong to a test, from 1.
    pub(super) fn tested(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(number, _)| self.is_test[number - 1])
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
            .filter(|(_, line)| !line.trim().is_empty())
    }
}

/// Where the scanner stands.
#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// Splits a text into its code and its comments, both with the same line breaks.
#[derive(Default)]
struct Masker {
    state: State,
    code: String,
    comments: String,
}

impl Masker {
    fn mask(mut self, text: &str) -> (String, String) {
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            if characters[at] == '\n' {
                self.code.push('\n');
                self.comments.push('\n');
                if matches!(self.state, State::LineComment) {
                    self.state = State::Code;
                }
                at += 1;
                continue;
            }
            at += match self.state {
                State::Code => self.in_code(&characters, at),
                State::LineComment | State::BlockComment(_) => self.in_comment(&characters, at),
                State::Text | State::RawText(_) => self.in_literal(&characters, at),
            };
        }
        (self.code, self.comments)
    }

    /// Takes what begins at `at` and answers how many characters it took.
    fn in_code(&mut self, characters: &[char], at: usize) -> usize {
        let next = characters.get(at + 1).copied();
        match characters[at] {
            '/' if next == Some('/') => self.enter(State::LineComment, 2),
            '/' if next == Some('*') => self.enter(State::BlockComment(1), 2),
            '"' => {
                self.code.push('"');
                self.enter(State::Text, 1)
            }
            'r' if !follows_word(characters, at) && raw_opening(characters, at).is_some() => {
                let hashes = raw_opening(characters, at).unwrap_or(0);
                self.code.push('"');
                self.enter(State::RawText(hashes), hashes + 2)
            }
            '\'' => {
                let taken = character_literal(characters, at);
                self.code.push('\'');
                taken.unwrap_or(1)
            }
            other => {
                self.code.push(other);
                1
            }
        }
    }

    fn in_comment(&mut self, characters: &[char], at: usize) -> usize {
        let pair = (characters[at], characters.get(at + 1).copied());
        match (self.state, pair) {
            (State::BlockComment(1), ('*', Some('/'))) => self.enter(State::Code, 2),
            (State::BlockComment(depth), ('*', Some('/'))) => self.enter(State::BlockComment(depth - 1), 2),
            (State::BlockComment(depth), ('/', Some('*'))) => self.enter(State::BlockComment(depth + 1), 2),
            _ => {
                self.comments.push(characters[at]);
                1
            }
        }
    }

    fn in_literal(&mut self, characters: &[char], at: usize) -> usize {
        match (self.state, characters[at]) {
            // An escaped line break is left to the loop, which counts lines.
            (State::Text, '\\') => {
                if characters.get(at + 1) == Some(&'\n') {
                    1
                } else {
                    2
                }
            }
            (State::Text, '"') => {
                self.code.push('"');
                self.enter(State::Code, 1)
            }
            (State::RawText(hashes), '"')
                if (1..=hashes).all(|step| characters.get(at + step) == Some(&'#')) =>
            {
                self.code.push('"');
                self.enter(State::Code, hashes + 1)
            }
            _ => 1,
        }
    }

    fn enter(&mut self, state: State, taken: usize) -> usize {
        self.state = state;
        taken
    }
}

/// Whether the character before is part of a word other than the `b` or `c` of `br""` and `cr""`.
fn follows_word(characters: &[char], at: usize) -> bool {
    let is_word = |index: usize| characters.get(index).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match at.checked_sub(1) {
        Some(before) if matches!(characters[before], 'b' | 'c') => before.checked_sub(1).is_some_and(is_word),
        Some(before) => is_word(before),
        None => false,
    }
}

/// The number of hashes when a raw string begins at the `r`.
fn raw_opening(characters: &[char], at: usize) -> Option<usize> {
    let hashes = characters[at + 1..].iter().take_while(|c| **c == '#').count();
    (characters.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// How long the character literal at the quote is; nothing when it is a lifetime.
fn character_literal(characters: &[char], at: usize) -> Option<usize> {
    match characters.get(at + 1)? {
        '\\' => {
            let closing = characters[at + 3..].iter().position(|c| *c == '\'')?;
            Some(closing + 4)
        }
        _ => (characters.get(at + 2) == Some(&'\'')).then_some(3),
    }
}

/// The byte position of the brace that closes the one at `open`.
fn closing_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in code[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(open + at),
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// Where the body that follows begins; nothing when a semicolon comes first.
fn opening_brace(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, character) in code[from..].char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(from + at),
            _ => {}
        }
    }
    None
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count()
}

/// First and last line, from 0, of every item under `#[cfg(test)]`.
fn test_regions(code: &str) -> Vec<(usize, usize)> {
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, attribute)| {
            let end = closing_brace(code, opening_brace(code, at + attribute.len())?)?;
            Some((line_of(code, at), line_of(code, end)))
        })
        .collect()
}

fn functions(code: &str) -> Vec<Function> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("fn ")
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .filter_map(|(at, keyword)| {
            let rest = &code[at + keyword.len()..];
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let open = opening_brace(code, at)?;
            let close = closing_brace(code, open)?;
            let (first, last) = (line_of(code, at), line_of(code, close));
            let is_flat_match = is_flat_match(&code[open + 1..close]);
            (!name.is_empty()).then_some(Function {
                name,
                line: first + 1,
                lines: last - first + 1,
                is_flat_match,
            })
        })
        .collect()
}

fn is_flat_match(body: &str) -> bool {
    let body = body.trim();
    if !body.starts_with("match ") {
        return false;
    }
    let Some(open) = opening_brace(body, 0) else {
        return false;
    };
    let depths = body.chars().scan(0_i32, |depth, c| {
        *depth += i32::from(c == '{') - i32::from(c == '}');
        Some(*depth)
    });
    closing_brace(body, open) == Some(body.len() - 1) && depths.max() <= Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::read("src/sample.rs", text).code.join("\n")
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        assert_eq!(code("let a = \"{\"; // }"), "let a = \"\"; ");
        assert_eq!(code("let a = \"\\\"{\";"), "let a = \"\";");
        assert_eq!(code("let a = r#\"\"{\"#;"), "let a = \"\";");
        assert_eq!(code("let a = br\"{\"; let bar = 1;"), "let a = b\"\"; let bar = 1;");
        assert_eq!(code("/* a /* { */ } */ b"), " b");
        assert_eq!(
            code("let a = '{'; let b: &'a str; let c = '\\u{7b}'; let d = '\\'';"),
            "let a = '; let b: &'a str; let c = '; let d = ';"
        );
    }

    #[test]
    fn functions_are_measured() {
        let text = "fn short() -> [u8; 2] { [1, 2] }\nfn long(a: fn(u8))\nwhere\n{\n    if a { \"}\" }\n}\nfn none();\n";
        let found: Vec<_> = Source::read("src/sample.rs", text)
            .functions
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("short".to_owned(), 1, 1), ("long".to_owned(), 2, 5)]);
    }

    #[test]
    fn flat_matches_are_known() {
        let flat =
            |body: &str| Source::read("a.rs", &format!("fn f() {{ {body} }}")).functions[0].is_flat_match;
        assert!(flat("match a { A { .. } => 1, B => { 2 } }"));
        assert!(!flat("match a { A => { if b { 1 } else { 2 } } }"));
        assert!(!flat("let a = 1; match a { A => 1 }"));
        assert!(!flat("match a { A => 1 }; 2"));
    }

    #[test]
    fn tests_are_known() {
        let source =
            Source::read("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}");
        assert_eq!(source.is_test, [false, true, true, true, true, false]);
        assert!(Source::read("crates/a/tests/b.rs", "fn a() {}").is_test[0]);
        let declared = Source::read("src/a.rs", "#[cfg(test)]\nmod tests;\nfn a() { b() }");
        assert!(!declared.is_test[2]);
    }
}
