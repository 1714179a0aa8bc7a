//! What the demo prints: who can see what, and how to try it.

use std::path::Path;
use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};

use super::tour::{Finding, Findings, Stepping};
use super::world::{Member, World, connection_key, org_of};
use crate::cli::program::{program, quoted};
use crate::cli::terminal::{CODE, FAINT, GOOD, TITLE, has_colour, paint, say};

/// Columns that the whole table needs on a terminal.
const WIDE: u16 = 106;
/// Places of the columns that are left out on a narrower one: connections, tables.
const DISPENSABLE: [usize; 2] = [3, 4];

/// Everything there is to show.
pub(super) struct Shown<'a> {
    pub(super) world: &'a World,
    pub(super) findings: &'a Findings,
    /// `http://ip:port`.
    pub(super) server: &'a str,
    pub(super) home: &'a Path,
    pub(super) took: Duration,
}

/// Prints it all.
pub(super) fn show(shown: &Shown<'_>) {
    let took = format!("ready in {:.1} s", shown.took.as_secs_f64());
    say(format_args!("\n{}  {}\n", paint(TITLE, "Ringfence demo"), paint(FAINT, took)));
    say(
        "Two organizations (acme, globex), three tenants, one door. Each row was found by asking as that user:\n",
    );
    say(table(shown));
    say("");
    for stepping in &shown.findings.steppings {
        say(format_args!("  {}", sentence(stepping)));
    }
    try_it(shown);
    say(format_args!("\n{}", paint(FAINT, "Press Ctrl-C to stop. Nothing stays behind.")));
}

fn table(shown: &Shown<'_>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if !has_colour() {
        table.force_no_tty();
    }
    // A table that is squeezed or wrapped can't be read: two columns less fit into 80 characters.
    let narrow = table.width().is_some_and(|width| (1..WIDE).contains(&width));
    let columns = |all: [Cell; 8]| {
        let shown =
            all.into_iter().enumerate().filter(move |(place, _)| !(narrow && DISPENSABLE.contains(place)));
        shown.map(|(_, cell)| cell)
    };
    let header = ["user", "role", "tenant", "connections", "tables", "orders", "writes", "another's"];
    table.set_header(columns(header.map(|name| Cell::new(name).add_attribute(Attribute::Bold))));
    for (member, finding) in shown.world.members.iter().zip(&shown.findings.members) {
        table.add_row(columns(row(member, finding)));
    }
    table
}

fn row(member: &Member, finding: &Finding) -> [Cell; 8] {
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let person = member.person;
    let writes = match &finding.writing {
        Ok(()) => Cell::new("yes"),
        Err(_) => Cell::new("no").fg(Color::Yellow),
    };
    [
        Cell::new(person.id).fg(Color::Cyan),
        Cell::new(person.role),
        Cell::new(format!("{}/{}", org_of(person.tenant), person.tenant)),
        Cell::new(person.shops.join(", ")),
        number(finding.tables.to_string()),
        number(grouped(finding.orders)),
        writes,
        Cell::new(format!("{}: {}", person.covets, finding.elsewhere)).fg(Color::Red),
    ]
}

fn sentence(stepping: &Stepping) -> String {
    let Stepping { who, target, outcome } = stepping;
    match outcome {
        Ok(orders) => {
            format!("{who} acts for {target}, of the same organization: {} orders", grouped(*orders))
        }
        Err(refusal) => format!("{who} tries to act for {target}, of another organization: {refusal}"),
    }
}

fn try_it(shown: &Shown<'_>) {
    let member = |id| shown.world.members.iter().find(|member| member.person.id == id);
    let (Some(ben), Some(kenji)) = (member("ben"), member("kenji")) else {
        return;
    };
    let (own, other) = (connection_key("berlin"), connection_key("paris"));
    let heading = |text: &str| say(format_args!("\n{}", paint(GOOD, text)));
    let code = |text: &str| say(paint(CODE, text));

    heading("Keys");
    for member in &shown.world.members {
        say(format_args!(
            "  {:<6} {}  {}",
            member.person.id,
            paint(CODE, member.secret()),
            member.person.name
        ));
    }
    say(format_args!("  {:<6} {}  super administrator", "root", paint(CODE, &shown.world.admin_key)));

    heading("Ask as Ben, who sees Berlin");
    let statement = "SELECT city, count(*) AS customers FROM customers GROUP BY city";
    code(&curl(shown.server, ben.secret(), &own, statement));
    heading("The same key, Paris: not found");
    code(&curl(shown.server, ben.secret(), &other, statement));

    heading("Python, with the Waii SDK as it comes");
    // The SDK leaves open which pydantic it wants; these two are tested together.
    code("pip install waii-sdk-py==1.29.2 pydantic==2.10.3\n");
    code(&python(shown.server, kenji.secret(), &connection_key("tokyo")));

    heading("Look around");
    say(format_args!("  API reference   {}", paint(CODE, format_args!("{}/docs", shown.server))));
    let control = shown.home.join("control");
    let (program, control) = (program(), quoted(&control.to_string_lossy()));
    let audit = format!("{program} audit list --data-dir {control}");
    say(format_args!("  What happened   {}", paint(CODE, audit)));
    let verify = format!("{program} audit verify --data-dir {control}");
    say(format_args!("  And only that   {}", paint(CODE, verify)));
}

fn curl(server: &str, key: &str, scope: &str, statement: &str) -> String {
    format!(
        "  curl -s {server}/api/run-query -H 'Authorization: Bearer {key}' \\\n    -H 'Content-Type: application/json' \\\n    \
         -d '{{\"scope\": \"{scope}\", \"query\": \"{statement}\"}}'"
    )
}

fn python(server: &str, key: &str, scope: &str) -> String {
    // From the first column on: Python takes spaces before a line for a block.
    format!(
        "from waii_sdk_py import Waii\nfrom waii_sdk_py.query import RunQueryRequest\n\nclient = Waii()\n\
         client.initialize(url='{server}/api/', api_key='{key}')\nclient.database.activate_connection('{scope}')\n\
         print(client.query.run(RunQueryRequest(query='SELECT * FROM revenue_by_category')).rows)"
    )
}

/// 1480 as 1,480.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
