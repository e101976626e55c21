//! What a panic in one part does to the others: nothing. The part gives up what it was doing, says so,
//! and is begun anew or answers for what it was asked; nobody waits for it for ever, and nothing that
//! it keeps up to date grows old unnoticed.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// A part broke down: a defect. Standard error has the words and the place of the panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it broke down, which is a defect of Sluice: the log says where")]
pub struct BrokeDown;

/// What comes of `work`. State that it shares with others must be of use at any of its waits, as it must
/// be for a task that is cancelled.
///
/// # Errors
/// [`BrokeDown`].
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, BrokeDown> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| BrokeDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_everything_else_passes_through() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let broken = async {
            tokio::task::yield_now().await;
            // Not by `panic!`: nobody should look for it in the output of the tests.
            std::panic::resume_unwind(Box::new("broken"));
        };
        assert_eq!(caught(broken).await, Err(BrokeDown));
    }
}
