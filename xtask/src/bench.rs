//! `cargo xtask bench`: builds the release binaries, then measures them beside the floors of benches/.

use crate::repository::{cargo, program, run as start, target};
use crate::setup;

pub(crate) fn run(quick: bool) -> Result<(), String> {
    setup::system_packages()?;
    let python = setup::python()?;
    start(cargo(&["build", "--release", "-p", "ringfence-server", "-p", "floors"]))?;
    let release = target().join("release");
    let mut measure = program(python);
    measure.arg("benches/run.py").arg("--programs").arg(release);
    if quick {
        measure.arg("--quick");
    }
    start(measure)
}
