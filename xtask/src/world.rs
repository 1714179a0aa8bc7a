//! `cargo xtask world`: the world of the guard corpus, for pointing tools at it.

use crate::repository::{cargo, program, run as start, target};
use crate::setup;

/// Stays up until it is interrupted. With `json`, one line says where everything is.
pub(crate) fn run(json: bool) -> Result<(), String> {
    setup::system_packages()?;
    start(cargo(&["build", "--quiet", "-p", "ringfence-server"]))?;
    let mut world = program(setup::python()?);
    world.args(["-m", "guard_corpus.world"]);
    if json {
        world.arg("--json");
    }
    world.env("PYTHONPATH", "tests/python");
    world.env("PYTHONDONTWRITEBYTECODE", "1");
    world.env("RINGFENCE_BIN", target().join("debug").join("ringfence"));
    world.env("POSTGRES_PROGRAMS", setup::postgres_programs()?);
    start(world)
}
