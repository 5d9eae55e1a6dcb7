//! What is secret by its name or by its looks.

use std::borrow::Cow;

/// What stands for a secret.
pub const MASK: &str = "***";

/// Parts of a name that make its value secret, wherever they stand in it.
const PARTS: [&str; 24] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "private_key",
    "privatekey",
    "private-key",
    "access_key",
    "accesskey",
    "access-key",
    "signing_key",
    "encryption_key",
    "credential",
    "bearer",
    "jwt",
    "dsn",
    "cookie",
    "connection_string",
];

/// Whole words of a name that make its value secret; as parts they stand in harmless names
/// (`author`, `basalt`).
const WORDS: [&str; 13] = [
    "auth",
    "oauth",
    "authorization",
    "authentication",
    "salt",
    "salts",
    "session",
    "sessionid",
    "creds",
    "otp",
    "hmac",
    "pepper",
    "htpasswd",
];

/// Whether a name says that its value is secret.
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    PARTS.iter().any(|part| lower.contains(part))
        || words(name).any(|word| WORDS.contains(&word.as_str()))
}

/// `sessionSalt`, `session_salt` and `SESSION-SALT` are the same two words.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for c in name.chars() {
        let begins = c.is_uppercase() && before_lower;
        if !c.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_lower = c.is_lowercase();
    }
    words.into_iter().filter(|word| !word.is_empty())
}

/// How keys of well-known services begin, and how long the rest is at least.
const KEYS: [(&str, usize); 27] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("sk-ant-", 16),
    ("sk-proj-", 16),
    ("sk-", 32),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("AIza", 30),
    ("npm_", 30),
    ("SG.", 30),
    ("ya29.", 20),
    ("dop_v1_", 32),
];

/// A text with everything masked that looks like a key: keys of well-known services, JSON web
/// tokens, private keys in PEM. Line ends stay.
pub fn mask_keys(text: &str) -> Cow<'_, str> {
    let pem = mask_pem(text);
    match mask_tokens(&pem) {
        Some(masked) => Cow::Owned(masked),
        None => pem,
    }
}

fn mask_tokens(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut at = 0;
    while let Some(from) = text[at..].find(is_part).map(|found| at + found) {
        let to = text[from..]
            .find(|c| !is_part(c))
            .map_or(text.len(), |end| from + end);
        if looks_like_key(&text[from..to]) {
            out.push_str(&text[done..from]);
            out.push_str(MASK);
            done = to;
        }
        at = to;
    }
    (done > 0).then(|| {
        out.push_str(&text[done..]);
        out
    })
}

fn looks_like_key(token: &str) -> bool {
    // Behind `name.` or `name-` too.
    let starts = token
        .char_indices()
        .filter(|(at, _)| *at == 0 || !token.as_bytes()[at - 1].is_ascii_alphanumeric());
    let is_known = starts.into_iter().any(|(at, _)| {
        KEYS.iter().any(|(prefix, least)| {
            token[at..].strip_prefix(prefix).is_some_and(|rest| {
                rest.len() >= *least
                    && (!prefix.ends_with("IA")
                        || rest
                            .bytes()
                            .take(*least)
                            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
            })
        })
    });
    is_known || is_web_token(token)
}

/// `eyJ…​.eyJ…​.signature`: two JSON objects in base64, and a third part.
fn is_web_token(token: &str) -> bool {
    let Some(start) = token.find("eyJ") else {
        return false;
    };
    let parts: Vec<&str> = token[start..].split('.').collect();
    parts.len() >= 3 && parts[0].len() >= 10 && parts[1].len() >= 6 && !parts[2].is_empty()
}

fn mask_pem(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "-----BEGIN ";
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let label = &rest[at + BEGIN.len()..];
        let label = &label[..label.find("-----").unwrap_or(label.len())];
        if !label.ends_with("PRIVATE KEY") && !label.ends_with("PRIVATE KEY BLOCK") {
            out.push_str(&rest[..at + BEGIN.len()]);
            rest = &rest[at + BEGIN.len()..];
            continue;
        }
        out.push_str(&rest[..at]);
        out.push_str(MASK);
        let end = format!("-----END {label}-----");
        // Without an end the rest is the key's.
        let to = rest[at..]
            .find(&end)
            .map_or(rest.len(), |found| at + found + end.len());
        // Line ends stay, so that places in a text stay right.
        out.extend(rest[at..to].chars().filter(|c| *c == '\n'));
        rest = &rest[to..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for name in [
            "auth",
            "http_auth",
            "bearer",
            "JWT",
            "jwtKey",
            "salt",
            "userSalt",
            "credentials",
            "dsn",
            "DB_DSN",
            "api-key",
            "session",
            "session_id",
            "sessionCookie",
            "db.password",
            "authToken",
            "authorization",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "author",
            "authors",
            "basalt",
            "port",
            "log_level",
            "salty",
            "sessions_dir",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn looks_tell() {
        // Put together here, so that no scanner takes them for real ones.
        let jwt = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "c2ln"].join(".");
        let keys = [
            format!("AKIA{}", "ABCDEFGHIJKLMNOP"),
            format!("ghp_{}", "abcdefghijklmnopqrstuvwx"),
            format!("sk_live_{}", "abcdefghijklmnop"),
            jwt,
        ];
        for key in keys {
            let shown = mask_keys(&format!("x = \"{key}\" # {key}")).into_owned();
            assert_eq!(shown, "x = \"***\" # ***");
        }
        let pem =
            "a = '''-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----'''\nb";
        assert_eq!(mask_keys(pem), "a = '''***\n\n'''\nb");
        for text in [
            "config_1.5.0.toml",
            "-----BEGIN CERTIFICATE-----\nMII\n",
            "ask-me",
            "task-runner-with-a-long-name-of-many-words",
            "AKIA",
        ] {
            assert_eq!(mask_keys(text), text);
        }
    }
}
