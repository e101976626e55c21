//! Work that ends by a panic: nobody waits for it for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sluice::git::backend::{GitBackend, GitResult, GitSession, Remote};
use sluice::git::memory::MemoryGit;

use crate::scene::{Scene, canary, place};

/// A way to Git of which every second use breaks down, as long as there are breakdowns left.
struct Breaking {
    git: MemoryGit,
    uses: AtomicU32,
    left: AtomicU32,
}

impl GitBackend for Breaking {
    fn open<'a>(&'a self, remote: &'a Remote) -> GitResult<'a, Box<dyn GitSession>> {
        let is_odd = self.uses.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let fewer = |left: u32| left.checked_sub(1);
        if is_odd && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            // Not by `panic!`: nobody should look for it in the output of the tests.
            std::panic::resume_unwind(Box::new("a planned breakdown"));
        }
        self.git.open(remote)
    }
}

#[tokio::test(start_paused = true)]
async fn look_ups_and_reverts_that_break_down_are_tried_again() {
    let scene = Scene::begin(77, &canary(), &[("web-stable", 100), ("web-canary", 0)]).await;
    let git = Arc::new(Breaking {
        git: scene.world.git().clone(),
        uses: AtomicU32::new(0),
        left: AtomicU32::new(2),
    });
    scene.world.reach_git_through(git.clone());
    scene.world.start("one").unwrap();
    scene.push("v1", "bad");
    scene
        .until("reverted", 600, |scene| {
            scene.rollout()["status"]["gitRevert"]["state"] == "Reverted"
        })
        .await;
    // A look-up and a revert, each once in vain.
    assert_eq!(git.left.load(Ordering::Relaxed), 0, "breakdowns are left");
    let (url, branch) = place();
    let log = scene.world.git().log(&url, &branch);
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(scene.image().ends_with(":v1"), "{}", scene.image());
}
