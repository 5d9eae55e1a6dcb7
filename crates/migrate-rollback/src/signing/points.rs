//! Signed backups: what the file beside a copy says is what this deployment wrote.
//!
//! A backup's facts (checksums of the copy, of its fingerprint and of the files) are signed as one
//! document. So a copy can't be replaced together with the file that describes it.

use migrate_config::atomic::Root;
use migrate_core::StepError;

use super::envelope::Envelope;
use super::key::SigningKey;
use super::state_key::{Held, Trust};
use crate::point::RollbackPoint;

/// Whether a backup is taken although nobody can tell who wrote it.
pub(super) fn is_unsigned(trust: &Trust, point: &RollbackPoint) -> bool {
    judged(trust, point).is_ok_and(|note| note.is_some())
}

/// What is signed of a backup.
const PAYLOAD_TYPE: &str = "application/vnd.etlrs-migrate.backup+json";

/// Whether signatures of backups are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signatures {
    /// A backup whose signature is missing or wrong is refused.
    #[default]
    Required,
    /// The operator vouches for the backup.
    NotAsked,
}

/// The document that is signed.
fn document(point: &RollbackPoint) -> Vec<u8> {
    let bare = RollbackPoint {
        seal: None,
        ..point.clone()
    };
    serde_json::to_vec(&bare).expect("a point has only text keys and plain values")
}

/// What tells an unsigned backup from a changed one.
pub(super) fn digest(point: &RollbackPoint) -> String {
    migrate_config::atomic::sha256(&document(point))
}

/// Signs a backup's facts.
pub(crate) fn seal(point: &mut RollbackPoint, key: &SigningKey) {
    point.seal = Some(Envelope::seal(PAYLOAD_TYPE, &document(point), key));
}

/// Checks who wrote a backup's facts. A note where that can't be told and need not be: the
/// backup is older than the key.
///
/// # Errors
/// The signature is wrong, or missing where there must be one. Nothing was restored.
pub fn check(
    root: &Root,
    point: &RollbackPoint,
    asked: Signatures,
) -> Result<Option<String>, StepError> {
    if asked == Signatures::NotAsked {
        return Ok(Some(
            "its signature was not checked (--skip-check signature)".to_owned(),
        ));
    }
    judged(&Trust::load(root.path())?, point)
}

/// Why nobody can tell that this deployment made a backup, where signatures are asked for: its facts
/// are not used for anything but to be restored when somebody names it.
///
/// # Errors
/// The deployment's key can't be read.
pub(crate) fn unproven(
    root: &Root,
    point: &RollbackPoint,
    asked: Signatures,
) -> Result<Option<String>, StepError> {
    if asked == Signatures::NotAsked {
        return Ok(None);
    }
    let trust = Trust::load(root.path())?;
    Ok(match judged(&trust, point) {
        Ok(note) => note,
        Err(error) => Some(error.message),
    })
}

fn judged(trust: &Trust, point: &RollbackPoint) -> Result<Option<String>, StepError> {
    let older = "its signature was not checked: it is older than this deployment's key";
    if trust.knows_unsigned(&point.id, &digest(point)) {
        return Ok(Some(older.to_owned()));
    }
    let Some(seal) = &point.seal else {
        return match trust.held() {
            Held::Here => Err(refused(
                point,
                "it has no signature, and was not there when this deployment's key was made",
            )),
            Held::BesideBackups | Held::Nowhere => Ok(Some(older.to_owned())),
        };
    };
    if trust.held() == Held::Nowhere {
        return Ok(Some(
            "its signature could not be checked: this deployment has no key".to_owned(),
        ));
    }
    if seal.signer(PAYLOAD_TYPE, trust.keys()).is_none() {
        return Err(refused(
            point,
            "its signature is not one of this deployment's key",
        ));
    }
    // Fields that a newer build added are in its document, and not in what is read here.
    let signed = seal
        .document()
        .and_then(|document| serde_json::from_slice::<RollbackPoint>(&document).ok());
    if signed.is_some_and(|signed| document(&signed) == document(point)) {
        Ok(None)
    } else {
        Err(refused(
            point,
            "it says something else than what was signed",
        ))
    }
}

fn refused(point: &RollbackPoint, why: &str) -> StepError {
    StepError::failed(format!(
        "the backup {} is refused: {why}",
        point.data_snapshot.file
    ))
    .hint(
        "nothing was restored; choose another backup (`etlrs-migrate backup list`), \
         or, if you know that it is yours: --skip-check signature",
    )
}
