//! Which representation of a result a client gets (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// The forms that a result can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    Json,
    Csv,
    Ndjson,
}

impl Representation {
    /// In the order of preference for a client that has none.
    const OFFERED: [Self; 3] = [Self::Json, Self::Csv, Self::Ndjson];

    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// What the client likes best of what is offered; `None` when it accepts none of it. Without the header: JSON.
pub(crate) fn choose_representation(headers: &HeaderMap) -> Option<Representation> {
    choose(headers, &Representation::OFFERED.map(|form| (form, form.media_type())))
}

/// What the client likes best of forms with their media types, in the order of preference for one that has none.
pub(crate) fn choose<T: Copy>(headers: &HeaderMap, offered: &[(T, &str)]) -> Option<T> {
    let values: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range> =
        values.iter().flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
    if ranges.is_empty() {
        return offered.first().map(|(form, _)| *form);
    }
    offered
        .iter()
        .rev() // `max_by` takes the last of equals
        .filter_map(|(form, media_type)| Some((*form, Range::most_specific(&ranges, media_type)?)))
        .filter(|(_, range)| range.weight > 0.0)
        .max_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight).then(a.specificity().cmp(&b.specificity())))
        .map(|(offered, _)| offered)
}

struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    weight: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(1.0));
        Some(Self { main, sub, weight })
    }

    fn most_specific<'r>(ranges: &'r [Self], media_type: &str) -> Option<&'r Self> {
        ranges.iter().filter(|range| range.matches(media_type)).max_by_key(|range| range.specificity())
    }

    fn matches(&self, media_type: &str) -> bool {
        let fits = |pattern: &str, part: &str| pattern == "*" || pattern.eq_ignore_ascii_case(part);
        media_type.split_once('/').is_some_and(|(main, sub)| fits(self.main, main) && fits(self.sub, sub))
    }

    fn specificity(&self) -> u8 {
        u8::from(self.main != "*") + u8::from(self.sub != "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_what_is_accepted() {
        use Representation as R;
        let cases = [
            (None, Some(R::Json)),
            (Some("*/*"), Some(R::Json)),
            (Some("application/json"), Some(R::Json)),
            (Some("text/csv"), Some(R::Csv)),
            (Some("text/*"), Some(R::Csv)),
            (Some("TEXT/CSV; charset=utf-8"), Some(R::Csv)),
            (Some("application/x-ndjson"), Some(R::Ndjson)),
            (Some("application/*"), Some(R::Json)),
            (Some("text/csv, */*"), Some(R::Csv)),
            (Some("text/csv;q=0.5, application/x-ndjson"), Some(R::Ndjson)),
            (Some("application/json;q=0, */*"), Some(R::Csv)),
            (Some("application/json;q=0.2, text/csv; q=0.1"), Some(R::Json)),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Some(R::Json)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("image/*, application/pdf"), None),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(choose_representation(&headers), expected, "{accept:?}");
        }
    }
}
