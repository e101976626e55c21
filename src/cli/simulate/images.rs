//! The two versions: the image of the manifest, and the one that it is changed to.

use serde_json::Value;

use super::intake::Team;
use crate::cli::error::CliError;
use crate::git::plan::split_image;

/// The image of the first container, before and after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Images {
    pub(super) stable: String,
    pub(super) canary: String,
}

impl Images {
    /// What people call the two versions: their tags.
    pub(super) fn tags(&self) -> (String, String) {
        let tag = |image: &str| {
            let last = image.rsplit('/').next().unwrap_or(image);
            last.split_once(':').map_or(last, |(_, tag)| tag).to_owned()
        };
        (tag(&self.stable), tag(&self.canary))
    }

    pub(super) fn of(team: &Team, wanted: Option<&str>) -> Result<Self, CliError> {
        let template = team.spec.template.as_ref().map(|raw| &raw.0);
        let stable = template
            .and_then(|raw| raw.pointer("/spec/containers/0/image"))
            .and_then(Value::as_str)
            .filter(|image| !image.is_empty());
        let Some(stable) = stable else {
            return Err(CliError::refused(
                "the Rollout's first container has no image, which is what a release changes",
                "write spec.template.spec.containers[0].image",
            ));
        };
        let (name, tag, _) = split_image(stable);
        let other = if tag == Some("next") { "next-2" } else { "next" };
        let canary = wanted.map_or_else(|| format!("{name}:{other}"), str::to_owned);
        let images = Self { stable: stable.to_owned(), canary };
        let (before, after) = images.tags();
        if before == after {
            return Err(CliError::usage(
                format!(
                    "--image: the new version {after:?} cannot be told from the old one by its tag"
                ),
                "give an image with another tag than that of the manifest",
            ));
        }
        Ok(images)
    }
}
