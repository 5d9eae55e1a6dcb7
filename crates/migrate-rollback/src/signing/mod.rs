//! Who wrote a log, a backup or a plan: Ed25519 keys, the deployment's own key, DSSE envelopes.
//!
//! Reading order: [`key`] (keys and their files), [`state_key`] (the deployment's key and whom it
//! trusts), [`envelope`] (signed documents), [`points`] (signed backups).
//!
//! Invariants:
//! - A private key is never shown, logged or copied out of its file.
//! - Beside the backups lie public keys only: whoever may read backups can't sign.
//! - While the deployment has its own key, nothing that lies beside the backups is trusted.

pub mod envelope;
pub mod key;
pub mod points;
pub mod state_key;

pub use envelope::Envelope;
pub use key::{KeyError, PublicKey, SigningKey};
pub use state_key::{StateKey, Trust};
