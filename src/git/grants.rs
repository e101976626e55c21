//! What a `ClusterGitCredential` may be used for. Pure; the same rules judge the object itself (`lint`)
//! and each use of it. A file that a revert would change is asked about right before the commit
//! ([`Credentials::permits`](super::credentials::Credentials::permits)), since a folder may use files of
//! others.

use super::source::{GitUrl, InvalidSource, RepoPath, Source};
use crate::api::git_credential::{GitCredentialSpec, GitGrant};
use crate::api::git_revert::GitRevertMode;
use crate::api::metrics_source::glob_matches;

/// Stands for the Rollout's namespace in a path.
const NAMESPACE: &str = "{namespace}";

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The Rollout's namespace.
    pub namespace: &'a str,
    /// How far its reverts go.
    pub mode: GitRevertMode,
}

/// Why a credential may not be used. Says what would be needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// The repository is another one.
    #[error("is for repositories below {prefix}, and not for {url}")]
    Repository {
        /// `spec.urlPrefix`.
        prefix: String,
        /// The repository.
        url: String,
    },
    /// No entry is for the namespace.
    #[error("has no entry in spec.allow for namespace `{0}`")]
    Namespace(String),
    /// No entry of the namespace is for the branch.
    #[error("has no entry in spec.allow for branch `{branch}` in namespace `{namespace}`")]
    Branch {
        /// The Rollout's namespace.
        namespace: String,
        /// The branch.
        branch: String,
    },
    /// No entry of the namespace is for the folder.
    #[error("has no entry in spec.allow for path `{path}` in namespace `{namespace}`")]
    Path {
        /// The Rollout's namespace.
        namespace: String,
        /// The folder.
        path: String,
    },
    /// No entry goes so far.
    #[error(
        "grants namespace `{namespace}` no more than {furthest} there; the Rollout's \
         spec.gitRevert.mode is {mode}"
    )]
    Mode {
        /// The Rollout's namespace.
        namespace: String,
        /// The furthest mode that is granted.
        furthest: &'static str,
        /// The Rollout's mode.
        mode: &'static str,
    },
}

/// Everything that is wrong with a credential, as `(field path, problem)`.
pub fn problems(spec: &GitCredentialSpec) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut say =
        |field: String, problem: String| problems.push((format!("spec.{field}"), problem));
    if let Err(error) = parse_prefix(&spec.url_prefix) {
        say("urlPrefix".to_owned(), error.to_string());
    }
    if spec.secret_ref.name.is_empty() {
        say("secretRef.name".to_owned(), "is empty".to_owned());
    }
    for (idx, grant) in spec.allow.iter().enumerate() {
        let field = |name: &str| format!("allow[{idx}].{name}");
        if grant.namespaces.is_empty() {
            let words = "is required: names of namespaces, or patterns with `*`";
            say(field("namespaces"), words.to_owned());
        }
        for (place, path) in grant.paths.iter().enumerate() {
            let plain = path.replace(NAMESPACE, "x").replace('*', "x");
            if let Err(error) = RepoPath::parse(&plain) {
                say(field(&format!("paths[{place}]")), error.to_string());
            } else if plain.contains(['{', '}']) {
                let words = format!("may hold no other braces than `{NAMESPACE}`");
                say(field(&format!("paths[{place}]")), words);
            }
        }
        if grant.modes.contains(&GitRevertMode::Disabled) {
            say(field("modes"), "Disabled grants nothing; leave the entry out".to_owned());
        }
    }
    problems
}

/// Whether the repository is one of the credential's, and the namespace one of its users.
///
/// # Errors
/// [`NotGranted`].
pub fn may_read(spec: &GitCredentialSpec, url: &GitUrl, namespace: &str) -> Result<(), NotGranted> {
    if !is_below(url, &spec.url_prefix) {
        let (prefix, url) = (spec.url_prefix.clone(), url.to_string());
        return Err(NotGranted::Repository { prefix, url });
    }
    let is_user = spec.allow.iter().any(|grant| any_matches(&grant.namespaces, namespace));
    if is_user { Ok(()) } else { Err(NotGranted::Namespace(namespace.to_owned())) }
}

/// Whether a Rollout may have this place reverted; the paths that may be changed, as patterns. No
/// pattern at all: every path.
///
/// # Errors
/// [`NotGranted`].
pub fn may_revert(
    spec: &GitCredentialSpec,
    source: &Source,
    asked: Use<'_>,
) -> Result<Vec<String>, NotGranted> {
    let Use { namespace, mode } = asked;
    may_read(spec, &source.url, namespace)?;
    let owned = || namespace.to_owned();
    let mut left: Vec<&GitGrant> = spec.allow.iter().collect();
    left.retain(|grant| any_matches(&grant.namespaces, namespace));
    left.retain(|grant| {
        grant.branches.is_empty() || any_matches(&grant.branches, source.branch.as_str())
    });
    if left.is_empty() {
        let branch = source.branch.to_string();
        return Err(NotGranted::Branch { namespace: owned(), branch });
    }
    left.retain(|grant| {
        grant.paths.is_empty() || is_within(&patterns(grant, namespace), source.path.as_str())
    });
    if left.is_empty() {
        let path = source.path.as_str().to_owned();
        return Err(NotGranted::Path { namespace: owned(), path });
    }
    let furthest = left.iter().map(|grant| grant.furthest()).max();
    left.retain(|grant| grant.furthest() >= mode);
    if left.is_empty() {
        let furthest = furthest.map_or("Suggest", GitRevertMode::as_str);
        return Err(NotGranted::Mode { namespace: owned(), furthest, mode: mode.as_str() });
    }
    if left.iter().any(|grant| grant.paths.is_empty()) {
        return Ok(Vec::new());
    }
    Ok(left.iter().flat_map(|grant| patterns(grant, namespace)).collect())
}

/// Whether a path is a folder of the patterns, or below one.
pub(super) fn is_within(patterns: &[String], path: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| glob_matches(pattern, path) || glob_matches(&format!("{pattern}/*"), path))
}

fn patterns(grant: &GitGrant, namespace: &str) -> Vec<String> {
    let tidy = |path: &String| {
        let path = path.strip_suffix("/**").unwrap_or(path);
        path.trim_start_matches("./").trim_end_matches('/').replace(NAMESPACE, namespace)
    };
    grant.paths.iter().map(tidy).collect()
}

fn any_matches(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| glob_matches(pattern, text))
}

/// A server with the path below which its repositories are; an address without one is that of a whole
/// server.
fn parse_prefix(prefix: &str) -> Result<(GitUrl, String), InvalidSource> {
    match GitUrl::parse(prefix) {
        Ok(url) => {
            let path = url.path().to_owned();
            Ok((url, path))
        }
        Err(error) => {
            let server = GitUrl::parse(&format!("{}/x", prefix.trim_end_matches('/')));
            server.map(|url| (url, String::new())).map_err(|_| error)
        }
    }
}

/// The path of an address is compared part by part; `.git` at its end says nothing.
fn is_below(url: &GitUrl, prefix: &str) -> bool {
    let Ok((prefix, path)) = parse_prefix(prefix) else { return false };
    let strip = |path: &str| path.trim_matches('/').trim_end_matches(".git").to_owned();
    let (ours, wanted) = (strip(url.path()), strip(&path));
    let is_same_server = url.transport() == prefix.transport()
        && url.host() == prefix.host()
        && url.port() == prefix.port();
    let rest = ours.strip_prefix(&wanted);
    let is_same_path =
        wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_same_server && is_same_path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::source::BranchName;

    fn spec(yaml: &str) -> GitCredentialSpec {
        serde_norway::from_str(yaml).unwrap()
    }

    fn ask(
        spec: &GitCredentialSpec,
        (url, branch, path): (&str, &str, &str),
        namespace: &str,
        mode: GitRevertMode,
    ) -> Result<Vec<String>, String> {
        let source = Source {
            url: GitUrl::parse(url).unwrap(),
            branch: BranchName::parse(branch).unwrap(),
            path: RepoPath::parse(path).unwrap(),
            file: None,
        };
        may_revert(spec, &source, Use { namespace, mode }).map_err(|error| error.to_string())
    }

    const SHOP: &str = "
urlPrefix: https://git.example.org/shop
secretRef: {name: bot}
allow:
  - {namespaces: [shop, 'shop-*'], branches: [main, 'release/*'], paths: ['apps/{namespace}/**'], modes: [Push]}
  - {namespaces: ['*'], paths: [docs]}
";
    const ENV: &str = "https://git.example.org/shop/env.git";

    #[test]
    fn scenario_50_what_is_granted_may_be_done_and_nothing_else() {
        use GitRevertMode::{PullRequest, Push, Suggest};
        let spec = spec(SHOP);
        assert_eq!(problems(&spec), []);
        let apps = Ok(vec!["apps/shop".to_owned()]);
        for mode in [Suggest, PullRequest, Push] {
            assert_eq!(ask(&spec, (ENV, "main", "apps/shop"), "shop", mode), apps);
            assert_eq!(ask(&spec, (ENV, "release/1", "apps/shop/web"), "shop", mode), apps);
        }
        for (place, namespace, mode, told) in [
            (("https://git.example.org/shopping/env", "main", "apps/shop"), "shop", Push, "below"),
            (("https://git.example.com/shop/env", "main", "apps/shop"), "shop", Push, "below"),
            (("ssh://git@git.example.org/shop/env", "main", "apps/shop"), "shop", Push, "below"),
            (("https://git.example.org:8443/shop/env", "main", "x"), "shop", Push, "below"),
            ((ENV, "main", "apps/shop-eu"), "shop", Push, "path `apps/shop-eu`"),
            ((ENV, "main", "apps/shopping"), "shop", Push, "path `apps/shopping`"),
            ((ENV, "main", "apps"), "shop", Push, "path `apps`"),
            ((ENV, "dev", "apps/shop"), "shop", PullRequest, "path `apps/shop`"),
            ((ENV, "main", "apps/bank"), "bank", PullRequest, "path `apps/bank`"),
            ((ENV, "main", "docs"), "bank", Push, "no more than PullRequest"),
        ] {
            let refusal = ask(&spec, place, namespace, mode).unwrap_err();
            assert!(refusal.contains(told), "{place:?} {namespace}: {refusal}");
        }
        assert!(ask(&spec, (ENV, "main", "docs/x"), "bank", PullRequest).is_ok());
        let nobody = GitCredentialSpec { allow: vec![], ..spec };
        let refusal = ask(&nobody, (ENV, "main", "apps/shop"), "shop", Push).unwrap_err();
        assert!(refusal.contains("for namespace `shop`"), "{refusal}");
    }

    #[test]
    fn a_grant_without_paths_is_for_every_path_and_a_pattern_reaches_below_itself() {
        let all = "{urlPrefix: 'https://git.example.org', secretRef: {name: b}, allow: [{namespaces: [shop]}]}";
        let read = ask(&spec(all), (ENV, "main", "x"), "shop", GitRevertMode::PullRequest);
        assert_eq!(read, Ok(Vec::new()));
        let patterns = ["apps/shop".to_owned(), "base/*".to_owned()];
        for (path, is_in) in [
            ("apps/shop", true),
            ("apps/shop/a/b.yaml", true),
            ("apps/shop2/b.yaml", false),
            ("base/web/x.yaml", true),
            ("base", false),
            ("", false),
        ] {
            assert_eq!(is_within(&patterns, path), is_in, "{path}");
        }
    }

    #[test]
    fn a_malformed_credential_is_told_field_by_field() {
        let bad = spec(
            "{urlPrefix: 'http://x', secretRef: {name: ''}, allow: [{}, {namespaces: [a], \
             paths: ['../x', 'a/{name}'], modes: [Disabled]}]}",
        );
        let fields: Vec<String> = problems(&bad).into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "spec.urlPrefix",
                "spec.secretRef.name",
                "spec.allow[0].namespaces",
                "spec.allow[1].paths[0]",
                "spec.allow[1].paths[1]",
                "spec.allow[1].modes",
            ]
        );
    }
}
