//! Words for what serde says of a body: its messages name the types of our source, which no client knows.

/// Of a number type, or a form of JSON, what a client can make something of. In each, the first that fits.
const EXPECTED: [(&str, &str); 14] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("i32", "a whole number from -2147483648 to 2147483647"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("struct ", "an object"),
    ("internally tagged enum ", "an object"),
    ("variant identifier", "one of the known names"),
    ("enum ", "one of the known names"),
];

const FOUND: [(&str, &str); 3] =
    [("sequence", "a list"), ("map", "an object"), ("floating point ", "number ")];

/// Messages about texts that hold one value, such as query parameters.
const WHOLE: [(&str, &str); 6] = [
    ("invalid digit found in string", "expected a whole number, 0 or more"),
    ("cannot parse integer from empty string", "expected a whole number, 0 or more"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("provided string was not `true` or `false`", "expected `true` or `false`"),
    ("data did not match any variant of untagged enum", "it has none of the known forms"),
];

/// A message about a value that is JSON but not what is asked for.
pub(super) fn in_plain_words(message: &str) -> String {
    // The position in the text helps nobody who did not write the text by hand; the place in the body does.
    let message = message.rfind(" at line ").map_or(message, |end| message.split_at(end).0);
    if let Some((_, words)) = WHOLE.iter().find(|(written, _)| message.starts_with(written)) {
        return (*words).to_owned();
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return format!("unknown value {rest}");
    }
    // What was sent stands before what was expected, and may hold the same words.
    let expectation = message.strip_prefix("invalid ").and_then(|_| message.rsplit_once(", expected "));
    let Some((found, expected)) = expectation else {
        return message.to_owned();
    };
    let is_counted = found.starts_with("invalid length ");
    let found = match found.split_once(": ") {
        Some((wrong, what)) => format!("{wrong}: {}", replace_start(what, &FOUND)),
        None if is_counted => "invalid type: a list".to_owned(),
        None => found.to_owned(),
    };
    let plain = EXPECTED.iter().find(|(written, _)| names(expected, written));
    format!("{found}, expected {}", plain.map_or(expected, |(_, words)| words))
}

/// A message about a text that is no JSON.
pub(super) fn of_broken_json(message: &str) -> String {
    if message.starts_with("EOF while parsing") {
        return "the body is not valid JSON: the body ends too early".to_owned();
    }
    format!("the body is not valid JSON: {message}")
}

/// Whether the expectation is that name, or begins with a name that is open at its end.
fn names(expected: &str, written: &str) -> bool {
    expected == written || (written.ends_with(' ') && expected.starts_with(written))
}

fn replace_start(text: &str, words: &[(&str, &str)]) -> String {
    let found = words.iter().find(|(written, _)| names(text, written));
    found.map_or_else(|| text.to_owned(), |(written, plain)| text.replacen(written, plain, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_of_our_source() {
        let cases = [
            (
                "invalid value: integer `99999`, expected u16 at line 1 column 5",
                "invalid value: integer `99999`, expected a whole number from 0 to 65535",
            ),
            ("invalid type: map, expected a sequence", "invalid type: an object, expected a list"),
            ("invalid type: sequence, expected a map", "invalid type: a list, expected an object"),
            ("invalid type: null, expected struct Inner", "invalid type: null, expected an object"),
            (
                "invalid type: floating point `1.5`, expected u64",
                "invalid type: number `1.5`, expected a whole number, 0 or more",
            ),
            (
                "invalid type: string \"map, expected u16\", expected a string",
                "invalid type: string \"map, expected u16\", expected a string",
            ),
            (
                "invalid length 0, expected struct Sample with 3 elements",
                "invalid type: a list, expected an object",
            ),
            (
                "unknown variant `up`, expected `asc` or `desc`",
                "unknown value `up`, expected `asc` or `desc`",
            ),
            ("missing field `name` at line 1 column 2", "missing field `name`"),
            ("invalid digit found in string", "expected a whole number, 0 or more"),
        ];
        for (message, plain) in cases {
            assert_eq!(in_plain_words(message), plain);
        }
        assert_eq!(
            of_broken_json("EOF while parsing an object at line 1 column 9"),
            "the body is not valid JSON: the body ends too early"
        );
        assert_eq!(
            of_broken_json("expected value at line 1 column 1"),
            "the body is not valid JSON: expected value at line 1 column 1"
        );
    }
}
