//! `/docs`: the reference page, made of our own files only, so that it works without the internet.

use std::fmt::Write as _;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::Html;
use axum::routing::get;
use ringfence_gateway::refused::ROWS;

use super::AppState;
use super::problem::standing_hint;

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/app.js");
const STYLE: &str = include_str!("docs/style.css");

/// Nothing but this server's own files and answers; nothing inline. `data:` is for the icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// The page and its parts, for anyone.
pub(crate) fn router() -> Router<AppState> {
    let errors = errors_page();
    Router::new()
        .route("/docs", get(async || (HEADERS, Html(PAGE))))
        .route(
            "/docs/app.js",
            get(async || (HEADERS, [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)),
        )
        .route(
            "/docs/style.css",
            get(async || (HEADERS, [(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)),
        )
        .route("/docs/errors", get(async move || (HEADERS, Html(errors))))
}

/// Where the `type` of a problem leads. Plain HTML: a person may come here from a log, with any browser.
fn errors_page() -> String {
    let mut rows = String::new();
    for row in ROWS {
        let hint = standing_hint(row.code).map(in_html).unwrap_or_default();
        // Writing to a String can't fail.
        let _ = write!(
            rows,
            "<tr id=\"{name}\"><th scope=\"row\"><code>{name}</code></th><td>{status}</td><td>{title}</td><td>{hint}</td></tr>",
            name = row.name,
            status = row.status,
            title = in_html(row.title),
        );
    }
    include_str!("docs/errors.html").replace("<!--ROWS-->", &rows)
}

/// The hints are ours, and still no text goes into HTML unescaped. Backquotes become code.
fn in_html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut html = String::with_capacity(escaped.len());
    for (index, piece) in escaped.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(html, "<code>{piece}</code>");
        } else {
            html.push_str(piece);
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_anchor() {
        let page = errors_page();
        for row in ROWS {
            assert!(page.contains(&format!("id=\"{}\"", row.name)), "{}", row.name);
        }
        assert!(!page.contains("<access key>"), "text is escaped");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for file in [PAGE, SCRIPT, STYLE, &errors_page()] {
            for foreign in ["https://", "http://", "//cdn", "@import", "innerHTML", "eval("] {
                assert!(!file.contains(foreign), "{foreign}");
            }
        }
        for inline in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
    }
}
