//! `set image`: change the image of containers in the pod template.

use serde_json::{Value, json};

use super::error::CliError;
use super::names::{is_word_for, only};
use super::verb::{Decision, Edit, Subject};
use crate::api::Kind;

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "set-image";

/// One `CONTAINER=IMAGE` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    container: String,
    image: String,
}

/// The Rollout's name and what is wished for.
///
/// # Errors
/// [`CliError::Usage`] names the argument that is no `CONTAINER=IMAGE`.
pub(super) fn parse(words: &[String]) -> Result<(String, Vec<Wish>), CliError> {
    const EXAMPLE: &str =
        "write for example: kubectl sluice set image shop web=registry.example/shop:v2";
    let has_kind = match words {
        [first, second, ..] => is_word_for(Kind::Rollout, first) && !second.contains('='),
        [_] | [] => false,
    };
    let (name, images) = words
        .split_at_checked(if has_kind { 2 } else { 1 })
        .filter(|(_, images)| !images.is_empty())
        .ok_or_else(|| CliError::usage("names no image", EXAMPLE))?;
    let wishes = images
        .iter()
        .map(|argument| match argument.split_once('=') {
            Some((container, image)) if !container.is_empty() && !image.is_empty() => {
                Ok(Wish { container: container.to_owned(), image: image.to_owned() })
            }
            Some(_) | None => {
                Err(CliError::usage(format!("{argument:?} is not CONTAINER=IMAGE"), EXAMPLE))
            }
        })
        .collect::<Result<_, CliError>>()?;
    Ok((only(Kind::Rollout, name)?, wishes))
}

/// What setting the images means here.
pub(super) fn decide(subject: &Subject, wishes: &[Wish]) -> Result<Decision, CliError> {
    let mut spec = Value::Object(subject.part("spec"));
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    if subject.rollout.spec.workload_ref.is_some() {
        return Err(CliError::refused(
            format!("rollout {name:?} takes its pod template from spec.workloadRef"),
            "set the image of that workload: kubectl set image",
        ));
    }
    let known = container_names(&spec);
    let mut changed = Vec::new();
    for wish in wishes {
        if wish.container != "*" && !known.contains(&wish.container) {
            return Err(CliError::refused(
                format!("rollout {name:?} has no container {:?}", wish.container),
                format!("its containers are: {}", known.join(", ")),
            ));
        }
        changed.extend(set(&mut spec, wish));
    }
    if changed.is_empty() {
        return Ok(Decision::Nothing("has these images already".to_owned()));
    }
    Ok(Decision::Change(Edit {
        spec: Some(spec),
        said: format!("has a new template: {}", changed.join(", ")),
        notes: super::gitops::note(subject, "the image"),
        ..Edit::default()
    }))
}

/// Init containers are addressed by name only: `*` means those that serve.
const LISTS: [(&str, bool); 2] = [("containers", true), ("initContainers", false)];

fn container_names(spec: &Value) -> Vec<String> {
    LISTS
        .iter()
        .filter_map(|(list, _)| spec.pointer(&format!("/template/spec/{list}"))?.as_array())
        .flatten()
        .filter_map(|container| container.get("name")?.as_str().map(str::to_owned))
        .collect()
}

fn set(spec: &mut Value, wish: &Wish) -> Vec<String> {
    let mut changed = Vec::new();
    for (list, takes_star) in LISTS {
        let containers = spec.pointer_mut(&format!("/template/spec/{list}"));
        let Some(containers) = containers.and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_meant = name == wish.container || (wish.container == "*" && takes_star);
            let Some(fields) = container.as_object_mut().filter(|_| is_meant) else { continue };
            let wanted = json!(wish.image);
            if fields.get("image") != Some(&wanted) {
                fields.insert("image".to_owned(), wanted);
                changed.push(format!("{name} runs {}", wish.image));
            }
        }
    }
    changed
}
