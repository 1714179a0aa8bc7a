//! The sign-in page: made here, without scripts, in light and dark.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::SignInSettings;
use super::form::{RETURN_FIELD, TOKEN_FIELD};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Nothing but this page's own style; its form goes to this server alone.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(STYLE.as_bytes()))
    )
});

/// Another way to sign in, as a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderLink {
    /// What people call it.
    pub(crate) label: String,
    /// A path of this server; `return_to` is added to it.
    pub(crate) path: String,
}

/// What the page shows.
pub(super) struct Look<'a> {
    pub(super) settings: &'a SignInSettings,
    pub(super) token: &'a str,
    /// A safe place.
    pub(super) return_to: &'a str,
    pub(super) failure: Option<&'a str>,
}

pub(super) fn html(look: &Look<'_>) -> String {
    let Look { settings, token, return_to, failure } = look;
    let first = |fields: &[String]| fields.first().map(|field| in_html(field)).unwrap_or_default();
    let alert = failure.map(|failure| {
        format!("<p class=\"alert\" role=\"alert\" id=\"failure\">{}</p>", in_html(&in_a_sentence(failure)))
    });
    let company = settings.company_field.as_deref().map(|field| {
        let field = in_html(field);
        format!(
            "<label for=\"company\">Company</label>\n<input id=\"company\" name=\"{field}\" autocomplete=\"organization\" \
             autocapitalize=\"none\" spellcheck=\"false\">"
        )
    });
    let parts = [
        ("<!--STYLE-->", format!("<style>{STYLE}</style>")),
        ("<!--ALERT-->", alert.unwrap_or_default()),
        ("<!--COMPANY-->", company.unwrap_or_default()),
        ("<!--PROVIDERS-->", providers(settings, return_to)),
        ("@described@", failure.map_or("", |_| " aria-describedby=\"failure\"").to_owned()),
        ("@user-field@", first(&settings.user_fields)),
        ("@password-field@", first(&settings.password_fields)),
        ("@token-field@", TOKEN_FIELD.to_owned()),
        ("@token@", in_html(token)),
        ("@return-field@", RETURN_FIELD.to_owned()),
        ("@return-to@", in_html(return_to)),
    ];
    // In one walk over the page, so that nothing that is filled in is taken for a place to fill.
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + 1024);
    let mut rest = PAGE;
    while let Some((at, mark, text)) = parts
        .iter()
        .filter_map(|(mark, text)| Some((rest.find(mark)?, *mark, text)))
        .min_by_key(|part| part.0)
    {
        page.push_str(&rest[..at]);
        page.push_str(text);
        rest = &rest[at + mark.len()..];
    }
    page.push_str(rest);
    page
}

fn providers(settings: &SignInSettings, return_to: &str) -> String {
    if settings.providers.is_empty() {
        return String::new();
    }
    let mut links = String::from("<nav aria-label=\"Other ways to sign in\"><p class=\"or\">or</p>\n<ul>\n");
    for ProviderLink { label, path } in &settings.providers {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair(RETURN_FIELD, return_to).finish();
        // Writing to a String can't fail.
        let _ = writeln!(
            links,
            "<li><a class=\"provider\" href=\"{}?{}\">Sign in with {}</a></li>",
            in_html(path),
            in_html(&query),
            in_html(label)
        );
    }
    links.push_str("</ul></nav>");
    links
}

/// Refusals are written for logs and programs; a person reads a sentence.
fn in_a_sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase);
    format!("{}{}.", first.map(String::from_iter).unwrap_or_default(), letters.as_str())
}

fn in_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::super::{Cookies, SameSite, TenantRules};
    use super::*;

    fn settings() -> SignInSettings {
        SignInSettings {
            user_fields: vec!["uname".to_owned(), "username".to_owned()],
            password_fields: vec!["passwd".to_owned()],
            company_field: None,
            cookies: Cookies::new(true, SameSite::Lax),
            tenants: TenantRules::default(),
            providers: Vec::new(),
            public_url: None,
        }
    }

    fn page(settings: &SignInSettings, return_to: &str, failure: Option<&str>) -> String {
        html(&Look { settings, token: "t0ken", return_to, failure })
    }

    #[test]
    fn the_page_has_the_configured_fields() {
        let page = page(&settings(), "/docs?a=b&c=d", None);
        for part in [
            "name=\"uname\"",
            "name=\"passwd\"",
            "name=\"form_token\" value=\"t0ken\"",
            "name=\"return_to\" value=\"/docs?a=b&amp;c=d\"",
            "<html lang=\"en\">",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for part in
            ["<!--", "@", "<script", "company", "role=\"alert\"", "http:", "https:", "onclick", " style="]
        {
            assert!(!page.replace("@media", "").contains(part), "{part}");
        }
    }

    #[test]
    fn nothing_that_is_shown_becomes_markup() {
        let evil = "\"><script>alert('1')</script>@token@";
        let mut settings = settings();
        settings.user_fields = vec![evil.to_owned()];
        settings.company_field = Some(evil.to_owned());
        settings.providers = vec![ProviderLink { label: evil.to_owned(), path: "/login/corp".to_owned() }];
        let page = page(&settings, evil, Some(evil));
        assert!(!page.contains("<script") && !page.contains("\"><s") && !page.contains("alert('"));
        assert_eq!(page.matches("t0ken").count(), 1, "what is filled in is no place to fill");
        assert!(page.contains("href=\"/login/corp?return_to=%22%3E"));
    }

    #[test]
    fn a_failure_is_announced() {
        let page = page(&settings(), "/", Some("the user name or the password is wrong"));
        assert!(page.contains("role=\"alert\" id=\"failure\">The user name or the password is wrong.</p>"));
        assert!(page.contains("aria-describedby=\"failure\""));
    }

    #[test]
    fn the_policy_is_for_this_style_alone() {
        assert!(POLICY.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</"));
    }
}
