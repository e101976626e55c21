//! What Git's answers mean: classes of failure, and texts without secrets.
//!
//! Measured with git 2.39 under `LC_ALL=C`; `--porcelain` keeps the push answers stable. An answer
//! that is not known is never success.

use super::super::{
    backend::GitError,
    message::clean,
    source::{BranchName, GitUrl},
};

/// Longest detail in an error, in characters.
const MAX_DETAIL: usize = 300;

/// What a failed invocation was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) operation: &'static str,
    pub(super) url: &'a GitUrl,
    pub(super) branch: Option<&'a BranchName>,
    /// Values that must not appear in any text.
    pub(super) secrets: &'a [&'a str],
}

/// Words of Git and curl for trouble that may pass. `returned error: 5` is any 5xx.
const TRANSIENT: [&str; 19] = [
    "returned error: 5",
    "returned error: 429",
    "returned error: 408",
    "timed out",
    "Timeout",
    "Connection refused",
    "Connection reset",
    "Connection closed",
    "Could not resolve host",
    "Failed to connect",
    "No route to host",
    "Network is unreachable",
    "early EOF",
    "unexpected disconnect",
    "hung up unexpectedly",
    "Operation too slow",
    "RPC failed",
    "Empty reply from server",
    "getpeername() failed",
];

/// Words of Git for a local copy that cannot be used.
const DAMAGED: [&str; 8] = [
    "not a git repository",
    ".lock': File exists",
    "bad object",
    "corrupt",
    "is garbage",
    "unable to read tree",
    "unable to parse",
    "object file",
];

const TLS: [&str; 6] = [
    "server certificate verification failed",
    "SSL certificate problem",
    "certificate verify failed",
    "error setting certificate",
    "unable to get local issuer certificate",
    "SSL: no alternative certificate subject name",
];

/// Words of GnuTLS and OpenSSL for an end of the handshake by the server.
const CLIENT_CERTIFICATE: [&str; 9] = [
    "A TLS fatal alert has been received",
    "gnutls_handshake() failed: CA is unknown",
    "gnutls_handshake() failed: Handshake failed",
    "gnutls_handshake() failed: Certificate is",
    "alert certificate required",
    "alert unknown ca",
    "alert bad certificate",
    "alert certificate expired",
    "alert handshake failure",
];

const AUTH: [&str; 8] = [
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "Permission denied",
    "returned error: 401",
    "returned error: 403",
    "Invalid username or password",
    "access denied",
];

const NOT_FOUND: [&str; 5] = [
    "' not found",
    "returned error: 404",
    "does not appear to be a git repository",
    "Repository not found",
    "repository does not exist",
];

/// The class of a failed fetch, or of a push that got no answer for its ref.
pub(super) fn classify(stderr: &str, about: About<'_>) -> GitError {
    let has = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let host = || about.url.host().to_owned();
    let detail = || redact(stderr, about.secrets);
    if has(&["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        GitError::HostKey { host: host() }
    } else if has(&TLS) {
        GitError::Tls { host: host() }
    } else if has(&CLIENT_CERTIFICATE) {
        GitError::ClientCertificate { host: host(), detail: detail() }
    } else if has(&["couldn't find remote ref"]) {
        let branch = about.branch.map_or_else(String::new, ToString::to_string);
        GitError::BranchGone { branch }
    } else if has(&["returned error: 30", "unable to update url base from redirection"]) {
        GitError::Redirected { host: host() }
    } else if has(&AUTH) {
        GitError::Auth { host: host() }
    } else if has(&NOT_FOUND) {
        GitError::NotFound { url: about.url.to_string() }
    } else if has(&TRANSIENT) {
        GitError::Transient { detail: detail() }
    } else if has(&DAMAGED) {
        GitError::LocalCopy { detail: detail() }
    } else {
        GitError::Unexpected { operation: about.operation, detail: detail() }
    }
}

/// The class of a push, by its `--porcelain` lines.
pub(super) fn classify_push(stdout: &str, stderr: &str, about: About<'_>) -> GitError {
    let branch = about.branch.map_or_else(String::new, ToString::to_string);
    let target = format!("refs/heads/{branch}");
    // `<flag> TAB <from>:<to> TAB <summary> (<reason>)`
    let line = stdout.lines().find(|line| {
        line.split('\t').nth(1).is_some_and(|refs| refs.split(':').nth(1) == Some(target.as_str()))
    });
    let Some(summary) = line.and_then(|line| line.split('\t').nth(2)) else {
        return classify(stderr, about);
    };
    let stale = [
        "(fetch first)",
        "(non-fast-forward)",
        "(stale info)",
        "(failed to update ref)",
        "(needs force)",
    ];
    let busy =
        ["cannot lock ref", "failed to lock", "reference already exists", "incorrect old value"];
    if stale.iter().chain(&busy).any(|word| summary.contains(word)) {
        return GitError::Stale { branch };
    }
    if summary.starts_with("[remote failure]") {
        return GitError::Transient { detail: redact(summary, about.secrets) };
    }
    if summary.starts_with("[remote rejected]") {
        // The server's own words stand on stderr as `remote: ...`.
        let remote = stderr.lines().filter_map(|line| line.strip_prefix("remote:"));
        let words: Vec<&str> = remote.map(str::trim).filter(|line| !line.is_empty()).collect();
        let detail = redact(&format!("{summary} {}", words.join(" ")), about.secrets);
        return GitError::Protected { branch, detail };
    }
    GitError::Unexpected { operation: "push", detail: redact(summary, about.secrets) }
}

/// A text on one line without credentials: known values, user parts of addresses, tokens by their
/// look, authorization headers.
pub(super) fn redact(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret, "***");
    }
    let mut words = Vec::new();
    let mut hide_next = 0;
    for word in text.split([' ', '\n', '\r', '\t']).filter(|word| !word.is_empty()) {
        let lower = word.to_ascii_lowercase();
        if hide_next > 0 {
            hide_next -= 1;
            words.push("***".to_owned());
        } else if lower.starts_with("authorization:") || lower.starts_with("proxy-authorization:") {
            hide_next = 2;
            words.push("authorization:".to_owned());
        } else {
            words.push(redact_word(word));
        }
    }
    clean(&words.join(" "), MAX_DETAIL)
}

fn redact_word(word: &str) -> String {
    let tokens =
        ["ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "gldt-", "ATBB", "ATATT"];
    if tokens.iter().any(|token| word.contains(token)) {
        return "***".to_owned();
    }
    match word.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            match authority.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://***@{host}{path}"),
                None => word.to_owned(),
            }
        }
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(stderr: &str) -> GitError {
        let url = GitUrl::parse("https://git.example/env").unwrap();
        let branch = BranchName::parse("main").unwrap();
        let about = About { operation: "fetch", url: &url, branch: Some(&branch), secrets: &[] };
        classify(stderr, about)
    }

    #[test]
    fn failures_have_the_classes_that_were_measured() {
        for (stderr, name) in [
            ("fatal: Authentication failed for 'https://x/'", "Auth"),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", "Auth"),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                "HostKey",
            ),
            (
                "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none",
                "Tls",
            ),
            (
                "fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate",
                "Tls",
            ),
            (
                "fatal: unable to access 'https://x/': GnuTLS recv error (-12): A TLS fatal alert has been received.",
                "ClientCertificate",
            ),
            (
                "fatal: unable to access 'https://x/': OpenSSL SSL_read: OpenSSL/3.0.19: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
                "ClientCertificate",
            ),
            (
                "fatal: unable to access 'https://x/': OpenSSL/3.0.19: error:0A000418:SSL routines::tlsv1 alert unknown ca",
                "ClientCertificate",
            ),
            ("fatal: repository 'https://x/y/' not found", "NotFound"),
            ("fatal: couldn't find remote ref refs/heads/main", "BranchGone"),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 302",
                "Redirected",
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 503",
                "Transient",
            ),
            ("fatal: unable to access 'https://x/': Failed to connect to x port 443", "Transient"),
            ("fatal: the remote end hung up unexpectedly", "Transient"),
            ("fatal: not a git repository: '/x'", "LocalCopy"),
            ("fatal: something new", "Unexpected"),
        ] {
            assert_eq!(class(stderr).class(), name, "{stderr}");
        }
    }

    #[test]
    fn push_answers_have_the_classes_that_were_measured() {
        let url = GitUrl::parse("https://git.example/env").unwrap();
        let branch = BranchName::parse("main").unwrap();
        let about = About { operation: "push", url: &url, branch: Some(&branch), secrets: &[] };
        let line =
            |summary: &str| format!("To https://x\n!\taaa:refs/heads/main\t{summary}\nDone\n");
        for (summary, name) in [
            ("[rejected] (fetch first)", "Stale"),
            ("[rejected] (non-fast-forward)", "Stale"),
            ("[remote rejected] (failed to update ref)", "Stale"),
            (
                "[remote rejected] (cannot lock ref 'refs/heads/main': is at a but expected b)",
                "Stale",
            ),
            ("[remote rejected] (pre-receive hook declined)", "Protected"),
            ("[remote rejected] (protected branch hook declined)", "Protected"),
            ("[remote failure] (remote failed to report status)", "Transient"),
            ("[no match]", "Unexpected"),
        ] {
            assert_eq!(classify_push(&line(summary), "", about).class(), name, "{summary}");
        }
        let detail = classify_push(
            &line("[remote rejected] (pre-receive hook declined)"),
            "remote: GH006: Protected branch\nremote: \n",
            about,
        );
        assert!(detail.to_string().contains("GH006: Protected branch"), "{detail}");
        assert_eq!(classify_push("", "fatal: Authentication failed", about).class(), "Auth");
    }

    #[test]
    fn no_credential_survives_redaction() {
        for (text, secret) in [
            ("fatal: https://user:hunter2@git.example/x failed", "hunter2"),
            ("remote: token ghp_abcdefhunter2 is revoked", "hunter2"),
            ("glpat-hunter2", "hunter2"),
            ("> Authorization: Basic aHVudGVyMg== next", "aHVudGVyMg"),
            ("authorization: bearer hunter2", "hunter2"),
            ("password is s3cretvalue!", "s3cretvalue!"),
        ] {
            let redacted = redact(text, &["s3cretvalue!"]);
            assert!(!redacted.contains(secret), "{redacted}");
        }
        assert_eq!(redact("a\r\n  b\tc", &[]), "a b c");
    }
}
