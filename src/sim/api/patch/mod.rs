//! The kinds of PATCH, carried out as the API server does: merge patches (RFC 7396), JSON patches
//! (RFC 6902, with its library's liberties) and strategic merge patches. Server-side apply is in
//! `apply`.

mod json;
mod strategic;

use serde_json::Value;

use super::failure::{Cause, Failure};
use super::schema::Schema;

/// What a PATCH is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

const ACCEPTED: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

impl PatchKind {
    /// Reads a content type. Custom kinds take no strategic merge patch.
    ///
    /// # Errors
    /// 415.
    pub(crate) fn of(content_type: &str, is_custom: bool) -> Result<Self, Failure> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !is_custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => {
                let accepted = if is_custom { &ACCEPTED[..3] } else { &ACCEPTED[..] };
                Err(Failure::unsupported_media_type(accepted))
            }
        }
    }
}

/// `object` with a patch applied.
///
/// # Errors
/// 400 for what is no patch, 422 for one that does not fit the object.
pub(crate) fn patched(
    kind: PatchKind,
    object: &Value,
    body: &[u8],
    schema: &Schema,
) -> Result<Value, Failure> {
    let undecodable = |error: &str| Failure::bad_request(format!("error decoding patch: {error}"));
    match kind {
        PatchKind::Merge => {
            let patch: Value = serde_json::from_slice(body)
                .map_err(|error| undecodable(&go_json_error(body, &error)))?;
            if !patch.is_object() {
                let given = if patch.is_array() { "array" } else { "string" };
                return Err(undecodable(&format!(
                    "json: cannot unmarshal {given} into Go value of type map[string]interface {{}}"
                )));
            }
            let mut object = object.clone();
            json_patch::merge(&mut object, &patch);
            Ok(object)
        }
        PatchKind::Json => {
            let patch: Value = serde_json::from_slice(body)
                .map_err(|error| undecodable(&go_json_error(body, &error)))?;
            let Value::Array(operations) = patch else {
                return Err(undecodable(
                    "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                ));
            };
            json::apply(object, &operations).map_err(|_| {
                Failure::unprocessable(
                    "the server rejected our request due to an error in our request",
                )
            })
        }
        PatchKind::Strategic => {
            let patch: Value = serde_json::from_slice(body)
                .map_err(|error| undecodable(&go_json_error(body, &error)))?;
            strategic::merge(object, patch, schema).map_err(|why| {
                if why.contains("does not contain declared merge key") {
                    return Failure::plain(500, &why);
                }
                let cause = Cause::invalid("patch", &Value::Null, &why);
                Failure::unprocessable(format!(" \"\" is invalid: patch: {}", cause.message))
            })
        }
        PatchKind::Apply => Err(Failure::not_implemented("an apply of this")),
    }
}

/// What Go says about a text that is no JSON.
pub(crate) fn go_json_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() || body.is_empty() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    }
}
