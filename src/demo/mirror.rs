//! Keeps what the agent of the world reads in step with the real repository.

use crate::demo::shop::Place;
use crate::git::backend::GitError;
use crate::git::binary::LocalRepository;
use crate::revision::Commit;
use crate::sim::world::World;

/// The commit that the world knows.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    tip: Option<Commit>,
}

impl Mirror {
    /// Takes over the tip of the branch; the commit, when it is a new one.
    pub(super) async fn step(
        &mut self,
        repository: &LocalRepository,
        place: &Place,
        world: &World,
    ) -> Result<Option<Commit>, GitError> {
        let tip = repository.tip(&place.branch).await?;
        if tip == self.tip {
            return Ok(None);
        }
        if let Some(commit) = &tip {
            let files = repository.files(commit).await?;
            world.git().mirror(&place.url, &place.branch, commit, files, "");
        }
        self.tip.clone_from(&tip);
        Ok(tip)
    }
}
