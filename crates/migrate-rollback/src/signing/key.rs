//! Ed25519 keys and the files they are kept in: PKCS#8 and `SubjectPublicKeyInfo` as PEM, which
//! `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// What stands before the 32 bytes of a private key in PKCS#8 (RFC 8410).
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What stands before the 32 bytes of a public key in a `SubjectPublicKeyInfo` (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// Why a key can't be used. Never holds anything of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError(String);

impl KeyError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// A private key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

impl SigningKey {
    /// Makes a new key from the system's randomness; with the text of its file.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| KeyError::new("the system gives no random numbers"))?;
        let der = [&PRIVATE_PREFIX[..], &seed].concat();
        Ok((Self::from_der(&der)?, pem(PRIVATE_LABEL, &der)))
    }

    /// Reads a private key in PKCS#8, as PEM.
    ///
    /// # Errors
    /// The text is no such key, or the key is encrypted.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("ENCRYPTED PRIVATE KEY") {
            return Err(KeyError::new(
                "the key is encrypted; write it decrypted with `openssl pkey -in KEY -out FILE`",
            ));
        }
        let der = unpem(PRIVATE_LABEL, text).into_iter().next();
        let der = der.ok_or_else(|| {
            KeyError::new(
                "it is no private key in PKCS#8 (PEM); \
                 make one with `etlrs-migrate audit keygen -o KEY` or `openssl genpkey -algorithm ed25519 -out KEY`",
            )
        })?;
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| KeyError::new("it is no Ed25519 key in PKCS#8"))?;
        Ok(Self { pair })
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs a message; the signature in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(message))
    }
}

/// A public key. Shown as the base64 line of its PEM, which is also how settings name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// All keys of a text with PEM blocks.
    pub fn all_in_pem(text: &str) -> Vec<Self> {
        let blocks = unpem(PUBLIC_LABEL, text).into_iter();
        blocks.filter_map(|der| Self::from_der(&der)).collect()
    }

    /// The text of its file, as `openssl pkey -pubout` writes it.
    pub fn to_pem(self) -> String {
        pem(PUBLIC_LABEL, &self.der())
    }

    /// Whether a signature in base64 is of this key and this message.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(message, &signature).is_ok()
    }

    fn der(self) -> Vec<u8> {
        [&PUBLIC_PREFIX[..], &self.0].concat()
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        Some(Self(der.strip_prefix(&PUBLIC_PREFIX)?.try_into().ok()?))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    /// Reads a PEM text, or the base64 line of one.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if let Some(key) = Self::all_in_pem(text).into_iter().next() {
            return Ok(key);
        }
        let der = STANDARD.decode(text.trim()).ok();
        der.and_then(|der| Self::from_der(&der)).ok_or_else(|| {
            KeyError::new(
                "it is no Ed25519 public key; give the line between BEGIN and END of \
                 `openssl pkey -in KEY -pubout`, which begins with MCowBQYDK2VwAyEA",
            )
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.der()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// The contents of all PEM blocks of a label.
fn unpem(label: &str, text: &str) -> Vec<Vec<u8>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    text.split(&begin)
        .skip(1)
        .filter_map(|rest| {
            let (body, _) = rest.split_once(&end)?;
            let body: String = body.split_whitespace().collect();
            STANDARD.decode(body).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 3.
    #[test]
    fn a_known_key_signs_as_the_standard_says() {
        let seed = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let text = pem(PRIVATE_LABEL, &[&PRIVATE_PREFIX[..], &bytes].concat());
        let key = SigningKey::from_pem(&text).unwrap();
        let signature = STANDARD.decode(key.sign(&[0xaf, 0x82])).unwrap();
        assert_eq!(
            crate::checksum::hex(&signature),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_sign_one_message_only() {
        let (key, text) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&text).unwrap();
        assert_eq!(key.public(), again.public());
        let signature = again.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"messagE", &signature));
        assert!(!key.public().verifies(b"message", "not base64"));
        let public = key.public();
        assert_eq!(public.to_pem().parse(), Ok(public));
        assert_eq!(public.to_string().parse(), Ok(public));
        let two = format!("{}{}", again.public().to_pem(), public.to_pem());
        assert_eq!(PublicKey::all_in_pem(&two).len(), 2);
        let (other, _) = SigningKey::generate().unwrap();
        assert!(!other.public().verifies(b"message", &signature));
        for wrong in ["", "x", &text] {
            assert!(wrong.parse::<PublicKey>().is_err());
        }
        assert!(SigningKey::from_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----").is_err());
        assert!(!format!("{key:?}").contains(text.lines().nth(1).unwrap()));
    }
}
