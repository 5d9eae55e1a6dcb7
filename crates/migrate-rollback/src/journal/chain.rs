//! The chain of a run's log: each entry's hash covers all before it, and is signed.
//!
//! The first hash is of the head, each further one of the hash before and its entry. So the last
//! one names the whole log: whoever changes, removes or adds an entry gets another. Every hash is
//! signed by the deployment's key; the last signature therefore vouches for all entries.
//!
//! Logs of older builds have no chain. An entry that such a build appended to a chained log has
//! none either, and ends the chain.

use migrate_core::Proof;
use sha2::{Digest, Sha256};

use crate::signing::{PublicKey, SigningKey, Trust};

/// What tells these hashes and signatures from any others of the same key.
const DOMAIN: &str = "etlrs-migrate journal 1";

/// A hash of the chain, in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link(pub(super) String);

impl Link {
    pub(super) fn of_head(run: &str, header: &str) -> Self {
        Self::of(&[DOMAIN, run, header])
    }

    pub(super) fn then(&self, seq: i64, at: &str, record: &str) -> Self {
        Self::of(&[DOMAIN, &self.0, &seq.to_string(), at, record])
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // Lengths, so that no two lists of parts are the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(crate::checksum::hex(&hash.finalize()))
    }

    fn signed_bytes(&self) -> Vec<u8> {
        format!("{DOMAIN} {}", self.0).into_bytes()
    }
}

/// A hash as it is kept, with its signature. Entry 0 is the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) seq: i64,
    pub(super) link: String,
    pub(super) signer: String,
    pub(super) signature: String,
}

impl Seal {
    pub(super) fn new(seq: i64, link: &Link, key: &SigningKey) -> Self {
        Self {
            seq,
            signature: key.sign(&link.signed_bytes()),
            signer: key.public().to_string(),
            link: link.0.clone(),
        }
    }

    /// Puts it into the journal's table.
    pub(super) async fn insert(
        &self,
        run: &str,
        connection: &mut sqlx::SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO seals (run, seq, link, signer, signature) VALUES (?, ?, ?, ?, ?)")
            .bind(run)
            .bind(self.seq)
            .bind(&self.link)
            .bind(&self.signer)
            .bind(&self.signature)
            .execute(connection)
            .await?;
        Ok(())
    }

    fn is_of(&self, link: &Link) -> bool {
        let key = self.signer.parse::<PublicKey>();
        self.link == link.0
            && key.is_ok_and(|key| key.verifies(&link.signed_bytes(), &self.signature))
    }
}

/// The texts of a log as they were written.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub(super) run: String,
    pub(super) header: String,
    /// Moment and record, in order.
    pub(super) entries: Vec<(String, String)>,
    pub(super) seals: Vec<Seal>,
}

impl Texts {
    /// The hashes that the texts have, the head's first.
    fn links(&self) -> Vec<Link> {
        let mut links = vec![Link::of_head(&self.run, &self.header)];
        for (seq, (at, record)) in (1..).zip(&self.entries) {
            let next = links[links.len() - 1].then(seq, at, record);
            links.push(next);
        }
        links
    }

    /// The seal of an entry, if it is the one that follows the entry before.
    fn seal(&self, seq: usize) -> Option<&Seal> {
        let seal = self.seals.get(seq)?;
        (usize::try_from(seal.seq) == Ok(seq)).then_some(seal)
    }

    /// The first entry that is not what its seal was made of. What has no seal is not judged.
    pub(super) fn first_changed(&self) -> Option<usize> {
        let links = self.links();
        let other = |(seq, (link, seal)): (usize, (&Link, &Seal))| {
            (self.seal(seq).is_none() || seal.link != link.0).then_some(seq)
        };
        if let Some(seq) = links.iter().zip(&self.seals).enumerate().find_map(other) {
            return Some(seq);
        }
        if self.seals.len() > links.len() {
            return Some(links.len());
        }
        // A signature vouches for all before it: only where the last is wrong are all looked at.
        let last = self.seals.len().checked_sub(1)?;
        if self.seals[last].is_of(&links[last]) {
            return None;
        }
        let all = self.seals.iter().zip(&links);
        Some(all.take_while(|(seal, link)| seal.is_of(link)).count())
    }

    /// Whether the whole log is of a key that is trusted.
    pub(super) fn proof(&self, trust: &Trust) -> Proof {
        if self.seals.is_empty() {
            return Proof::Unchained;
        }
        if let Some(seq) = self.first_changed() {
            return wrong(seq, "is not what was signed");
        }
        let trusted = |seal: &Seal| {
            let key = seal.signer.parse::<PublicKey>();
            key.is_ok_and(|key| trust.keys().contains(&key))
        };
        if let Some(seq) = self.seals.iter().position(|seal| !trusted(seal)) {
            return wrong(seq, "is signed by a key that this deployment does not know");
        }
        if self.seals.len() <= self.entries.len() {
            return wrong(self.seals.len(), "has no signature");
        }
        Proof::Signed {
            head: self.seals[self.seals.len() - 1].link.clone(),
        }
    }

    /// The format that the head says it has.
    pub(super) fn format(&self) -> i64 {
        let header: Option<serde_json::Value> = serde_json::from_str(&self.header).ok();
        header.map_or(0, |header| header["format"].as_i64().unwrap_or(0))
    }
}

fn wrong(seq: usize, why: &str) -> Proof {
    let what = if seq == 0 {
        "its head".to_owned()
    } else {
        format!("record {seq}")
    };
    Proof::Wrong {
        record: seq,
        why: format!("{what} {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::StateKey;

    fn log(key: &SigningKey) -> Texts {
        let entries = vec![
            ("1".to_owned(), "a".to_owned()),
            ("2".to_owned(), "b".to_owned()),
        ];
        let mut texts = Texts {
            run: "r".to_owned(),
            header: "h".to_owned(),
            entries,
            seals: Vec::new(),
        };
        let links = texts.links();
        texts.seals = (0..)
            .zip(&links)
            .map(|(seq, link)| Seal::new(seq, link, key))
            .collect();
        texts
    }

    type Change = Box<dyn Fn(&mut Texts)>;

    #[test]
    fn whatever_is_changed_is_named() {
        let root = tempfile::tempdir().unwrap();
        let state = StateKey::ensure(root.path()).unwrap();
        let trust = Trust::load(root.path()).unwrap();
        let good = log(state.signing());
        assert!(matches!(good.proof(&trust), Proof::Signed { .. }));
        let (foreign, _) = SigningKey::generate().unwrap();
        let re_signed = log(&foreign);
        let forgeries: [(&str, usize, Change); 9] = [
            ("the head", 0, Box::new(|log| log.header = "x".to_owned())),
            ("the run", 0, Box::new(|log| log.run = "x".to_owned())),
            (
                "an entry",
                2,
                Box::new(|log| log.entries[1].1 = "x".to_owned()),
            ),
            (
                "a moment",
                1,
                Box::new(|log| log.entries[0].0 = "x".to_owned()),
            ),
            (
                "an entry and its hash",
                2,
                Box::new(|log| {
                    log.entries[1].1 = "x".to_owned();
                    let link = log.links().pop().unwrap();
                    log.seals[2].link = link.0;
                }),
            ),
            (
                "an entry more",
                3,
                Box::new(|log| {
                    log.entries.push(("3".to_owned(), "c".to_owned()));
                }),
            ),
            (
                "an entry removed",
                1,
                Box::new(|log| drop(log.entries.remove(0))),
            ),
            (
                "the last entry cut off",
                2,
                Box::new(|log| drop(log.entries.pop())),
            ),
            (
                "another signer",
                0,
                Box::new(move |log| log.seals.clone_from(&re_signed.seals)),
            ),
        ];
        for (what, at, forge) in forgeries {
            let mut changed = good.clone();
            forge(&mut changed);
            match changed.proof(&trust) {
                Proof::Wrong { record, .. } => assert_eq!(record, at, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
        let mut bare = good;
        bare.seals.clear();
        assert_eq!(bare.proof(&trust), Proof::Unchained);
    }
}
