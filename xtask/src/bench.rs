//! `cargo xtask bench`: builds the release binaries, then measures them beside the floors of benches/.

use crate::repository::{cargo, program, run as start, target};
use crate::setup;

/// The words behind `bench`.
struct Wanted<'w> {
    quick: bool,
    only: Option<&'w str>,
}

impl<'w> Wanted<'w> {
    fn read(flags: &[&'w str]) -> Result<Self, String> {
        let mut wanted = Self { quick: false, only: None };
        let mut words = flags.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => wanted.quick = true,
                "--only" => wanted.only = Some(words.next().ok_or("--only needs a part")?),
                other => return Err(format!("bench does not know {other}")),
            }
        }
        Ok(wanted)
    }
}

pub(crate) fn run(flags: &[&str]) -> Result<(), String> {
    let wanted = Wanted::read(flags)?;
    setup::system_packages()?;
    let python = setup::python()?;
    start(cargo(&["build", "--release", "-p", "ringfence-server", "-p", "floors"]))?;
    let release = target().join("release");
    let mut measure = program(python);
    measure.arg("benches/run.py").arg("--programs").arg(release);
    if wanted.quick {
        measure.arg("--quick");
    }
    if let Some(part) = wanted.only {
        measure.args(["--only", part]);
    }
    start(measure)
}
