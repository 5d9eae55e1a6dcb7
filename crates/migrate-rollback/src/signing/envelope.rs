//! Signed documents: DSSE envelopes (<https://github.com/secure-systems-lab/dsse>, version 1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, SigningKey};

/// A document with its signatures, as DSSE writes it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is, a media type. It is signed too.
    pub payload_type: String,
    /// The document's bytes in base64.
    pub payload: String,
    /// The signatures, one a signer.
    pub signatures: Vec<Signature>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signer's public key. Only a hint: what counts is which key verifies.
    #[serde(default)]
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

impl Envelope {
    /// Signs a document.
    pub fn seal(payload_type: &str, document: &[u8], key: &SigningKey) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(document),
            signatures: vec![Signature {
                keyid: key.public().to_string(),
                sig: key.sign(&signed_bytes(payload_type, document)),
            }],
        }
    }

    /// Reads an envelope; nothing if the text is some other JSON, or none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The document, whoever signed it; nothing if the payload is no base64.
    pub fn document(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// The first of these keys that signed the document as `payload_type`.
    pub fn signer<'a>(&self, payload_type: &str, keys: &'a [PublicKey]) -> Option<&'a PublicKey> {
        if self.payload_type != payload_type {
            return None;
        }
        let signed = signed_bytes(payload_type, &self.document()?);
        let verifies = |key: &&PublicKey| {
            let mut all = self.signatures.iter();
            all.any(|one| key.verifies(&signed, &one.sig))
        };
        keys.iter().find(verifies)
    }
}

/// DSSE's "pre-authentication encoding": what is really signed.
pub fn signed_bytes(payload_type: &str, document: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        document.len()
    );
    [head.as_bytes(), document].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE specification.
    #[test]
    fn what_is_signed_is_encoded_as_the_specification_says() {
        assert_eq!(
            signed_bytes("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_is_of_its_signer_its_type_and_its_document() {
        let (key, _) = SigningKey::generate().unwrap();
        let (other, _) = SigningKey::generate().unwrap();
        let sealed = Envelope::seal("t", b"{}", &key);
        let keys = [other.public(), key.public()];
        assert_eq!(sealed.signer("t", &keys), Some(&key.public()));
        assert_eq!(sealed.signer("u", &keys), None);
        assert_eq!(sealed.signer("t", &keys[..1]), None);
        let mut changed = sealed.clone();
        changed.payload = STANDARD.encode("{ }");
        assert_eq!(changed.signer("t", &keys), None);
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(text.contains("\"payloadType\":\"t\""));
        assert_eq!(Envelope::read(text.as_bytes()), Some(sealed));
        assert_eq!(Envelope::read(b"{\"format\":1}"), None);
    }
}
