//! Where somebody goes after signing in: a place of this server, whatever was asked for.

/// Longest place that is kept, in bytes.
const LONGEST: usize = 2048;

/// The place, if it can't lead away from this server; else the root.
// INVARIANT: nothing that a browser takes for another host passes. Held by the test `no_place_leads_away`.
pub(super) fn safe(place: &str) -> String {
    // A slash, and then none and no backslash, which browsers take for one. Tabs and line breaks they leave out, so that all
    // control characters go, and whatever no address has as it stands.
    let is_plain = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"\\<>\"`{}|^".contains(&byte);
    let is_path = place.starts_with('/') && !place.starts_with("//");
    let path = place.split(['?', '#']).next().unwrap_or_default();
    // Signing in leads nowhere near signing in or out.
    let is_sign_in = ["/login", "/logout"]
        .iter()
        .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let is_safe = is_path && !is_sign_in && place.len() <= LONGEST && place.bytes().all(is_plain);
    if is_safe { place.to_owned() } else { "/".to_owned() }
}

/// The place that a query names in `return_to`.
pub(super) fn of_query(query: Option<&str>) -> String {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut places = pairs.filter(|(name, _)| name == "return_to").map(|(_, place)| place);
    match (places.next(), places.next()) {
        (Some(place), None) => safe(&place),
        _ => "/".to_owned(),
    }
}

/// The address of the sign-in page that leads back to a place.
pub(super) fn sign_in_page(place: &str) -> String {
    let place = safe(place);
    if place == "/" {
        return "/login".to_owned();
    }
    let query: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &place).finish();
    format!("/login?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_leads_away() {
        for place in [
            "", "docs", "https://evil.org", "//evil.org", "///evil.org", "/\\evil.org", "\\\\evil.org",
            "/\t/evil.org", "/\n/evil.org", " //evil.org", "/ /evil.org", "javascript:alert(1)",
            "https:/evil.org", "/%0d\r\nSet-Cookie: a=b", "/\u{2044}/evil.org", "http:evil.org", "/<script>",
            "/a\"b", "/login", "/login?return_to=/login", "/logout", "/login/corp", "/\0",
        ] {
            assert_eq!(safe(place), "/", "{place:?}");
        }
        assert_eq!(safe(&format!("/{}", "x".repeat(LONGEST))), "/");
    }

    #[test]
    fn own_places_are_kept() {
        for place in
            ["/", "/docs", "/data?a=b&c=%2F%2Fevil.org", "/a/b#c", "/logins", "/x?next=https://evil.org"]
        {
            assert_eq!(safe(place), place);
        }
        assert_eq!(of_query(Some("a=b&return_to=%2Fdocs%3Fa%3Db")), "/docs?a=b");
        assert_eq!(of_query(Some("return_to=%2F%2Fevil.org")), "/");
        assert_eq!(of_query(Some("return_to=/a&return_to=/b")), "/");
        assert_eq!(of_query(None), "/");
        let page = sign_in_page("/data?a=b&c=d");
        assert_eq!(page, "/login?return_to=%2Fdata%3Fa%3Db%26c%3Dd");
        assert_eq!(of_query(page.split_once('?').map(|(_, query)| query)), "/data?a=b&c=d");
        assert_eq!(sign_in_page("//evil.org"), "/login");
    }
}
