//! Where a Rollout is declared: the Git server, the branch and the path, as types that were checked
//! once, when they were made.
//!
//! Everything that later reaches an argument list, a configuration file or a refspec is one of
//! these types, never a string from outside. This module must never open a connection; the rule for
//! resolved addresses ([`AddressRule`]) is applied by the backend.
//!
//! Sources of the rules: `git-check-ref-format(1)` for branches, `gitremote-helpers(7)` for the
//! transports that are refused, RFC 3986 for the shape of an address.

mod hosts;
mod names;

use std::{fmt, net::Ipv6Addr};

pub use hosts::{AddressRule, AllowedHosts};
pub use names::{BranchName, RepoPath};

/// Longest accepted address, branch or path, in bytes.
const MAX_LENGTH: usize = 1024;

/// A place in a Git server that declares one Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The repository.
    pub url: GitUrl,
    /// The branch that the GitOps tool follows.
    pub branch: BranchName,
    /// The directory that the GitOps tool applies; the root of the repository is allowed.
    pub path: RepoPath,
    /// The one file that declares the Rollout, relative to `path`, when the user names it.
    pub file: Option<RepoPath>,
}

/// Why text is not an acceptable address, branch, path or host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// The text is empty.
    #[error("{field} is empty")]
    Empty {
        /// What was parsed: `url`, `branch`, `path`, `file` or a host pattern.
        field: &'static str,
    },
    /// The text is longer than `MAX_LENGTH` bytes.
    #[error("{field} is longer than {MAX_LENGTH} bytes")]
    TooLong {
        /// What was parsed.
        field: &'static str,
    },
    /// A transport that reads local files, runs programs or sends passwords in clear.
    #[error(
        "url uses the transport `{scheme}`; only https://, ssh:// and user@host:path are accepted"
    )]
    Transport {
        /// The refused transport.
        scheme: String,
    },
    /// The address names no server.
    #[error("url is a local path; only https://, ssh:// and user@host:path are accepted")]
    LocalPath,
    /// Credentials inside an address end up in logs; they belong into a Secret.
    #[error(
        "url contains a user name or password; put credentials into the Secret that `secretRef` names"
    )]
    UserInfo,
    /// A part that a program would read as an option.
    #[error("{part} of the url begins with `-`; it would be read as an option")]
    LeadingDash {
        /// `user`, `host` or `path`.
        part: &'static str,
    },
    /// Any other malformed address.
    #[error("url is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// The branch breaks a rule of `git check-ref-format`.
    #[error("branch {branch:?} is not a valid branch name: {reason}")]
    Branch {
        /// The refused name, cut.
        branch: String,
        /// The broken rule.
        reason: &'static str,
    },
    /// The path leaves the repository or means something else to Git.
    #[error("path {path:?} is not a path inside the repository: {reason}")]
    Path {
        /// The refused path, cut.
        path: String,
        /// The broken rule.
        reason: &'static str,
    },
    /// A pattern of the list of allowed hosts cannot be understood.
    #[error("host pattern {pattern:?} may hold only letters, digits, `-`, `.`, `:` and `*`")]
    HostPattern {
        /// The refused pattern, cut.
        pattern: String,
    },
    /// The host is not on the controller's list.
    #[error(
        "host `{host}` is not among the allowed Git hosts; an administrator can add it with --git-allowed-hosts"
    )]
    HostNotAllowed {
        /// The host of the address.
        host: String,
    },
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Git's smart HTTP over TLS.
    Https,
    /// Git over SSH.
    Ssh,
}

/// The address of a repository: https, ssh or the scp form, without credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    transport: Transport,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    text: String,
}

impl GitUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// [`InvalidSource`] that names the part and the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        check_length("url", text)?;
        if !text.bytes().all(is_url_byte) {
            return Err(malformed("it holds a character that no Git address needs"));
        }
        if text.starts_with('-') {
            return Err(InvalidSource::LeadingDash { part: "host" });
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "https" => Self::parse_authority(Transport::Https, rest),
                "ssh" => Self::parse_authority(Transport::Ssh, rest),
                other => Err(InvalidSource::Transport { scheme: other.to_owned() }),
            };
        }
        if let Some((helper, _)) = text.split_once("::") {
            return Err(InvalidSource::Transport { scheme: helper.to_owned() });
        }
        Self::parse_scp(text)
    }

    fn parse_authority(transport: Transport, rest: &str) -> Result<Self, InvalidSource> {
        let (authority, path) = rest.split_once('/').ok_or(malformed("it has no path"))?;
        let (user, host_port) = split_user(transport, authority)?;
        let (host, port) = split_port(host_port)?;
        check_host(&host)?;
        check_repository_path(path)?;
        let scheme = match transport {
            Transport::Https => "https",
            Transport::Ssh => "ssh",
        };
        let at = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let colon = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("{scheme}://{at}{}{colon}/{path}", bracketed(&host));
        Ok(Self { transport, user, host, port, path: path.to_owned(), text })
    }

    fn parse_scp(text: &str) -> Result<Self, InvalidSource> {
        let (authority, path) = text.split_once(':').ok_or(InvalidSource::LocalPath)?;
        if authority.contains('/') {
            return Err(InvalidSource::LocalPath);
        }
        if authority.is_empty() || authority.contains('[') {
            return Err(malformed(
                "the scp form is user@host:path; use ssh:// for an IPv6 address",
            ));
        }
        let (user, host) = split_user(Transport::Ssh, authority)?;
        let host = host.to_ascii_lowercase();
        check_host(&host)?;
        check_repository_path(path)?;
        let at = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let text = format!("{at}{host}:{path}");
        Ok(Self { transport: Transport::Ssh, user, host, port: None, path: path.to_owned(), text })
    }

    /// How the repository is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The SSH user, when the address names one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host in lower case; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
            Transport::Https => 443,
            Transport::Ssh => 22,
        })
    }

    /// Whether the address names a port.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// The path on the server, without its first slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address in one normal form, as it is given to Git.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port only: the prefix that credentials are bound to.
    pub fn origin(&self) -> String {
        let colon = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = match self.transport {
            Transport::Https => "https",
            Transport::Ssh => "ssh",
        };
        format!("{scheme}://{}{colon}/", bracketed(&self.host))
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitUrl({})", self.text)
    }
}

fn malformed(reason: &'static str) -> InvalidSource {
    InvalidSource::Malformed { reason }
}

fn check_length(field: &'static str, text: &str) -> Result<(), InvalidSource> {
    if text.is_empty() {
        Err(InvalidSource::Empty { field })
    } else if text.len() > MAX_LENGTH {
        Err(InvalidSource::TooLong { field })
    } else {
        Ok(())
    }
}

/// No quotes, blanks, backslashes, `$`, `;`, `?`, `#` or control characters: nothing that a shell, a
/// configuration file or an HTTP library reads as more than a name.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/%+@:,=[]".contains(&byte)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn split_user(
    transport: Transport,
    authority: &str,
) -> Result<(Option<String>, &str), InvalidSource> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((None, authority));
    };
    if transport == Transport::Https || user.contains(':') {
        return Err(InvalidSource::UserInfo);
    }
    if user.starts_with('-') {
        return Err(InvalidSource::LeadingDash { part: "user" });
    }
    if user.is_empty() || !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err(malformed("the SSH user may hold only letters, digits, `-`, `.` and `_`"));
    }
    Ok((Some(user.to_owned()), host))
}

fn split_port(host_port: &str) -> Result<(String, Option<u16>), InvalidSource> {
    let (host, port) = if let Some(rest) = host_port.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(malformed("`[` without `]`"))?;
        host.parse::<Ipv6Addr>().map_err(|_| malformed("the IPv6 address cannot be read"))?;
        (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("x") }))
    } else {
        match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        }
    };
    let port = match port {
        None => None,
        Some(port) => {
            let number = port.parse::<u16>().ok().filter(|number| *number != 0);
            Some(number.ok_or(malformed("the port is not a number from 1 to 65535"))?)
        }
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn check_host(host: &str) -> Result<(), InvalidSource> {
    if host.starts_with('-') {
        return Err(InvalidSource::LeadingDash { part: "host" });
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() <= 253 && host.split('.').all(is_label) {
        Ok(())
    } else {
        Err(malformed("the host is not a DNS name or an IP address"))
    }
}

fn check_repository_path(path: &str) -> Result<(), InvalidSource> {
    let trimmed = path.trim_start_matches('/');
    if trimmed.is_empty() {
        return Err(malformed("it has no path"));
    }
    if trimmed.starts_with('-') {
        return Err(InvalidSource::LeadingDash { part: "path" });
    }
    if trimmed.split('/').any(|part| part == "..") {
        return Err(malformed("its path contains `..`"));
    }
    if trimmed.contains(['[', ']']) {
        return Err(malformed("its path contains a bracket"));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests;
