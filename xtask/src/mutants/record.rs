//! One deliberate break of the sources, as `cases/mutants` holds it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::repository::root;

/// A break: why it would be dangerous, what is replaced, and which suites must notice, each by itself.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) why: String,
    pub(crate) suites: Vec<Suite>,
    pub(crate) edits: Vec<Edit>,
}

/// What must notice a break.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Suite {
    /// The tests of a crate; with a filter, those whose name holds it.
    Crate { package: String, filter: String },
    /// The guard corpus, guarded by the example binary, on PostgreSQL.
    Corpus,
}

/// A text that stands once in a file, and what stands there in the broken sources.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Edit {
    pub(crate) file: PathBuf,
    find: String,
    put: String,
}

/// Every record, by name.
pub(crate) fn all() -> Result<Vec<Mutant>, String> {
    let directory = root().join("cases/mutants");
    let entries = fs::read_dir(&directory).map_err(|error| format!("cases/mutants: {error}"))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Mutant, String> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    Mutant::parse(name, &text).map_err(|fault| format!("cases/mutants/{name}.txt: {fault}"))
}

/// Holds every record against the sources: one that no longer applies proves nothing.
pub(crate) fn check() -> Result<String, String> {
    let mutants = all()?;
    let faults: Vec<String> = mutants
        .iter()
        .flat_map(|mutant| mutant.edits.iter().map(move |edit| (mutant, edit)))
        .filter_map(|(mutant, edit)| {
            let fault = edit.applied().err()?;
            Some(format!("cases/mutants/{}.txt: {}: {fault}", mutant.name, edit.file.display()))
        })
        .collect();
    if faults.is_empty() { Ok(format!("{} apply", mutants.len())) } else { Err(faults.join("\n")) }
}

impl Mutant {
    /// Reads a record: sentences, `caught by:` with a list, and edits that begin with `== file`.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let (head, edits) = text.split_once("\n== ").ok_or("there is no edit (== file)")?;
        let (why, suites) = head.split_once("caught by:").ok_or("there is no line `caught by:`")?;
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        if why.is_empty() {
            return Err("it does not say why it is dangerous".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            why,
            suites: suites.split(',').map(|suite| Suite::parse(suite.trim())).collect::<Result<_, _>>()?,
            edits: edits.split("\n== ").map(Edit::parse).collect::<Result<_, _>>()?,
        })
    }
}

impl Suite {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("corpus"), None, None) => Ok(Self::Corpus),
            (Some(name @ ("guard" | "policy" | "engine" | "gateway" | "server")), filter, None) => {
                let filter = filter.unwrap_or_default().to_owned();
                Ok(Self::Crate { package: format!("ringfence-{name}"), filter })
            }
            _ => Err(format!("there is no suite {text:?}")),
        }
    }

    /// As the record names it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Corpus => "corpus".to_owned(),
            Self::Crate { package, filter } => {
                let name = package.strip_prefix("ringfence-").unwrap_or(package);
                format!("{name} {filter}").trim_end().to_owned()
            }
        }
    }
}

impl Edit {
    fn parse(text: &str) -> Result<Self, String> {
        let (file, rest) = text.split_once("\n-- find\n").ok_or("an edit has no line `-- find`")?;
        let (find, put) = rest.split_once("\n-- put\n").ok_or("an edit has no line `-- put`")?;
        let put = put.strip_suffix('\n').unwrap_or(put);
        if find.is_empty() || find == put {
            return Err("an edit changes nothing".to_owned());
        }
        Ok(Self { file: PathBuf::from(file.trim()), find: find.to_owned(), put: put.to_owned() })
    }

    /// The file's text with the break in it.
    pub(crate) fn applied(&self) -> Result<String, String> {
        let text = fs::read_to_string(root().join(&self.file)).map_err(|error| error.to_string())?;
        self.applied_to(&text)
    }

    pub(crate) fn applied_to(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.put, 1)),
            count => Err(format!("what is to be replaced stands there {count} times, not once")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "Rows of others\nshow.\ncaught by: guard, corpus, engine fenced\n\
        == a.rs\n-- find\nif rows {\n    hide();\n-- put\nif false {\n    hide();\n== b.rs\n-- find\nx\n-- put\n\n";

    #[test]
    fn a_record_is_read() {
        let mutant = Mutant::parse("rows", RECORD).expect("a record");
        assert_eq!(mutant.why, "Rows of others show.");
        let shown: Vec<String> = mutant.suites.iter().map(Suite::shown).collect();
        assert_eq!(shown, ["guard", "corpus", "engine fenced"]);
        let [first, second] = mutant.edits.as_slice() else { panic!("{:?}", mutant.edits) };
        assert_eq!(
            first.applied_to("a if rows {\n    hide(); z"),
            Ok("a if false {\n    hide(); z".to_owned())
        );
        assert_eq!(second.applied_to("axb"), Ok("ab".to_owned()));
    }

    #[test]
    fn a_record_that_no_longer_applies_is_told() {
        let mutant = Mutant::parse("rows", RECORD).expect("a record");
        let edit = mutant.edits.last().expect("an edit");
        assert!(edit.applied_to("none").is_err());
        assert!(edit.applied_to("x and x").is_err());
    }

    #[test]
    fn half_a_record_is_refused() {
        for (whole, half) in [
            ("caught by:", "caught:"),
            ("corpus", "luck"),
            ("\n-- put\nif", "\nif"),
            ("-- find\nx\n", "x\n"),
            ("Rows of others\nshow.\n", ""),
        ] {
            assert!(Mutant::parse("rows", &RECORD.replacen(whole, half, 1)).is_err(), "{half}");
        }
    }
}
