//! The terminal: the only place that prints.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;

/// What people look at first.
pub(crate) const TITLE: Style = Style::new().bold();
/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Commands and addresses to copy.
pub(crate) const CODE: Style = AnsiColor::Cyan.on_default();
/// Beside the point.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// A line on standard output. A reader that has gone away is no failure of ours.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// What programs read, on standard output.
pub(crate) fn say_json(answer: &impl Serialize) -> Result<(), Failure> {
    say(serde_json::to_string_pretty(answer).map_err(Failure::new)?);
    Ok(())
}

/// A line on standard error.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether standard output shows colours: only on a terminal, and not when `NO_COLOR` is set.
pub(crate) fn has_colour() -> bool {
    std::io::stdout().is_terminal() && colour_wanted()
}

/// Text in a style, or plain where there are no colours.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    if has_colour() { format!("{style}{text}{style:#}") } else { text.to_string() }
}

/// As [`paint`], for standard error.
pub(crate) fn paint_error(style: Style, text: impl Display) -> String {
    if std::io::stderr().is_terminal() && colour_wanted() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_string()
    }
}

/// Steps of something that takes a moment; invisible unless on a terminal.
pub(crate) fn spinner() -> ProgressBar {
    let spinner = hidden_unless_terminal(ProgressBar::new_spinner());
    spinner.set_style(ProgressStyle::default_spinner());
    spinner.enable_steady_tick(std::time::Duration::from_millis(80));
    spinner
}

/// A bar of known length; invisible unless on a terminal.
pub(crate) fn progress_bar(length: u64) -> ProgressBar {
    let bar = hidden_unless_terminal(ProgressBar::new(length));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} records, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// A bar of bytes that are sent; invisible unless on a terminal.
pub(crate) fn bytes_bar(length: u64) -> ProgressBar {
    let bar = hidden_unless_terminal(ProgressBar::new(length));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// A bar of steps that have names; invisible unless on a terminal.
pub(crate) fn steps_bar() -> ProgressBar {
    let bar = hidden_unless_terminal(ProgressBar::new(0));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} principals, {eta} left  {msg}")
    {
        bar.set_style(style);
    }
    bar
}

/// A bar of schemas; invisible unless on a terminal.
pub(crate) struct SchemasBar(ProgressBar);

/// A bar of schemas; invisible unless on a terminal.
pub(crate) fn schemas_bar() -> SchemasBar {
    let bar = hidden_unless_terminal(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} schemas, {eta} left") {
        bar.set_style(style);
    }
    SchemasBar(bar)
}

impl SchemasBar {
    pub(crate) fn show(&self, done: usize, all: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(done as u64);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn hidden_unless_terminal(bar: ProgressBar) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A table for lists: no lines, so that it can be cut by columns.
pub(crate) fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}
