//! Merge patches (RFC 7396) and JSON patches (RFC 6902), as the API server carries them out.

use serde_json::Value;

use super::failure::Failure;

/// What a PATCH is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

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
            _ => Err(Failure::unsupported_media_type(accepted(is_custom))),
        }
    }
}

fn accepted(is_custom: bool) -> &'static [&'static str] {
    if is_custom {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
            "application/apply-patch+cbor",
        ]
    } else {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
            "application/apply-patch+cbor",
        ]
    }
}

/// `object` with a merge or JSON patch applied.
///
/// # Errors
/// 400 for what is no patch, 422 for one that does not fit the object.
pub(crate) fn patched(kind: PatchKind, object: &Value, body: &[u8]) -> Result<Value, Failure> {
    let mut object = object.clone();
    match kind {
        PatchKind::Merge => {
            let patch: Value = serde_json::from_slice(body)
                .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
            if !patch.is_object() {
                return Err(Failure::bad_request(
                    "error decoding patch: a merge patch is an object",
                ));
            }
            json_patch::merge(&mut object, &patch);
        }
        PatchKind::Json => {
            let patch: json_patch::Patch = serde_json::from_slice(body)
                .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
            if patch.0.len() > 10_000 {
                return Err(Failure::bad_request("a JSON patch may have 10000 operations at most"));
            }
            apply_json(&mut object, &patch)?;
        }
        PatchKind::Strategic => return Err(Failure::not_implemented("strategic merge patches")),
        PatchKind::Apply => return Err(Failure::not_implemented("server-side apply")),
    }
    Ok(object)
}

fn apply_json(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Failure> {
    json_patch::patch(object, patch).map_err(|error| {
        let operation = patch.0.get(error.operation);
        let pointer = operation.map(|operation| operation.path().to_string()).unwrap_or_default();
        match error.kind {
            json_patch::PatchErrorKind::TestFailed => Failure::unprocessable(format!(
                "the server rejected our request due to an error in our request: testing value \
                 {pointer} failed"
            )),
            _ => Failure::unprocessable(
                "the server rejected our request due to an error in our request",
            ),
        }
    })
}
