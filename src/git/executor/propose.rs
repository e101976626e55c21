//! A revert as a pull request: one branch and one request for each revert, found again by their names
//! after a crash. A request that people closed is a veto, and never opened again.
//!
//! Sources: the API documentation that `git::forge` names.

use super::{
    Executor, GitError, GitSession, Identity, Remote, Repair, RevertOutcome, RevertRequest,
    SuggestReason, Try, suggested,
};
use crate::api::git_revert::PullRequestProvider;
use crate::git::forge::{Forge, ForgeError, Page, Proposal, PullRequest, RequestState};
use crate::git::revert_id::RevertId;
use crate::git::source::BranchName;

/// Most pages of requests that are looked through.
const MAX_PAGES: u32 = 40;
/// Characters of the revert's identity in the branch's name.
const SHORT_ID: usize = 8;

/// What is known of pull requests before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Which forge the host is, when the user says it.
    pub provider: Option<PullRequestProvider>,
    /// The number of the request that was opened before.
    pub known: Option<u64>,
    /// Whether new ones are drafts.
    pub is_draft: bool,
    /// Labels of new ones.
    pub labels: Vec<String>,
}

/// A request that is not needed any more.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// The repository.
    pub remote: Remote,
    /// Which forge the host is, when the user says it.
    pub provider: Option<PullRequestProvider>,
    /// Its number.
    pub number: u64,
    /// Why, for people.
    pub comment: String,
}

/// The branch of a revert: the same at every try.
pub(super) fn branch_of(identity: &Identity, id: &RevertId) -> Result<BranchName, GitError> {
    let short: String = id.as_str().chars().take(SHORT_ID).collect();
    let name = format!("sluice/revert/{}-{}-{short}", identity.namespace, identity.name);
    Ok(BranchName::parse(&name)?)
}

impl Executor {
    /// Whether pull requests can be opened for a repository at all.
    pub(super) fn can_propose(&self, request: &RevertRequest) -> bool {
        self.carrier.is_some()
            && request.remote.credentials.has_api_token()
            && forge_of(&request.remote, request.requests.provider).is_ok()
    }

    /// Opens a request with the restoration, or finds the one that was opened before.
    pub(super) async fn propose(
        &self,
        session: &mut dyn GitSession,
        repair: Repair<'_>,
        reason: Option<SuggestReason>,
    ) -> Result<Try, GitError> {
        let branch = branch_of(&repair.request.identity, &repair.request.id)?;
        let opened = self.open(session, &repair, &branch, reason.as_ref());
        let pull = match opened.await {
            Ok(pull) => pull,
            Err(GitError::Stale { .. }) => return Ok(Try::Moved(repair.restoration)),
            Err(GitError::SourceDenied { reason }) => {
                let why = SuggestReason::SourceNotConfirmed(reason);
                return Ok(Try::Done(suggested(repair.restoration, why)));
            }
            Err(GitError::Forge(error)) if !error.is_retryable() => {
                let why = reason.map_or_else(
                    || "the mode is PullRequest".to_owned(),
                    |reason| reason.to_string(),
                );
                let reason = SuggestReason::NotProposed { why, error: error.to_string() };
                return Ok(Try::Done(suggested(repair.restoration, reason)));
            }
            Err(error) => return Err(error),
        };
        let PullRequest { number, url, state } = pull;
        Ok(Try::Done(match state {
            RequestState::Open => RevertOutcome::Proposed {
                number,
                url,
                reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
            },
            RequestState::Merged(commit) => {
                RevertOutcome::Pushed { commit: commit.unwrap_or_else(|| repair.tip.clone()) }
            }
            RequestState::Closed => RevertOutcome::Vetoed { number, url },
        }))
    }

    async fn open(
        &self,
        session: &mut dyn GitSession,
        repair: &Repair<'_>,
        branch: &BranchName,
        reason: Option<&SuggestReason>,
    ) -> Result<PullRequest, GitError> {
        let request = repair.request;
        let forge = forge_of(&request.remote, request.requests.provider)?;
        let base = &request.source.branch;
        if let Some(pull) = self.find(request, &forge, branch).await? {
            return Ok(pull);
        }
        let message = fill_branch(session, repair, branch).await?;
        let proposal = Proposal {
            title: message.lines().next().unwrap_or_default().to_owned(),
            body: body(&message, reason),
            head: branch.clone(),
            base: base.clone(),
            is_draft: request.requests.is_draft,
            labels: request.requests.labels.clone(),
        };
        let what = "open a pull request";
        let answer = self.carry(&request.remote, &forge.create(&proposal)).await?;
        match forge.read_one(&answer, what) {
            Ok(pull) => {
                self.label(request, &forge, &pull).await;
                Ok(pull)
            }
            // Somebody was faster: an open request from this branch is ours.
            Err(error @ ForgeError::Refused { .. }) => {
                let found = self.find(request, &forge, branch).await?;
                found.filter(|pull| pull.state == RequestState::Open).ok_or(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn find(
        &self,
        request: &RevertRequest,
        forge: &Forge,
        branch: &BranchName,
    ) -> Result<Option<PullRequest>, GitError> {
        if let Some(number) = request.requests.known {
            let answer = self.carry(&request.remote, &forge.get(number)).await?;
            return Ok(Some(forge.read_one(&answer, "read the pull request")?));
        }
        let base = &request.source.branch;
        for page in 1..=MAX_PAGES {
            let answer = self.carry(&request.remote, &forge.list(branch, base, page)).await?;
            let Page { found, is_full } = forge.read_list(&answer, branch, base)?;
            if found.is_some() || !is_full {
                return Ok(found);
            }
        }
        // An older one that is open makes the creation of a second one fail.
        Ok(None)
    }

    /// A request without its labels is still the request: what goes wrong here is not told.
    async fn label(&self, request: &RevertRequest, forge: &Forge, pull: &PullRequest) {
        let labels = &request.requests.labels;
        if !labels.is_empty()
            && let Some(call) = forge.label(pull.number, labels)
        {
            let _unlabelled = self.carry(&request.remote, &call).await;
        }
    }

    async fn carry(
        &self,
        remote: &Remote,
        call: &crate::git::forge::Call,
    ) -> Result<crate::git::forge::Answer, ForgeError> {
        let carrier = self.carrier.as_ref().ok_or(ForgeError::NoCarrier)?;
        carrier.carry(remote, call).await
    }

    /// Closes a request that is not needed any more, and says why; how the request is then. `Closed` is
    /// by people, before us.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub async fn withdraw(&self, order: &Withdrawal) -> Result<RequestState, ForgeError> {
        let Withdrawal { remote, provider, number, comment } = order;
        let forge = forge_of(remote, *provider)?;
        let what = "read the pull request";
        let pull = forge.read_one(&self.carry(remote, &forge.get(*number)).await?, what)?;
        if pull.state != RequestState::Open {
            return Ok(pull.state);
        }
        let answer = self.carry(remote, &forge.comment(*number, comment)).await?;
        forge.check(&answer, "comment on the pull request")?;
        let answer = self.carry(remote, &forge.close(*number)).await?;
        forge.check(&answer, "close the pull request")?;
        Ok(RequestState::Open)
    }
}

/// The forge of a repository. An App is one of GitHub, and its Secret may say where the API is.
fn forge_of(remote: &Remote, given: Option<PullRequestProvider>) -> Result<Forge, ForgeError> {
    match remote.credentials.app() {
        None => Forge::of(&remote.url, given),
        Some(app) => {
            let given = given.or(Some(PullRequestProvider::GitHub));
            let forge = Forge::of(&remote.url, given)?;
            Ok(match &app.base {
                Some(base) => forge.at(base),
                None => forge,
            })
        }
    }
}

/// Makes sure that the branch holds this revert; the message of its commit.
async fn fill_branch(
    session: &mut dyn GitSession,
    repair: &Repair<'_>,
    branch: &BranchName,
) -> Result<String, GitError> {
    let message = repair.message();
    match session.fetch_tip(branch).await {
        Ok(there) => {
            let (good, id) = (&repair.good.commit, &repair.request.id);
            let ours = session.find_revert(good, &there, id).await?;
            let taken = || ForgeError::BranchTaken { branch: branch.to_string() };
            ours.ok_or_else(taken)?;
            return Ok(message);
        }
        Err(GitError::BranchGone { .. }) => {}
        Err(error) => return Err(error),
    }
    if let Some(found) = &repair.request.found {
        (found.confirm)().await.map_err(super::unconfirmed)?;
    }
    let commit = repair.commit(session, &message).await?;
    session.create_branch(branch, &commit).await?;
    Ok(message)
}

/// The text of a request: the commit's message, where nothing in it means anything to a forge.
fn body(message: &str, reason: Option<&SuggestReason>) -> String {
    let told = message.split_once("\n\n").map_or(message, |(_, rest)| rest).replace("```", "'''");
    let why = reason.map_or_else(String::new, |reason| {
        let words = crate::git::message::clean(&reason.to_string(), 300).replace('`', "'");
        format!("\nIt was not pushed, for this reason: `{words}`\n")
    });
    format!(
        "Users are on the stable version already. Merging this makes Git declare it, too.\n{why}\n\
         ```text\n{}\n```\n\nClose this request to keep Git as it is: it is not opened again for this \
         version. It is closed when Git or the cluster no longer need it.\n",
        told.trim_end()
    )
}
