//! The ledger's one question: does this commit itself declare exactly this template?
//!
//! The ledger is made when a template is first seen, not when it fails. A commit is entered only
//! when its own text says the template, so that a branch that moved on, a lagging GitOps tool or a
//! change by hand is never taken for the source.

use serde_json::Value;

use super::{
    super::source::{RepoPath, Source},
    declared::{Declared, Identity, Own, OwnDocument},
    ladder::{form_of, unnamed_images},
    render::declare,
    tree::{Need, View},
    values::same_json,
};

/// Why a commit is not entered into the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerRefusal {
    /// The path does not exist in this commit.
    #[error("path `{0}` does not exist on the branch")]
    PathGone(RepoPath),
    /// No document declares the Rollout.
    #[error("no document at the path declares this Rollout{}", unread(.0))]
    NotDeclared(Vec<String>),
    /// Several documents do.
    #[error("several documents at the path declare this Rollout; name one with `source.file`")]
    Ambiguous(Vec<RepoPath>),
    /// The document says another template: the branch moved on, or the tool lags.
    #[error("the branch declares another template than the cluster has")]
    OtherTemplate,
    /// Something that is not modelled may change the template.
    #[error("the declared template cannot be computed: {}", .0.join("; "))]
    NotComputable(Vec<String>),
}

fn unread(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!("; not read: {}", files.join("; ")) }
}

/// Whether the tree of `view` declares exactly `template` for the Rollout. Where Helm makes the template
/// the evidence is weaker: each image of it must be named by a value.
///
/// # Errors
/// [`Need`] when contents have to be fetched first.
pub fn verify_declaration(
    view: View<'_>,
    source: &Source,
    identity: &Identity,
    template: &Value,
) -> Result<Result<(), LedgerRefusal>, Need> {
    let declared = declare(view, source, identity)?;
    let own = match own(&declared, source) {
        Ok(own) => own,
        Err(refusal @ LedgerRefusal::NotDeclared(_)) => {
            let form = form_of(view, &source.path, source.file.as_ref(), &identity.name)?;
            return match form {
                Some(form) => Ok(match unnamed_images(view, &form, template)?.as_slice() {
                    [] => Ok(()),
                    images => Err(LedgerRefusal::NotComputable(images.to_vec())),
                }),
                None => Ok(Err(refusal)),
            };
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(if !declared.opaque.is_empty() {
        Err(LedgerRefusal::NotComputable(declared.opaque))
    } else if same_json(own.template(), template) {
        Ok(())
    } else {
        Err(LedgerRefusal::OtherTemplate)
    })
}

/// The template that the tree of `view` declares for the Rollout, as far as it can be computed; null
/// where Helm makes it.
///
/// # Errors
/// [`Need`] when contents have to be fetched first.
pub fn declared_template(
    view: View<'_>,
    source: &Source,
    identity: &Identity,
) -> Result<Result<Value, LedgerRefusal>, Need> {
    let declared = declare(view, source, identity)?;
    let name = &identity.name;
    Ok(match own(&declared, source) {
        Err(LedgerRefusal::NotDeclared(_))
            if form_of(view, &source.path, source.file.as_ref(), name)?.is_some() =>
        {
            Ok(Value::Null)
        }
        own => own.map(|own| own.template().clone()),
    })
}

fn own<'d>(declared: &'d Declared, source: &Source) -> Result<&'d OwnDocument, LedgerRefusal> {
    match &declared.own {
        Own::One(own) => Ok(own),
        Own::Absent { unread } => Err(LedgerRefusal::NotDeclared(unread.clone())),
        Own::Ambiguous(files) => Err(LedgerRefusal::Ambiguous(files.clone())),
        Own::PathGone => Err(LedgerRefusal::PathGone(source.path.clone())),
    }
}
