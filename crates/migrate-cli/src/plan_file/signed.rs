//! Plan files and certificates that are signed: who may approve what runs.

use std::path::Path;

use migrate_rollback::signing::{Envelope, PublicKey, SigningKey};

use crate::args::Global;
use crate::deployment::SETTINGS_FILE;
use crate::exit;
use crate::failure::Failure;

/// What the payload of a signed plan file is.
pub(crate) const PLAN: &str = "application/vnd.etlrs-migrate.plan+json";

/// What the payload of a signed rehearsal certificate is.
pub(crate) const CERTIFICATE: &str = "application/vnd.etlrs-migrate.rehearsal+json";

/// A document as it was read, and its envelope if it came in one.
#[derive(Debug)]
pub(crate) struct Document {
    /// What was signed, byte for byte; the whole file where nothing was.
    pub(crate) bytes: Vec<u8>,
    envelope: Option<Envelope>,
}

impl Document {
    /// Takes a document out of its envelope, if it is in one. Nobody's signature is checked.
    pub(crate) fn open(bytes: Vec<u8>) -> Option<Self> {
        match Envelope::read(&bytes) {
            None => Some(Self {
                bytes,
                envelope: None,
            }),
            Some(envelope) => Some(Self {
                bytes: envelope.document()?,
                envelope: Some(envelope),
            }),
        }
    }

    /// Which of these keys signed it as that sort of document.
    pub(crate) fn signer(&self, sort: &str, keys: &[PublicKey]) -> Option<PublicKey> {
        self.envelope.as_ref()?.signer(sort, keys).copied()
    }

    /// Whether anybody signed it.
    pub(crate) fn is_signed(&self) -> bool {
        self.envelope.is_some()
    }
}

/// The bytes of a document's file, in an envelope where there is a key.
pub(crate) fn bytes_of(
    sort: &str,
    document: Vec<u8>,
    key: Option<&SigningKey>,
) -> Result<Vec<u8>, Failure> {
    let Some(key) = key else {
        return Ok(document);
    };
    let envelope = Envelope::seal(sort, &document, key);
    let mut bytes = serde_json::to_vec_pretty(&envelope)
        .map_err(|error| Failure::unchanged(format!("the envelope: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The key of `--sign KEY`.
pub(crate) fn key(path: Option<&Path>) -> Result<Option<SigningKey>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    let failed = |error: &dyn std::fmt::Display| {
        Failure::unchanged(format!("--sign {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    SigningKey::from_pem(&text)
        .map(Some)
        .map_err(|error| failed(&error))
}

/// The keys that the chosen environment wants one of; nothing where it wants none.
pub(crate) fn wanted(global: &Global) -> Option<(&str, Vec<PublicKey>)> {
    let chosen = global.environment.as_ref()?;
    let keys = chosen.own.require_signature.as_ref()?;
    Some((&chosen.name, keys.iter().map(|key| key.0).collect()))
}

/// Refuses a plan file that nobody signed whom the environment names. Who signed it.
pub(crate) fn require(
    global: &Global,
    path: &Path,
    document: &Document,
) -> Result<Option<PublicKey>, Failure> {
    let Some((name, keys)) = wanted(global) else {
        return Ok(None);
    };
    if let Some(key) = document.signer(PLAN, &keys) {
        return Ok(Some(key));
    }
    let why = if document.is_signed() {
        "it is not signed by any of them, or was changed after it was signed"
    } else {
        "it is not signed"
    };
    Err(Failure {
        code: exit::DIFFERENT,
        ..Failure::unchanged(format!(
            "refused: the environment {name} runs only what one of its keys signed ({} in \
             {SETTINGS_FILE}), and {}: {why}; nothing was changed",
            keys.len(),
            path.display()
        ))
    }
    .hint("let somebody with such a key make it: `etlrs-migrate plan --from A --to B -o FILE --sign KEY`"))
}

/// Refuses what runs without a plan file, where the environment wants a signed one.
pub(crate) fn refuse_direct(global: &Global, what: &str) -> Result<(), Failure> {
    let Some((name, _)) = wanted(global) else {
        return Ok(());
    };
    Err(Failure {
        code: exit::DIFFERENT,
        ..Failure::unchanged(format!(
            "refused: the environment {name} runs only signed plan files, and {what} is none; \
             nothing was changed"
        ))
    }
    .hint(format!(
        "`etlrs-migrate --env {name} plan --from A --to B -o FILE --sign KEY`, then \
         `etlrs-migrate --env {name} apply FILE`"
    )))
}
