//! Every argument list that this program ever gives to Git, built from checked types.
//!
//! No text from outside becomes an argument except through a type that was checked when it was
//! made. The push refspec is built in one function, from a full object id and a branch name: it can
//! be neither empty (which deletes a branch) nor forced.

use std::{ffi::OsString, path::Path};

use super::super::{
    plan::BlobId,
    revert_id::{REVERT_ID_TRAILER, RevertId},
    source::{BranchName, RepoPath},
};
use crate::revision::Commit;

/// Which kind of repository directory a command runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// May talk to the server.
    Network,
    /// Knows no server: what is missing is missing, and is never fetched in passing.
    Local,
}

/// How a commit is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer<'a> {
    /// With the SSH key in this file of the private directory.
    Ssh { key: &'a Path },
    /// With this key of the job's own key ring.
    OpenPgp { fingerprint: &'a Fingerprint },
}

/// The fingerprint of an OpenPGP key: 40 or 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(String);

impl Fingerprint {
    /// The one key that was imported, by GnuPG's status lines (its doc/DETAILS: `IMPORT_OK`).
    pub(super) fn imported(status: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(status);
        let lines = text.lines().filter_map(|line| line.strip_prefix("[GNUPG:] IMPORT_OK "));
        let mut found: Vec<&str> = lines.filter_map(|rest| rest.split(' ').nth(1)).collect();
        found.sort_unstable();
        found.dedup();
        let [only] = found.as_slice() else { return None };
        let is_hex = matches!(only.len(), 40 | 64) && only.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| Self((*only).to_owned()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

/// One invocation of Git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GitCommand<'a> {
    /// `git --version`.
    Version,
    /// Fetches a branch without contents.
    FetchBranch(&'a BranchName),
    /// Which branch the server's `HEAD` is.
    DefaultBranch,
    /// Fetches one commit.
    FetchCommit(&'a Commit),
    /// Fetches contents whose ids are given on stdin.
    FetchObjects,
    /// Keeps what was fetched and is a base for the next fetch.
    KeepRef { slot: &'a str, commit: &'a Commit },
    /// Whether a commit is there.
    HasCommit(&'a Commit),
    /// All files of a commit.
    ListTree(&'a Commit),
    /// One directory, by its tree's id or by its commit.
    ListDirectory(&'a str),
    /// Sizes of the objects on stdin.
    Sizes,
    /// Contents of the objects on stdin.
    Contents,
    /// Commits with a trailer.
    FindRevert { after: &'a Commit, until: &'a Commit, id: &'a RevertId },
    /// Commits that changed paths.
    History { after: &'a Commit, until: &'a Commit, paths: &'a [RepoPath] },
    /// Stores the content on stdin.
    StoreBlob,
    /// Stores the directory on stdin.
    StoreTree,
    /// Makes a commit; its message is on stdin.
    StoreCommit { tree: &'a BlobId, parent: &'a Commit, signer: Option<Signer<'a>> },
    /// Puts the OpenPGP key on stdin into the job's own key ring.
    ImportKey,
    /// Ends what GnuPG has started for the job.
    EndKeyAgent,
    /// The paths that differ.
    ChangedPaths { before: &'a Commit, after: &'a Commit },
    /// The parents of a commit.
    Parents(&'a Commit),
    /// Adds a commit to a branch.
    Push { new: &'a Commit, branch: &'a BranchName },
    /// Makes the commit on stdin, in a repository on this machine.
    ImportCommit,
    /// The commit at the tip of a branch of a repository on this machine; nothing without one.
    Tip(&'a BranchName),
    /// The newest commits of a branch, a line each.
    ShowLog { branch: &'a BranchName, count: u32 },
    /// A commit with its difference.
    Show(&'a Commit),
}

impl GitCommand<'_> {
    /// The subcommand, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Version => "--version",
            Self::FetchBranch(_) | Self::FetchCommit(_) | Self::FetchObjects => "fetch",
            Self::DefaultBranch => "ls-remote",
            Self::KeepRef { .. } => "update-ref",
            Self::HasCommit(_) | Self::Sizes | Self::Contents => "cat-file",
            Self::ListTree(_) | Self::ListDirectory(_) => "ls-tree",
            Self::FindRevert { .. } | Self::History { .. } | Self::ShowLog { .. } => "log",
            Self::StoreBlob => "hash-object",
            Self::StoreTree => "mktree",
            Self::StoreCommit { .. } => "commit-tree",
            Self::ImportKey | Self::EndKeyAgent => "gpg",
            Self::ChangedPaths { .. } => "diff-tree",
            Self::Parents(_) => "rev-list",
            Self::Push { .. } => "push",
            Self::ImportCommit => "fast-import",
            Self::Tip(_) => "for-each-ref",
            Self::Show(_) => "show",
        }
    }

    /// Where it runs.
    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::FetchBranch(_)
            | Self::DefaultBranch
            | Self::FetchCommit(_)
            | Self::FetchObjects
            | Self::KeepRef { .. }
            | Self::Push { .. } => Reach::Network,
            Self::Version
            | Self::HasCommit(_)
            | Self::ListTree(_)
            | Self::ListDirectory(_)
            | Self::Sizes
            | Self::Contents
            | Self::FindRevert { .. }
            | Self::History { .. }
            | Self::StoreBlob
            | Self::StoreTree
            | Self::StoreCommit { .. }
            | Self::ImportKey
            | Self::EndKeyAgent
            | Self::ChangedPaths { .. }
            | Self::Parents(_)
            | Self::ImportCommit
            | Self::Tip(_)
            | Self::ShowLog { .. }
            | Self::Show(_) => Reach::Local,
        }
    }

    /// The whole argument list.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut args: Vec<String> = Vec::new();
        if matches!(self, Self::FetchObjects) {
            // Contents are asked for by id: no negotiation about history.
            push_all(&mut args, &["-c", "fetch.negotiationAlgorithm=noop"]);
        }
        self.add_signing_configuration(&mut args);
        args.push(self.name().to_owned());
        match self {
            // The arguments of the last two stand in the configuration.
            Self::Version | Self::ImportKey | Self::EndKeyAgent => {}
            Self::FetchBranch(branch) => {
                push_all(&mut args, &FETCH);
                args.extend(["origin".to_owned(), branch.full_ref()]);
            }
            Self::DefaultBranch => push_all(&mut args, &["--symref", "origin", "HEAD"]),
            Self::FetchCommit(commit) => {
                push_all(&mut args, &FETCH);
                args.extend(["origin".to_owned(), commit.to_string()]);
            }
            Self::FetchObjects => {
                push_all(&mut args, &FETCH);
                push_all(&mut args, &["--no-write-fetch-head", "--stdin", "origin"]);
            }
            Self::KeepRef { slot, commit } => {
                args.extend([format!("refs/sluice/{slot}"), commit.to_string()]);
            }
            Self::HasCommit(commit) => {
                args.extend(["-e".to_owned(), format!("{commit}^{{commit}}")]);
            }
            Self::ListTree(commit) => {
                push_all(&mut args, &["-r", "-z", "--full-tree"]);
                args.push(commit.to_string());
            }
            Self::ListDirectory(tree) => push_all(&mut args, &["-z", "--full-tree", *tree]),
            Self::Sizes => args.push("--batch-check".to_owned()),
            Self::Contents => args.push("--batch".to_owned()),
            Self::FindRevert { after, until, id } => {
                push_all(&mut args, &LOG);
                args.push("--fixed-strings".to_owned());
                args.push(format!("--grep={REVERT_ID_TRAILER}: {id}"));
                args.push(format!("{after}..{until}"));
            }
            Self::History { after, until, paths } => {
                push_all(&mut args, &LOG);
                args.push("--full-history".to_owned());
                args.extend([format!("{after}..{until}"), "--".to_owned()]);
                args.extend(paths.iter().map(|path| format!(":(top,literal){}", path.as_str())));
            }
            Self::StoreBlob => push_all(&mut args, &["-w", "--stdin"]),
            Self::StoreTree => push_all(&mut args, &["-z", "--missing"]),
            Self::StoreCommit { tree, parent, signer } => {
                let (tree, parent) = (tree.as_str().to_owned(), parent.to_string());
                args.extend(signer.is_some().then(|| "-S".to_owned()));
                args.extend([tree, "-p".to_owned(), parent]);
            }
            Self::ChangedPaths { before, after } => {
                push_all(&mut args, &["-r", "-z", "--no-renames", "--name-only"]);
                args.extend([before.to_string(), after.to_string()]);
            }
            Self::Parents(commit) => {
                push_all(&mut args, &["--parents", "--max-count=1"]);
                args.push(commit.to_string());
            }
            Self::Push { new, branch } => {
                push_all(&mut args, &["--porcelain", "--no-verify", "--no-follow-tags", "origin"]);
                args.push(push_refspec(new, branch));
            }
            Self::ImportCommit | Self::Tip(_) | Self::ShowLog { .. } | Self::Show(_) => {
                self.add_local_arguments(&mut args);
            }
        }
        args.into_iter().map(OsString::from).collect()
    }

    /// How commits are signed. The key itself is in a file; GnuPG is started by git, like ssh.
    fn add_signing_configuration(&self, args: &mut Vec<String>) {
        match self {
            Self::StoreCommit { signer: Some(Signer::Ssh { key }), .. } => {
                push_all(args, &["-c", "gpg.format=ssh", "-c"]);
                args.push(format!("user.signingKey={}", key.display()));
            }
            Self::StoreCommit { signer: Some(Signer::OpenPgp { fingerprint }), .. } => {
                push_all(args, &["-c", "gpg.format=openpgp", "-c"]);
                args.push(format!("user.signingKey={}", fingerprint.as_str()));
            }
            Self::ImportKey => {
                push_all(args, &["-c", "alias.gpg=!gpg --batch --quiet --status-fd=1 --import"]);
            }
            Self::EndKeyAgent => push_all(args, &["-c", "alias.gpg=!gpgconf --kill all"]),
            _ => {}
        }
    }

    /// The arguments of what is asked of a repository on this machine.
    fn add_local_arguments(&self, args: &mut Vec<String>) {
        match self {
            Self::ImportCommit => push_all(args, &["--quiet", "--done", "--date-format=raw"]),
            Self::Tip(branch) => {
                args.extend(["--format=%(objectname)".to_owned(), branch.full_ref()]);
            }
            Self::ShowLog { branch, count } => {
                push_all(args, &["--no-show-signature", "--no-decorate"]);
                args.extend([
                    format!("--max-count={count}"),
                    "--format=%h  %<(16,trunc)%an  %s".to_owned(),
                ]);
                args.push(branch.full_ref());
            }
            Self::Show(commit) => {
                push_all(
                    args,
                    &["--no-show-signature", "--no-ext-diff", "--no-textconv", "--unified=0"],
                );
                args.push(commit.to_string());
            }
            _ => {}
        }
    }
}

const FETCH: [&str; 6] = [
    "--quiet",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--no-write-commit-graph",
    "--filter=blob:none",
];

/// Hash and whole message of at most 200 commits, each ended by NUL.
const LOG: [&str; 5] =
    ["-z", "--no-show-signature", "--no-decorate", "--max-count=200", "--format=%H%n%B"];

fn push_all(args: &mut Vec<String>, more: &[&str]) {
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
}

/// `<full id>:refs/heads/<branch>`: the one place where a push refspec is made.
fn push_refspec(new: &Commit, branch: &BranchName) -> String {
    format!("{new}:{}", branch.full_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_push_names_a_full_id_and_a_full_ref_and_is_never_forced_or_empty() {
        let new = Commit::parse(&"a".repeat(40)).unwrap();
        let branch = BranchName::parse("release/1").unwrap();
        let args = GitCommand::Push { new: &new, branch: &branch }.arguments();
        let last = args.last().unwrap().to_str().unwrap();
        assert_eq!(last, format!("{}:refs/heads/release/1", "a".repeat(40)));
        assert!(!args.iter().any(|arg| arg.to_str().unwrap().contains("force")));
        // Empty, short and non-hex ids cannot be expressed at all.
        for bad in ["", "a", "+aaaa", &"g".repeat(40)] {
            assert!(Commit::parse(bad).is_err());
        }
    }

    #[test]
    fn the_fingerprint_of_the_one_imported_key_is_read_and_of_several_none_is() {
        let line =
            |flag: &str, digit: &str| format!("[GNUPG:] IMPORT_OK {flag} {}\n", digit.repeat(40));
        let both = format!("x\n{}{}", line("1", "A"), line("17", "A"));
        let found = Fingerprint::imported(both.as_bytes()).unwrap();
        assert_eq!(found.as_str(), "A".repeat(40));
        let two = format!("{}{}", line("17", "A"), line("17", "B"));
        for bad in [two.as_str(), "", "[GNUPG:] IMPORT_OK 17 --force\n", "[GNUPG:] IMPORT_OK\n"] {
            assert_eq!(Fingerprint::imported(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_branch_or_path_becomes_an_option(branch in "\\PC{1,20}", path in "\\PC{1,20}") {
            let commit = Commit::parse(&"a".repeat(40)).unwrap();
            if let Ok(branch) = BranchName::parse(&branch) {
                let args = GitCommand::FetchBranch(&branch).arguments();
                prop_assert!(args.last().unwrap().to_str().unwrap().starts_with("refs/heads/"));
                let refspec = push_refspec(&commit, &branch);
                prop_assert!(!refspec.starts_with(':') && !refspec.contains('+') || branch.as_str().contains('+'));
            }
            if let Ok(path) = RepoPath::parse(&path) {
                let paths = [path];
                let command = GitCommand::History { after: &commit, until: &commit, paths: &paths };
                let args = command.arguments();
                let dashes = args.iter().position(|arg| arg == "--").unwrap();
                prop_assert_eq!(dashes, args.len() - 2);
            }
        }
    }
}
