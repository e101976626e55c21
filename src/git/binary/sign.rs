//! The signature of a commit. Git makes it, by `ssh-keygen` or `gpg`; the key is in the private
//! directory of the job only while the commit is made.

use std::ffi::OsString;

use super::{
    command::{Fingerprint, GitCommand, Signer},
    session::BinarySession,
    settings::{key_ring, private_key},
};
use crate::git::{
    backend::GitError,
    signing::{SigningFormat, SigningKey},
};

/// What is needed to sign one commit.
pub(super) struct Signature {
    key: SignatureKey,
    /// Where GnuPG finds its key ring.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

enum SignatureKey {
    Ssh(tempfile::TempPath),
    OpenPgp(Fingerprint),
}

impl Signature {
    /// As an argument of git.
    pub(super) fn signer(&self) -> Signer<'_> {
        match &self.key {
            SignatureKey::Ssh(key) => Signer::Ssh { key },
            SignatureKey::OpenPgp(fingerprint) => Signer::OpenPgp { fingerprint },
        }
    }
}

impl BinarySession {
    /// Makes the key ready.
    pub(super) async fn prepare(&self, key: &SigningKey) -> Result<Signature, GitError> {
        let place = self.settings.path();
        match key.format {
            SigningFormat::Ssh => {
                let key = SignatureKey::Ssh(private_key(place, &key.key)?);
                Ok(Signature { key, environment: Vec::new() })
            }
            SigningFormat::OpenPgp => {
                let ring = key_ring(place, key.passphrase.as_ref())?;
                let environment = vec![("GNUPGHOME", ring.into_os_string())];
                let input = key.key.bytes().to_vec();
                let output =
                    self.run_with(GitCommand::ImportKey, input, environment.clone()).await?;
                let found = Fingerprint::imported(&output.stdout);
                let Some(fingerprint) = found.filter(|_| output.status.success()) else {
                    self.end_key_agent(environment).await;
                    return Err(self.unsigned(&output.stderr));
                };
                Ok(Signature { key: SignatureKey::OpenPgp(fingerprint), environment })
            }
        }
    }

    /// Ends what was started for a signature, and forgets the key.
    pub(super) async fn put_away(&self, signature: Signature) {
        match signature.key {
            // Removed with the value.
            SignatureKey::Ssh(_) => {}
            SignatureKey::OpenPgp(_) => self.end_key_agent(signature.environment).await,
        }
    }

    async fn end_key_agent(&self, environment: Vec<(&'static str, OsString)>) {
        // It ends by itself, too, when its directory is gone.
        let _ = self.run_with(GitCommand::EndKeyAgent, Vec::new(), environment.clone()).await;
        for (_, ring) in environment {
            let _ = tokio::fs::remove_dir_all(ring).await;
        }
    }

    /// Why a commit has no signature.
    pub(super) fn unsigned(&self, stderr: &str) -> GitError {
        let secrets = self.remote.credentials.secrets();
        let detail = super::answer::redact(stderr, &secrets);
        GitError::Unsigned { detail }
    }
}
