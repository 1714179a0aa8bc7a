//! Names of columns as people read them: whose row it is, and whether it holds a secret.

/// Types that hold no secret whatever their name is: `password_changed_at`, `has_token`.
const TYPES_WITHOUT_SECRETS: [&str; 6] = ["bool", "date", "timestamp", "time", "interval", "datetime"];
/// What follows the word in names that only speak of a secret.
const ABOUT: [&str; 22] = [
    "at", "on", "count", "date", "type", "expires", "expiry", "expired", "enabled", "status", "length",
    "hint", "policy", "attempts", "changed", "updated", "created", "version", "name", "kind", "required",
    "ttl",
];
/// What stands before it in such names.
const ASKING: [&str; 8] = ["has", "is", "needs", "num", "max", "min", "requires", "uses"];
/// Words that name a secret on their own.
const SECRETS: [&str; 17] = [
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "token", "apikey", "ssn", "cvv", "cvc",
    "iban", "creditcard", "cardnumber", "privatekey", "credential", "credentials",
];
/// Pairs of words that do so together.
const PAIRS: [(&str, &str); 15] = [
    ("api", "key"),
    ("access", "key"),
    ("private", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("card", "number"),
    ("card", "no"),
    ("card", "num"),
    ("credit", "card"),
    ("social", "security"),
    ("security", "code"),
    ("account", "number"),
    ("passport", "number"),
    ("pass", "word"),
    ("recovery", "code"),
];
/// Names of the column that says whose row it is, without their separators.
const TENANTS: [&str; 16] = [
    "tenant", "tenantid", "tenantuuid", "tenantkey", "tenantcode", "tenantslug", "idtenant", "org", "orgid",
    "orguuid", "organization", "organizationid", "organisation", "organisationid", "workspaceid",
    "mandantid",
];

/// The words of a name: `apiKey`, `API_KEY` and `api-key` are `api`, `key`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for letter in name.chars() {
        let begins = !before.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if letter.is_alphanumeric() {
            if begins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
        before = letter;
    }
    words
}

/// Whether the column's name says that it holds a secret, and its type does not say otherwise.
pub fn names_a_secret(name: &str, data_type: &str) -> bool {
    let data_type = data_type.to_ascii_lowercase();
    if TYPES_WITHOUT_SECRETS.iter().any(|prefix| data_type.starts_with(prefix)) {
        return false;
    }
    let words = words(name);
    let speaks_about = words.last().is_some_and(|word| ABOUT.contains(&word.as_str()))
        || words.first().is_some_and(|word| ASKING.contains(&word.as_str()));
    let pair = |(one, other): (&String, &String)| PAIRS.contains(&(one.as_str(), other.as_str()));
    let is_secret = words.iter().any(|word| SECRETS.contains(&word.as_str()))
        || words.iter().zip(words.iter().skip(1)).any(pair);
    is_secret && !speaks_about
}

/// Whether the column's name says whose row it is.
pub fn names_a_tenant(name: &str) -> bool {
    TENANTS.contains(&folded(name).as_str())
}

/// Without separators and case, so that `customer_id` and `CustomerId` are one.
pub fn folded(name: &str) -> String {
    words(name).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in [
            "password", "password_hash", "passwordHash", "PASSWORD", "user_pwd", "api_key", "apiKey",
            "API-KEY", "apikey", "ssn", "client_secret", "access_token", "refreshToken", "card_number",
            "cardNumber", "credit_card", "cvv", "private_key", "iban", "accountNumber",
            "social_security_number",
        ] {
            assert!(names_a_secret(name, "text"), "{name}");
        }
        for name in [
            "name", "title", "key", "keyboard", "card", "cards", "tokens_used", "token_count",
            "password_changed_at", "has_password", "secret_hint", "secretary", "number", "account_id",
            "access", "pass", "compass", "api_url", "token_type", "passing",
        ] {
            assert!(!names_a_secret(name, "text"), "{name}");
        }
        assert!(!names_a_secret("password_reset", "boolean"));
        assert!(!names_a_secret("token_issued", "timestamp with time zone"));
        assert!(names_a_secret("ssn", "integer"));
    }

    #[test]
    fn tenants_are_told_by_their_names() {
        for name in
            ["tenant_id", "tenantId", "TENANT", "org_id", "OrganizationId", "organisation_id", "workspace_id"]
        {
            assert!(names_a_tenant(name), "{name}");
        }
        for name in
            ["id", "user_id", "customer_id", "organ", "origin", "organic", "tenancy_note", "workspace_name"]
        {
            assert!(!names_a_tenant(name), "{name}");
        }
        assert_eq!(folded("CustomerId"), folded("customer_id"));
    }
}
