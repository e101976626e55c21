//! The private directory of one job: Git's configuration, credentials, trusted keys, and the bare
//! repositories that it works on.
//!
//! Everything that Git must know and nobody may see goes into files of mode 0600 in a directory of
//! mode 0700 that is removed with the job; nothing of it is an argument or an environment variable.

use std::{
    fmt::Write as _,
    fs, io,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::super::{
    backend::{GitError, Remote},
    credentials::{Hidden, Login},
    source::{GitUrl, Transport},
};

/// Files of one job, removed when dropped.
#[derive(Debug)]
pub(super) struct Settings {
    directory: tempfile::TempDir,
    /// The command by which Git calls ssh, for SSH only.
    pub(super) ssh_command: Option<String>,
    /// The repository is on this machine.
    pub(super) is_local: bool,
}

impl Settings {
    /// Writes the files for `remote`, whose name resolved to `addresses`.
    pub(super) fn write(
        remote: &Remote,
        addresses: &[IpAddr],
        scratch: Option<&Path>,
    ) -> Result<Self, GitError> {
        let directory = private_directory(scratch)?;
        let place = directory.path();
        let write = || -> io::Result<Option<String>> {
            let mut config = base_config(&remote.url);
            let ssh_command = match &remote.credentials.login {
                Login::Ssh { identity, known_hosts } => {
                    private_file(&place.join("identity"), &with_line_end(identity.bytes()))?;
                    private_file(&place.join("known_hosts"), known_hosts.bytes())?;
                    Some(ssh_command(place, &remote.url, addresses))
                }
                Login::Anonymous => None,
                Login::Basic { username, password } => {
                    let pair = STANDARD.encode(format!("{}:{}", username.text(), password.text()));
                    config.push_str(&header(&remote.url, &format!("Basic {pair}")));
                    None
                }
                Login::Bearer(token) => {
                    config.push_str(&header(&remote.url, &format!("Bearer {}", token.text())));
                    None
                }
            };
            if remote.url.transport() == Transport::Https {
                config.push_str(&https_config(place, remote, addresses)?);
            }
            write_job(place, &config)?;
            Ok(ssh_command)
        };
        let ssh_command = write().map_err(|error| local("write the job's files", &error))?;
        Ok(Self { directory, ssh_command, is_local: false })
    }

    /// Writes the files for a repository at `path` on this machine, in the place of `remote`.
    pub(super) fn write_local(
        remote: &Remote,
        path: &Path,
        scratch: Option<&Path>,
    ) -> Result<Self, GitError> {
        let directory = private_directory(scratch)?;
        let path = quoted(&path.to_string_lossy());
        // Whose repository it is, is the business of whoever named it.
        let instead = format!(
            "[url {path}]\n\tinsteadOf = {}\n[safe]\n\tdirectory = {path}\n\tdirectory = {path}/.git\n",
            quoted(remote.url.as_str())
        );
        write_job(directory.path(), &(base_config(&remote.url) + &instead))
            .map_err(|error| local("write the job's files", &error))?;
        Ok(Self { directory, ssh_command: None, is_local: true })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Git's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.path().join("gitconfig")
    }

    /// A repository that knows no server; it borrows the objects of the cached one.
    pub(super) fn local_repository(&self) -> PathBuf {
        self.path().join("local.git")
    }
}

fn private_directory(scratch: Option<&Path>) -> Result<tempfile::TempDir, GitError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("sluice-git-");
    builder.permissions(fs::Permissions::from_mode(0o700));
    let made = match scratch {
        Some(scratch) => builder.tempdir_in(scratch),
        None => builder.tempdir(),
    };
    let directory = made.map_err(|error| local("make a private directory", &error))?;
    check_plain(directory.path())?;
    Ok(directory)
}

/// The file of an SSH key; it goes with the value.
pub(super) fn private_key(place: &Path, key: &Hidden) -> Result<tempfile::TempPath, GitError> {
    let path = place.join("signing-key");
    private_file(&path, &with_line_end(key.bytes()))
        .and_then(|()| tempfile::TempPath::try_from_path(path))
        .map_err(|error| local("write the signing key", &error))
}

/// A key ring of the job's own, which asks nobody for a passphrase.
pub(super) fn key_ring(place: &Path, passphrase: Option<&Hidden>) -> Result<PathBuf, GitError> {
    let ring = place.join("gnupg");
    let write = || -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(&ring)?;
        let mut config = "batch\nno-tty\npinentry-mode loopback\n".to_owned();
        if let Some(passphrase) = passphrase {
            let path = ring.join("passphrase");
            private_file(&path, passphrase.bytes())?;
            let _ = writeln!(config, "passphrase-file {}", path.display());
        }
        private_file(&ring.join("gpg.conf"), config.as_bytes())
    };
    write().map_err(|error| local("make a key ring", &error))?;
    Ok(ring)
}

fn write_job(place: &Path, config: &str) -> io::Result<()> {
    private_file(&place.join("gitconfig"), config.as_bytes())?;
    make_repository(&place.join("local.git"), "")
}

fn local(what: &str, error: &io::Error) -> GitError {
    GitError::Program(format!("failed to {what}: {error}"))
}

/// The path stands in a command line that ssh's caller splits, and in configuration.
fn check_plain(path: &Path) -> Result<(), GitError> {
    let is_plain = path.to_str().is_some_and(|text| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
    });
    if is_plain {
        Ok(())
    } else {
        let words = "the scratch directory's path may hold only letters, digits and `/._-`";
        Err(GitError::Program(words.to_owned()))
    }
}

fn private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// ssh refuses a key without a last line end.
fn with_line_end(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

/// A bare repository made by hand: no templates, no hooks, no program.
pub(super) fn make_repository(path: &Path, extra_config: &str) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for directory in ["objects/info", "objects/pack", "refs/heads"] {
        builder.create(path.join(directory))?;
    }
    let config = format!(
        "[core]\n\trepositoryformatversion = {}\n\tbare = true\n{extra_config}",
        u8::from(!extra_config.is_empty())
    );
    fs::write(path.join("config"), config)?;
    // Last: a directory without HEAD is not a repository, and is made again.
    fs::write(path.join("HEAD"), "ref: refs/heads/none\n")
}

/// What a cached repository needs to know beyond the job's own configuration.
pub(super) const PARTIAL_CLONE: &str = "[extensions]\n\tpartialClone = origin\n";

/// Objects are checked when they arrive, except for three harmless faults of very old programs that
/// cannot be cured without rewriting a history.
fn base_config(url: &GitUrl) -> String {
    format!(
        "[core]\n\thooksPath = /dev/null\n\taskPass =\n\tfsmonitor = false\n\tattributesFile = /dev/null\n\
         [remote \"origin\"]\n\turl = {}\n\tpromisor = true\n\tpartialclonefilter = blob:none\n\
         [protocol]\n\tallow = never\n\tversion = 2\n\
         [protocol \"https\"]\n\tallow = always\n\
         [protocol \"ssh\"]\n\tallow = always\n\
         [fetch]\n\tfsckObjects = true\n\
         [fetch \"fsck\"]\n\tzeroPaddedFilemode = ignore\n\tbadTimezone = ignore\n\tmissingSpaceBeforeDate = ignore\n\
         [transfer]\n\tfsckObjects = true\n\
         [gc]\n\tauto = 0\n\
         [maintenance]\n\tauto = false\n\
         [credential]\n\thelper =\n\
         [push]\n\trecurseSubmodules = no\n\tgpgSign = false\n\
         [i18n]\n\tcommitEncoding = UTF-8\n\tlogOutputEncoding = UTF-8\n\
         [user]\n\tuseConfigOnly = true\n\
         [log]\n\tshowSignature = false\n",
        quoted(url.as_str())
    )
}

fn https_config(place: &Path, remote: &Remote, addresses: &[IpAddr]) -> io::Result<String> {
    let mut config = format!(
        "[http]\n\tfollowRedirects = false\n\tsslVerify = true\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 20\n\
         \tproxy =\n\tcurloptResolve = {}\n",
        quoted(&pinned(&remote.url, addresses))
    );
    let files = [
        ("sslCAInfo", "ca.pem", remote.credentials.ca.as_ref()),
        (
            "sslCert",
            "client.pem",
            remote.credentials.client_certificate.as_ref().map(|pair| &pair.0),
        ),
        (
            "sslKey",
            "client.key",
            remote.credentials.client_certificate.as_ref().map(|pair| &pair.1),
        ),
    ];
    for (key, name, content) in files {
        if let Some(content) = content {
            let path = place.join(name);
            private_file(&path, content.bytes())?;
            let _ = writeln!(config, "\t{key} = {}", quoted(&path.to_string_lossy()));
        }
    }
    Ok(config)
}

/// The checked addresses, so that a second look-up cannot lead elsewhere.
fn pinned(url: &GitUrl, addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        })
        .collect();
    format!("{}:{}:{}", url.host(), url.port(), list.join(","))
}

fn header(url: &GitUrl, value: &str) -> String {
    format!(
        "[http {}]\n\textraHeader = {}\n",
        quoted(&url.origin()),
        quoted(&format!("Authorization: {value}"))
    )
}

/// A value in Git's configuration syntax.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn ssh_command(place: &Path, url: &GitUrl, addresses: &[IpAddr]) -> String {
    let place = place.display();
    let alias = if url.has_port() && url.port() != 22 {
        format!("[{}]:{}", url.host(), url.port())
    } else {
        url.host().to_owned()
    };
    let mut options = vec![
        "BatchMode=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        format!("IdentityFile={place}/identity"),
        format!("UserKnownHostsFile={place}/known_hosts"),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "CheckHostIP=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "KbdInteractiveAuthentication=no".to_owned(),
        "IdentityAgent=none".to_owned(),
        "ForwardAgent=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ProxyCommand=none".to_owned(),
        "ControlPath=none".to_owned(),
        "ConnectTimeout=15".to_owned(),
        "ServerAliveInterval=10".to_owned(),
        "ServerAliveCountMax=2".to_owned(),
        // Known hosts are looked up by name, although an address is connected to.
        format!("HostKeyAlias={alias}"),
    ];
    options.extend(addresses.first().map(|address| format!("HostName={address}")));
    let options: Vec<String> = options.iter().map(|option| format!("-o '{option}'")).collect();
    format!("ssh -F /dev/null {}", options.join(" "))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::git::credentials::Credentials;

    fn remote(url: &str, pairs: &[(&str, &str)]) -> Remote {
        let url = GitUrl::parse(url).unwrap();
        let data: BTreeMap<_, _> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        let credentials = Arc::new(Credentials::from_secret("t", &url, &data).unwrap());
        Remote { url, credentials }
    }

    #[test]
    fn files_are_private_and_go_with_the_job() {
        let remote =
            remote("https://git.example:8443/x", &[("username", "u\"\\x"), ("password", "p")]);
        let settings = Settings::write(&remote, &["192.0.2.1".parse().unwrap()], None).unwrap();
        let place = settings.path().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&settings.config())), (0o700, 0o600));
        let text = fs::read_to_string(settings.config()).unwrap();
        assert!(text.contains("curloptResolve = \"git.example:8443:192.0.2.1\""), "{text}");
        assert!(text.contains("[http \"https://git.example:8443/\"]"), "{text}");
        drop(settings);
        assert!(!place.exists());
    }

    #[test]
    fn ssh_trusts_only_the_given_hosts_and_reads_no_configuration() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx";
        let remote =
            remote("ssh://git@host.example:2222/x", &[("identity", key), ("known_hosts", "h k A")]);
        let settings = Settings::write(&remote, &["192.0.2.1".parse().unwrap()], None).unwrap();
        let command = settings.ssh_command.clone().unwrap();
        for part in [
            "ssh -F /dev/null",
            "'StrictHostKeyChecking=yes'",
            "'GlobalKnownHostsFile=/dev/null'",
            "'HostKeyAlias=[host.example]:2222'",
            "'HostName=192.0.2.1'",
        ] {
            assert!(command.contains(part), "{command}");
        }
        assert!(fs::read_to_string(settings.path().join("identity")).unwrap().ends_with("x\n"));
    }
}
