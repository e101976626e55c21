//! Keys that commits are signed with, from the data of a Secret: an OpenSSH key, or an OpenPGP key as
//! `gpg --armor --export-secret-keys` prints it. The value is hidden like every credential; only
//! `binary` writes it, into a private directory.
//!
//! Sources: `gpg.format` of git-config(1); PROTOCOL.key of OpenSSH; RFC 9580, 6.2; Flux
//! `ImageUpdateAutomation.spec.git.commit.signingKey` (keys `git.asc` and `passphrase`).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::credentials::{Data, Hidden, first};

/// What kind of signature it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningFormat {
    /// By `ssh-keygen`.
    Ssh,
    /// By `gpg`.
    OpenPgp,
}

/// A private key for signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    pub(super) format: SigningFormat,
    pub(super) key: Hidden,
    /// Of an OpenPGP key.
    pub(super) passphrase: Option<Hidden>,
}

/// Why a Secret holds no usable key. Names keys of the Secret, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningRefusal {
    /// No such entry.
    #[error(
        "it has no key `signingKey` (or `git.asc`) with an OpenSSH private key, or an OpenPGP one as \
         gpg --armor --export-secret-keys prints it"
    )]
    Missing,
    /// Neither of the two forms.
    #[error(
        "key `signingKey` holds neither an OpenSSH private key (`-----BEGIN OPENSSH PRIVATE KEY-----`) \
         nor an OpenPGP one (`-----BEGIN PGP PRIVATE KEY BLOCK-----`)"
    )]
    Unknown,
    /// An SSH key that has to be unlocked.
    #[error(
        "the SSH key in `signingKey` has a passphrase, which is not supported; use a key without one \
         for this purpose alone"
    )]
    Passphrase,
    /// A passphrase of more than one line.
    #[error("key `passphrase` holds a line break")]
    BadPassphrase,
}

const SSH_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const PGP_BEGIN: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
/// What the bytes of an OpenSSH key begin with.
const SSH_MAGIC: &[u8] = b"openssh-key-v1\0";

impl SigningKey {
    /// Reads the data of a Secret.
    ///
    /// # Errors
    /// [`SigningRefusal`].
    pub fn from_secret(data: &Data) -> Result<Self, SigningRefusal> {
        let (_, key) = first(data, &["signingKey", "git.asc"]).ok_or(SigningRefusal::Missing)?;
        let text = key.text().trim();
        let format = if text.starts_with(SSH_BEGIN) {
            SigningFormat::Ssh
        } else if text.starts_with(PGP_BEGIN) {
            SigningFormat::OpenPgp
        } else {
            return Err(SigningRefusal::Unknown);
        };
        let passphrase = first(data, &["passphrase"]).map(|(_, passphrase)| passphrase);
        match format {
            SigningFormat::Ssh => {
                let cipher = ssh_cipher(text).ok_or(SigningRefusal::Unknown)?;
                if passphrase.is_some() || cipher != b"none" {
                    return Err(SigningRefusal::Passphrase);
                }
            }
            SigningFormat::OpenPgp => {
                let is_line = |it: &Hidden| !it.text().contains(['\n', '\r']);
                if !passphrase.iter().all(is_line) {
                    return Err(SigningRefusal::BadPassphrase);
                }
            }
        }
        Ok(Self { format, key, passphrase })
    }
}

/// The name of the cipher that an OpenSSH key is locked with: `none` if it is not.
fn ssh_cipher(text: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(SSH_BEGIN)?;
    let (body, _) = body.split_once("-----END")?;
    let body: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(body).ok()?;
    let rest = bytes.strip_prefix(SSH_MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(cipher: &str) -> String {
        let mut bytes = SSH_MAGIC.to_vec();
        bytes.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
        bytes.extend(cipher.as_bytes());
        let body = STANDARD.encode(bytes);
        format!("{SSH_BEGIN}\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    fn read(pairs: &[(&str, &str)]) -> Result<SigningFormat, SigningRefusal> {
        let pairs = pairs.iter();
        let data = pairs.map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        SigningKey::from_secret(&data).map(|key| key.format)
    }

    #[test]
    fn keys_of_both_kinds_are_known_by_their_first_line() {
        let pgp = format!("{PGP_BEGIN}\n\nhunter2\n");
        assert_eq!(read(&[("signingKey", &ssh("none"))]), Ok(SigningFormat::Ssh));
        assert_eq!(read(&[("signingKey", &pgp)]), Ok(SigningFormat::OpenPgp));
        let flux = [("git.asc", pgp.as_str()), ("passphrase", "correct horse")];
        assert_eq!(read(&flux), Ok(SigningFormat::OpenPgp));
    }

    #[test]
    fn what_cannot_sign_is_refused_before_anything_is_done() {
        let locked = ssh("aes256-ctr");
        let open = ssh("none");
        for (pairs, refusal) in [
            (vec![], SigningRefusal::Missing),
            (vec![("signingKey", "")], SigningRefusal::Missing),
            (vec![("signingKey", "ssh-ed25519 AAAA")], SigningRefusal::Unknown),
            (vec![("signingKey", SSH_BEGIN)], SigningRefusal::Unknown),
            (vec![("signingKey", &locked)], SigningRefusal::Passphrase),
            (vec![("signingKey", &open), ("passphrase", "x")], SigningRefusal::Passphrase),
            (vec![("git.asc", PGP_BEGIN), ("passphrase", "a\nb")], SigningRefusal::BadPassphrase),
        ] {
            assert_eq!(read(&pairs), Err(refusal), "{pairs:?}");
        }
    }

    #[test]
    fn debug_never_shows_a_key() {
        let data = [("git.asc".to_owned(), format!("{PGP_BEGIN}\nhunter2").into_bytes())];
        let key = SigningKey::from_secret(&data.into_iter().collect()).unwrap();
        assert!(!format!("{key:?}").contains("hunter2"));
    }
}
