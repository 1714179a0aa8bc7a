//! The proof as one page that needs nothing else: for people, light and dark, readable without colours.

use std::fmt::Write as _;

use super::proof::{CellReport, FindingReport, ProofReport, VerdictName};

const STYLE: &str = include_str!("proof.css");

impl ProofReport {
    /// The page.
    pub(crate) fn html(&self) -> String {
        let mut page = String::new();
        let title = format!("Proof of {}", self.connection);
        let (class, outcome) = if self.proven { ("good", "Proven") } else { ("bad", "Not proven") };
        page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
        page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
        page += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";
        let _ = write!(
            page,
            "<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
            escaped(&title)
        );
        let _ =
            writeln!(page, "<h1>Proof of isolation</h1>\n<p><code>{}</code></p>", escaped(&self.connection));
        let policy = match self.policy_version {
            Some(version) => format!("policy version {version}"),
            None => "a document that is not in force".to_owned(),
        };
        let findings = match self.findings.len() {
            0 => "no finding".to_owned(),
            1 => "1 finding".to_owned(),
            many => format!("{many} findings"),
        };
        let checks: u64 = self.invariants.iter().map(|it| it.checked).sum();
        let _ = writeln!(
            page,
            "<p><span class=\"outcome {class}\">{outcome}</span> {findings} in {checks} checks, as {} principals on {} relations</p>",
            self.principals.len(),
            self.relations.len()
        );
        let against = if self.has_intent {
            "held against an intent"
        } else {
            "held against the catalog, without an intent"
        };
        let _ = writeln!(
            page,
            "<p class=\"faint\">{}, {policy}, {against}; a tenant is <code>{}</code> in the rows; seed {}</p>",
            escaped(self.made_at()),
            escaped(&self.tenant_value),
            self.seed
        );
        self.invariants_table(&mut page);
        self.findings_list(&mut page);
        self.matrix_table(&mut page);
        self.crossings_table(&mut page);
        self.replay_table(&mut page);
        if !self.notes.is_empty() {
            page +=
                "<section aria-labelledby=\"notes\">\n<h2 id=\"notes\">What was not looked at</h2>\n<ul>\n";
            for note in &self.notes {
                let _ = writeln!(page, "<li>{}</li>", escaped(note));
            }
            page += "</ul>\n</section>\n";
        }
        page += "</main>\n</body>\n</html>\n";
        page
    }

    fn invariants_table(&self, page: &mut String) {
        *page += "<section aria-labelledby=\"invariants\">\n<h2 id=\"invariants\">Invariants</h2>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n";
        *page += "<thead><tr><th scope=\"col\">Invariant</th><th scope=\"col\">Holds</th><th scope=\"col\">Checks</th><th scope=\"col\">Broken</th></tr></thead>\n<tbody>\n";
        for it in &self.invariants {
            let (class, word) = match (it.broken, it.checked) {
                (0, 0) => ("hidden", "not checked"),
                (0, _) => ("good", "✓ yes"),
                _ => ("bad", "✗ no"),
            };
            let _ = writeln!(
                page,
                "<tr><th scope=\"row\"><code>{}</code></th><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td></tr>",
                it.invariant, it.checked, it.broken
            );
        }
        *page += "</tbody>\n</table>\n</div>\n</section>\n";
    }

    fn findings_list(&self, page: &mut String) {
        *page += "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Findings</h2>\n";
        if self.findings.is_empty() {
            *page += "<p>None: every answer held what is meant.</p>\n";
        }
        for finding in &self.findings {
            self.finding(page, finding);
        }
        *page += "</section>\n";
    }

    fn finding(&self, page: &mut String, finding: &FindingReport) {
        let column = finding.column.as_ref().map(|column| format!(".{column}")).unwrap_or_default();
        let _ = writeln!(
            page,
            "<article>\n<h3>{}{}: <code>{}</code></h3>\n<p>{}</p>\n<dl>",
            escaped(&finding.relation),
            escaped(&column),
            finding.invariant,
            escaped(&finding.what)
        );
        let _ = writeln!(page, "<dt>As</dt><dd>{}</dd>", escaped(&self.names(&finding.principals)));
        let _ = writeln!(page, "<dt>Statement</dt><dd><pre>{}</pre></dd>", escaped(&finding.statement));
        let _ = writeln!(page, "<dt>To mend it</dt><dd>{}</dd>", with_code(&finding.advice));
        let _ = writeln!(page, "<dt>Seen</dt><dd>in {} answers</dd>\n</dl>\n</article>", finding.times);
    }

    fn matrix_table(&self, page: &mut String) {
        *page += "<section aria-labelledby=\"matrix\">\n<h2 id=\"matrix\">Principals by relations</h2>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n";
        *page += "<caption>Rows that each principal sees: own, + shared, ↗ of others as declared, ✗ of others otherwise</caption>\n<thead><tr><th scope=\"col\">Relation<small>whose rows</small></th>";
        for principal in &self.principals {
            let _ = write!(
                page,
                "<th scope=\"col\">{}<small>{}</small><small>{}</small></th>",
                escaped(&principal.name),
                escaped(&principal.tenant),
                escaped(&principal.roles.join(", "))
            );
        }
        *page += "</tr></thead>\n<tbody>\n";
        for (place, relation) in self.relations.iter().enumerate() {
            let partly = if relation.partly { "the first " } else { "" };
            let _ = write!(
                page,
                "<tr><th scope=\"row\">{}<small>{}</small><small>{partly}{} rows</small></th>",
                escaped(&relation.relation),
                escaped(&relation.owner),
                relation.rows
            );
            for (number, principal) in self.principals.iter().enumerate() {
                let cell = self.matrix.iter().find(|cell| cell.principal == number && cell.relation == place);
                match (cell, &principal.refused) {
                    (Some(cell), _) => cell_html(page, cell),
                    (None, Some(refused)) => {
                        let _ =
                            write!(page, "<td class=\"hidden\" title=\"{}\">refused</td>", escaped(refused));
                    }
                    (None, None) => *page += "<td class=\"hidden\">not looked at</td>",
                }
            }
            *page += "</tr>\n";
        }
        *page += "</tbody>\n</table>\n</div>\n</section>\n";
    }

    fn crossings_table(&self, page: &mut String) {
        if self.crossings.is_empty() {
            return;
        }
        *page += "<section aria-labelledby=\"crossings\">\n<h2 id=\"crossings\">Declared crossings</h2>\n<p class=\"faint\">Rows of other tenants that are seen because a rule says so. Look whether each is meant.</p>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">Relation</th><th scope=\"col\">Rule</th><th scope=\"col\">By</th><th scope=\"col\">Rows of others</th></tr></thead>\n<tbody>\n";
        for it in &self.crossings {
            let _ = writeln!(
                page,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(&it.relation),
                escaped(&it.rule),
                escaped(&self.names(&it.principals)),
                it.rows
            );
        }
        *page += "</tbody>\n</table>\n</div>\n</section>\n";
    }

    fn replay_table(&self, page: &mut String) {
        let Some(replay) = &self.replay else { return };
        let _ = writeln!(
            page,
            "<section aria-labelledby=\"replay\">\n<h2 id=\"replay\">Statements of the past</h2>\n<p>{} statements: {} are answered the same, {} otherwise; {} change data and were judged, not run.</p>",
            replay.statements,
            replay.same,
            replay.changed.len() + replay.left_out,
            replay.not_run
        );
        if !replay.changed.is_empty() {
            *page += "<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">As</th><th scope=\"col\">Statement</th><th scope=\"col\">In force</th><th scope=\"col\">With the document</th></tr></thead>\n<tbody>\n";
            for it in &replay.changed {
                let _ = writeln!(
                    page,
                    "<tr><th scope=\"row\">{}</th><td><pre>{}</pre></td><td>{}</td><td>{}</td></tr>",
                    escaped(&self.names(&[it.principal])),
                    escaped(&it.statement),
                    escaped(&it.before),
                    escaped(&it.after)
                );
            }
            *page += "</tbody>\n</table>\n</div>\n";
        }
        *page += "</section>\n";
    }
}

fn cell_html(page: &mut String, cell: &CellReport) {
    let rows = cell.rows;
    let mut counts = rows.own.to_string();
    for (sign, count) in [(" + ", rows.shared), (" ↗ ", rows.crossing)] {
        if count > 0 {
            let _ = write!(counts, "{sign}{count}");
        }
    }
    if rows.foreign > 0 {
        let sign = if cell.verdict == VerdictName::Crossing { "↗" } else { "✗" };
        let _ = write!(counts, " {sign} {}", rows.foreign);
    }
    let (class, word) = match cell.verdict {
        VerdictName::Hidden => ("hidden", "– hidden".to_owned()),
        VerdictName::Inside => ("good", format!("✓ {counts}")),
        VerdictName::Crossing => ("over", counts),
        VerdictName::Broken => ("bad", format!("✗ broken: {counts}")),
        VerdictName::Unknown => ("hidden", "? not read".to_owned()),
    };
    let broken = cell.broken.iter().fold(String::new(), |mut broken, name| {
        let _ = write!(broken, "<small>{name}</small>");
        broken
    });
    let _ = write!(
        page,
        "<td class=\"{class}\">{word}{broken}<small>{} statements</small></td>",
        cell.statements
    );
}

/// What stands between backquotes as code.
fn with_code(text: &str) -> String {
    let mut html = String::new();
    for (place, part) in text.split('`').enumerate() {
        if place % 2 == 1 {
            let _ = write!(html, "<code>{}</code>", escaped(part));
        } else {
            html += &escaped(part);
        }
    }
    html
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_database_are_text() {
        assert_eq!(escaped("<b onload=\"x\">&'"), "&lt;b onload=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(with_code("say `a < b` now"), "say <code>a &lt; b</code> now");
    }
}
