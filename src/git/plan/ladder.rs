//! The restore ladder: the gate, then the smallest change that can be proved, then whole files,
//! then a suggestion.
//!
//! Every rung ends in the same proof, made by reading the result as if it were committed. This
//! module must never return [`Verdict::Restore`] for a result that was not proved.

mod rendered;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Blocked, Facts, FileRestore, MAX_CHANGED_FILES, Question, Restoration, Restored, SuggestReason,
    Superseded, Verdict,
    consumers::consumers,
    declared::{Declared, Own, OwnDocument},
    patch,
    render::declare,
    tree::{FileText, Need, View},
    values::{FieldPath, same_json, scalar_changes},
    yaml_span::{Edit, edit},
    yaml_tree::YamlText,
};
use crate::git::source::RepoPath;

pub(super) use rendered::{form_of, unnamed_images};

type Changes = BTreeMap<RepoPath, Option<Vec<u8>>>;

pub(super) struct Ladder<'a> {
    question: &'a Question<'a>,
    good: View<'a>,
    bad: View<'a>,
    head: View<'a>,
}

/// The three trees, read.
struct Read {
    good: Declared,
    bad: Declared,
    head: Declared,
    /// The Rollout's document at HEAD.
    own: OwnDocument,
    /// The Rollout's document in GOOD.
    own_good: OwnDocument,
}

/// A possible result.
struct Attempt {
    changes: Changes,
    restored: Vec<Restored>,
}

/// Whole files that are put back, and those that cannot be.
struct Restorable {
    attempt: Attempt,
    conflicts: Vec<RepoPath>,
    /// With what they are.
    not_text: Vec<(RepoPath, &'static str)>,
}

impl<'a> Ladder<'a> {
    pub(super) fn new(question: &'a Question<'a>, facts: Facts<'a>) -> Self {
        Self {
            question,
            good: View::new(facts.good, facts.blobs),
            bad: View::new(facts.bad, facts.blobs),
            head: View::new(facts.head, facts.blobs),
        }
    }

    pub(super) fn climb(&self) -> Result<Verdict, Need> {
        let (t_good, t_bad) = (&self.question.good.template, &self.question.bad.template);
        let head = self.declared(self.head)?;
        if let Some(verdict) = self.rendered_step(&head)? {
            return Ok(verdict);
        }
        if same_json(t_good, t_bad) {
            return Ok(Verdict::Blocked(Blocked::NoGitChange));
        }
        let own = match self.own_at_head(&head) {
            Ok(own) => own,
            Err(verdict) => return Ok(*verdict),
        };
        if head.opaque.is_empty() {
            if same_json(own.template(), t_good) {
                return Ok(Verdict::AlreadyReverted);
            }
            if !same_json(own.template(), t_bad) {
                return Ok(Verdict::Superseded(Superseded::OtherTemplate));
            }
        }
        let (good, bad) = (self.declared(self.good)?, self.declared(self.bad)?);
        if !head.opaque.is_empty() {
            if same_inputs(&head, self.head, &good, self.good) {
                return Ok(Verdict::AlreadyReverted);
            }
            if !same_inputs(&head, self.head, &bad, self.bad) {
                return Ok(Verdict::Blocked(Blocked::NotComputable(head.opaque.join("; "))));
            }
        }
        let own_good = match self.check_ledger(&good, &bad) {
            Ok(own_good) => own_good,
            Err(blocked) => return Ok(Verdict::Blocked(blocked)),
        };
        let read = Read { good, bad, head, own, own_good };
        if let Some(verdict) = self.field_step(&read)? {
            return Ok(verdict);
        }
        self.file_step(&read)
    }

    fn declared(&self, view: View<'_>) -> Result<Declared, Need> {
        declare(view, self.question.source, self.question.identity)
    }

    fn own_at_head(&self, head: &Declared) -> Result<OwnDocument, Box<Verdict>> {
        let path = &self.question.source.path;
        let blocked = match &head.own {
            Own::One(own) => return Ok((**own).clone()),
            Own::PathGone => Blocked::PathGone(path.clone()),
            Own::Ambiguous(files) => Blocked::Ambiguous(files.clone()),
            Own::Absent { unread } if unread.is_empty() => {
                return Err(Box::new(Verdict::Superseded(Superseded::NotDeclared)));
            }
            Own::Absent { unread } => Blocked::NotRevertible(format!(
                "no readable document declares the Rollout; not read: {}",
                unread.join("; ")
            )),
        };
        Err(Box::new(Verdict::Blocked(blocked)))
    }

    /// Both recorded commits must say what was recorded with them.
    fn check_ledger(&self, good: &Declared, bad: &Declared) -> Result<OwnDocument, Blocked> {
        let check = |declared: &Declared, declaration: &super::Declaration| match &declared.own {
            Own::One(own)
                if !declared.opaque.is_empty()
                    || same_json(own.template(), &declaration.template) =>
            {
                Ok((**own).clone())
            }
            Own::One(_) | Own::Absent { .. } | Own::Ambiguous(_) | Own::PathGone => {
                Err(Blocked::LedgerMismatch { commit: declaration.commit.clone() })
            }
        };
        check(bad, self.question.bad)?;
        let own_good = check(good, self.question.good)?;
        if same_inputs(good, self.good, bad, self.bad) {
            return Err(Blocked::NoGitChange);
        }
        Ok(own_good)
    }

    /// Edits single values in HEAD's text. `None` when that cannot be done and proved.
    fn field_step(&self, read: &Read) -> Result<Option<Verdict>, Need> {
        let images = self.image_edits(read)?;
        let own = self.own_edits(read)?;
        // The smallest set that is proved wins: a value in a base may only be a placeholder.
        let mut sets: Vec<Vec<(RepoPath, Edit)>> = Vec::new();
        match (images, own) {
            (Some(images), Some(own)) => {
                let both = images.iter().chain(&own).cloned().collect();
                sets.extend([images, own, both]);
            }
            (Some(only), None) | (None, Some(only)) => sets.push(only),
            (None, None) => {}
        }
        let mut fallback = None;
        for edits in sets.into_iter().filter(|edits| !edits.is_empty()) {
            let Some(attempt) = self.edited(&edits)? else {
                continue;
            };
            match self.proof(read, &attempt)? {
                None => return self.finish(attempt, &read.head, None).map(Some),
                // Right for the Rollout, wrong for somebody else: whole files would not be better.
                Some(reason @ SuggestReason::OtherObjects(_)) => {
                    fallback.get_or_insert((attempt, reason));
                }
                Some(_) => {}
            }
        }
        match fallback {
            Some((attempt, reason)) => self.finish(attempt, &read.head, Some(reason)).map(Some),
            None => Ok(None),
        }
    }

    fn own_edits(&self, read: &Read) -> Result<Option<Vec<(RepoPath, Edit)>>, Need> {
        let template = FieldPath::of_keys(&["spec", "template"]);
        let (Some(from), Some(to)) =
            (template.find(&read.own.written), template.find(&read.own_good.written))
        else {
            return Ok(None);
        };
        let Some(changes) = scalar_changes(from, to) else {
            return Ok(None);
        };
        let text = self.good.text(&read.own_good.file)?;
        let parsed = parsed(&text);
        let edits = changes.into_iter().map(|change| {
            let path = template.join(&change.path);
            let written_as = parsed
                .as_ref()
                .and_then(|yaml| yaml.scalar_text(read.own_good.document, &path))
                .map(str::to_owned);
            let (document, from, to) = (read.own.document, change.from, change.to);
            (read.own.file.clone(), Edit { document, path, from, to, written_as })
        });
        Ok(Some(edits.collect()))
    }

    /// Edits of the `images` entries that were about the Rollout; `None` when one has other fields.
    fn image_edits(&self, read: &Read) -> Result<Option<Vec<(RepoPath, Edit)>>, Need> {
        let mut edits = Vec::new();
        for hit in &read.head.image_hits {
            let same = |other: &&super::declared::ImageHit| {
                other.file == hit.file && other.rule.name == hit.rule.name
            };
            let Some(before) = read.good.image_hits.iter().find(same) else {
                return Ok(None);
            };
            let text = self.good.text(&before.file)?;
            let parsed = parsed(&text);
            for (field, from, to) in [
                ("newName", &hit.rule.new_name, &before.rule.new_name),
                ("newTag", &hit.rule.new_tag, &before.rule.new_tag),
                ("digest", &hit.rule.digest, &before.rule.digest),
            ] {
                let (from, to) = match (from, to) {
                    (Some(from), Some(to)) if from != to => (from, to),
                    (Some(_), Some(_)) | (None, None) => continue,
                    (Some(_), None) | (None, Some(_)) => return Ok(None),
                };
                let path = |index| FieldPath::of_keys(&["images"]).index(index).key(field);
                let written_as = parsed
                    .as_ref()
                    .and_then(|yaml| yaml.scalar_text(0, &path(before.index)))
                    .map(str::to_owned);
                let (from, to) = (Value::from(from.as_str()), Value::from(to.as_str()));
                let edit = Edit { document: 0, path: path(hit.index), from, to, written_as };
                edits.push((hit.file.clone(), edit));
            }
        }
        Ok(Some(edits))
    }

    /// HEAD's texts with the edits made; `None` when one was refused.
    fn edited(&self, edits: &[(RepoPath, Edit)]) -> Result<Option<Attempt>, Need> {
        let mut texts: BTreeMap<RepoPath, String> = BTreeMap::new();
        for (file, one) in edits {
            let text = match texts.get(file) {
                Some(text) => text.clone(),
                None => match self.head.text(file)? {
                    FileText::Text(text) => text.to_owned(),
                    FileText::Absent | FileText::NotText(_) => return Ok(None),
                },
            };
            match edit(&text, std::slice::from_ref(one)) {
                Ok(text) => texts.insert(file.clone(), text),
                Err(_) => return Ok(None),
            };
        }
        let restored = edits.iter().map(|(file, edit)| Restored::Field {
            file: file.clone(),
            field: edit.path.to_string(),
            from: edit.from.clone(),
            to: edit.to.clone(),
        });
        let changes =
            texts.into_iter().map(|(file, text)| (file, Some(text.into_bytes()))).collect();
        Ok(Some(Attempt { changes, restored: restored.collect() }))
    }

    /// Puts back whole files.
    fn file_step(&self, read: &Read) -> Result<Verdict, Need> {
        let differing = self.good.tree().differing(self.bad.tree());
        let among = |a: &BTreeSet<RepoPath>, b: &BTreeSet<RepoPath>| -> BTreeSet<RepoPath> {
            differing
                .iter()
                .filter(|path| a.contains(*path) || b.contains(*path))
                .cloned()
                .collect()
        };
        let mut files = among(&read.good.relevant, &read.bad.relevant);
        if files.is_empty() {
            files = among(&read.good.inputs, &read.bad.inputs);
        }
        if files.is_empty() {
            return Ok(Verdict::Blocked(Blocked::NoGitChange));
        }
        for view in [self.good, self.bad, self.head] {
            view.require(&files)?;
        }
        let Restorable { attempt, conflicts, not_text } = self.whole_files(&files)?;
        if let Some((file, why)) = not_text.first() {
            return Ok(Verdict::Blocked(Blocked::NotRevertible(format!("{file} is {why}"))));
        }
        if !conflicts.is_empty() || attempt.changes.is_empty() {
            return Ok(Verdict::Conflict(conflicts));
        }
        let reason = self.proof(read, &attempt)?;
        self.finish(attempt, &read.head, reason)
    }

    /// Undoes in HEAD what BAD did to each of the files.
    fn whole_files<'f>(
        &self,
        files: impl IntoIterator<Item = &'f RepoPath>,
    ) -> Result<Restorable, Need> {
        let attempt = Attempt { changes: Changes::new(), restored: Vec::new() };
        let mut found = Restorable { attempt, conflicts: Vec::new(), not_text: Vec::new() };
        for file in files {
            match restore_file(self.good, self.bad, self.head, file)? {
                FileResult::Unchanged => {}
                FileResult::Conflict => found.conflicts.push(file.clone()),
                FileResult::NotText(why) => found.not_text.push((file.clone(), why)),
                FileResult::Changed(content, how) => {
                    found.attempt.changes.insert(file.clone(), content);
                    found.attempt.restored.push(Restored::File { file: file.clone(), how });
                }
            }
        }
        Ok(found)
    }

    /// Reads the result as if it were committed. `None` is the proof; else what is wrong.
    fn proof(&self, read: &Read, attempt: &Attempt) -> Result<Option<SuggestReason>, Need> {
        let after = self.declared(self.head.with(&attempt.changes))?;
        let Own::One(own) = &after.own else {
            let words = "the result does not declare the Rollout exactly once".to_owned();
            return Ok(Some(SuggestReason::TemplateNotProved(words)));
        };
        if !after.opaque.is_empty() {
            return Ok(Some(SuggestReason::TemplateNotProved(after.opaque.join("; "))));
        }
        if !same_json(own.template(), &self.question.good.template) {
            let words = "the result declares another template".to_owned();
            return Ok(Some(SuggestReason::TemplateNotProved(words)));
        }
        let mut others = changed_names(&read.head.others, &after.others);
        if !same_json(&without_template(&read.own.applied), &without_template(&own.applied)) {
            others.push("the Rollout outside of spec.template".to_owned());
        }
        Ok((!others.is_empty()).then_some(SuggestReason::OtherObjects(others)))
    }

    fn finish(
        &self,
        attempt: Attempt,
        head: &Declared,
        reason: Option<SuggestReason>,
    ) -> Result<Verdict, Need> {
        let edited: BTreeSet<RepoPath> = attempt.changes.keys().cloned().collect();
        let reason = match reason {
            Some(reason) => Some(reason),
            None if edited.len() > MAX_CHANGED_FILES => {
                Some(SuggestReason::TooManyFiles(edited.len()))
            }
            None => {
                let consumers = consumers(self.head, head, &edited)?;
                let edited = edited.iter().cloned().collect();
                (!consumers.is_empty()).then_some(SuggestReason::SharedFile { edited, consumers })
            }
        };
        let not_touched = self.good.tree().differing(self.bad.tree());
        let restoration = Restoration {
            patch: patch::unified(self.head, &attempt.changes)?,
            not_touched: not_touched.difference(&edited).cloned().collect(),
            changes: attempt.changes,
            restored: attempt.restored,
        };
        Ok(match reason {
            None => Verdict::Restore(restoration),
            Some(reason) => Verdict::Suggest(restoration, reason),
        })
    }
}

fn parsed<'t>(text: &FileText<'t>) -> Option<YamlText<'t>> {
    match text {
        FileText::Text(text) => YamlText::parse(text).ok(),
        FileText::Absent | FileText::NotText(_) => None,
    }
}

/// Whether two trees say the same by having the same bytes in every file that was read.
fn same_inputs(a: &Declared, a_view: View<'_>, b: &Declared, b_view: View<'_>) -> bool {
    a.inputs == b.inputs
        && a.inputs.iter().all(|path| a_view.tree().entry(path) == b_view.tree().entry(path))
}

fn without_template(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("template");
    }
    value
}

fn changed_names(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let is_changed = |name: &&String| match (before.get(*name), after.get(*name)) {
        (Some(a), Some(b)) => !same_json(a, b),
        _ => true,
    };
    names.into_iter().filter(is_changed).cloned().collect()
}

enum FileResult {
    Unchanged,
    Changed(Option<Vec<u8>>, FileRestore),
    Conflict,
    NotText(&'static str),
}

/// Undoes in HEAD what BAD did to one file of GOOD.
fn restore_file(
    good: View<'_>,
    bad: View<'_>,
    head: View<'_>,
    file: &RepoPath,
) -> Result<FileResult, Need> {
    let texts = [good.text(file)?, bad.text(file)?, head.text(file)?];
    if let Some(why) = texts.iter().find_map(|text| match text {
        FileText::NotText(why) => Some(*why),
        FileText::Text(_) | FileText::Absent => None,
    }) {
        return Ok(FileResult::NotText(why));
    }
    let [good, bad, head] = texts;
    if head == good {
        return Ok(FileResult::Unchanged);
    }
    if head == bad {
        return Ok(match (good, bad) {
            (FileText::Text(text), FileText::Text(_)) => {
                FileResult::Changed(Some(text.as_bytes().to_vec()), FileRestore::Replaced)
            }
            (FileText::Text(text), _) => {
                FileResult::Changed(Some(text.as_bytes().to_vec()), FileRestore::BroughtBack)
            }
            _ => FileResult::Changed(None, FileRestore::Removed),
        });
    }
    let (FileText::Text(good), FileText::Text(bad), FileText::Text(head)) = (good, bad, head)
    else {
        return Ok(FileResult::Conflict);
    };
    // A merge of encrypted values would break their authentication code.
    if [good, bad, head].into_iter().any(is_encrypted) {
        return Ok(FileResult::Conflict);
    }
    Ok(match diffy::merge(bad, head, good) {
        Ok(merged) => FileResult::Changed(Some(merged.into_bytes()), FileRestore::Merged),
        Err(_) => FileResult::Conflict,
    })
}

/// A file of SOPS or of Sealed Secrets.
fn is_encrypted(text: &str) -> bool {
    text.lines().any(|line| {
        line.starts_with("sops:")
            || line.trim_start().starts_with("\"sops\":")
            || line.starts_with("kind: SealedSecret")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::plan::tree::testing::Repo;

    #[test]
    fn an_encrypted_file_that_changed_since_is_never_merged() {
        let mut repo = Repo::default();
        let file = "secret.yaml";
        let text = |value: &str, extra: &str| {
            format!("data: {value}\na: 1\nb: 2\nc: 3\nd: 4\nsops:\n  mac: {value}\n{extra}")
        };
        let good = repo.tree('a', &[(file, &text("old", ""))]);
        let bad = repo.tree('b', &[(file, &text("new", ""))]);
        let moved = repo.tree('c', &[(file, &text("new", "# later\n"))]);
        let path = RepoPath::parse(file).unwrap();
        let view = |tree| View::new(tree, &repo.blobs);
        let restore = |head| restore_file(view(&good), view(&bad), view(head), &path).unwrap();
        assert!(matches!(restore(&moved), FileResult::Conflict));
        assert!(matches!(restore(&bad), FileResult::Changed(Some(_), FileRestore::Replaced)));
        assert!(matches!(restore(&good), FileResult::Unchanged));
    }
}
