//! What a team's files say: the Rollout that is simulated, and the objects beside it. What is wrong
//! in them is told as `lint` tells it, with file and line.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::args::SimulateArgs;
use crate::analysis::ResolvedRun;
use crate::analysis::arguments::RolloutFacts;
use crate::analysis::comparing::place::complete;
use crate::analysis::templates::{TemplateError, TemplateKey, plan_run};
use crate::api::names::ARGO_GROUP;
use crate::api::rollout::RolloutSpec;
use crate::api::{ApiNames, Kind};
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::lint::object::{Manifest, Parsed};
use crate::cli::lint::report::{Finding, Severity};
use crate::cli::lint::schema::nearest;
use crate::cli::lint::set::{ANY_REVISIONS, AnalysisField, Set, analysis_fields, library};
use crate::cli::lint::{SourceFile, read, read_files, refuse};
use crate::cli::output::Console;

/// Something that differs from the team's own cluster, told before the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// What kind of difference.
    pub kind: NoteKind,
    /// One sentence.
    pub text: String,
}

/// How the simulation differs from the team's own cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NoteKind {
    /// An object that is needed and not in the files was made.
    StandIn,
    /// Something in the files has no part in the simulation.
    NotModelled,
    /// Something was taken as given.
    Assumed,
}

impl NoteKind {
    /// The word before the sentence.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::StandIn => "stand-in",
            Self::NotModelled => "not modelled",
            Self::Assumed => "assumed",
        }
    }
}

/// The files of a team.
#[derive(Debug)]
pub(super) struct Team {
    pub(super) names: ApiNames,
    /// Everything that was read.
    pub(super) manifests: Vec<Manifest>,
    /// The files, for texts as they were written.
    files: Vec<SourceFile>,
    /// The place of the Rollout among the manifests.
    at: usize,
    pub(super) spec: RolloutSpec,
    /// The analyses of the Rollout, each resolved as far as it can be before revisions have names.
    pub(super) analyses: Vec<Analysis>,
}

/// An analysis that the Rollout asks for.
#[derive(Debug)]
pub(super) struct Analysis {
    /// The field that asks for it.
    pub(super) field: String,
    /// What it will do.
    pub(super) run: ResolvedRun,
}

impl Team {
    /// Reads and checks the files.
    pub(super) fn read(
        console: &mut Console<'_>,
        args: &SimulateArgs,
        flags: &ClusterFlags,
    ) -> Result<Self, CliError> {
        let files = read_files(console, args.files.iter().chain(&args.more), "simulate")?;
        let given = ApiNames::for_group(&flags.api_group)
            .map_err(|error| CliError::Usage { message: error.to_string(), hint: None })?;
        let namespace = flags.namespace.as_deref().unwrap_or("default");
        let mut reading = read(&files, given, namespace);
        let mut names = given;
        let at = choose(&reading.manifests, names, args.rollout.as_deref())?;
        let is_argo = reading.manifests.get(at).is_some_and(|one| one.group() == ARGO_GROUP);
        if is_argo && names != ApiNames::ARGO {
            // The manifests of a controller that runs with --api-group argoproj.io.
            names = ApiNames::ARGO;
            reading = read(&files, names, namespace);
        }
        let Some(rollout) = reading.manifests.get(at) else { return Err(no_rollout()) };
        let spec = match &rollout.parsed {
            Parsed::Rollout(spec) => spec.as_ref().clone(),
            _ => return refuse(console, reading.findings, "simulate"),
        };
        let used = used_templates(&reading.manifests, rollout, &spec);
        let set = Set::check(&reading.manifests, names, true);
        let concerns = |found: &Finding| {
            let is_other = |manifest: &&Manifest| {
                manifest.title() == found.object && manifest.file == found.file
            };
            let about = reading.manifests.iter().find(is_other);
            about.is_none_or(|about| is_part(about, rollout, &used))
        };
        let found: Vec<Finding> = reading
            .findings
            .iter()
            .chain(&set.findings)
            .filter(|one| concerns(one))
            .cloned()
            .collect();
        if found.iter().any(|one| one.severity == Severity::Error) {
            return refuse(console, found, "simulate");
        }
        let analyses = analyses(&reading.manifests, rollout, &spec)?;
        Ok(Self { names, at, spec, analyses, files, manifests: reading.manifests })
    }

    /// The Rollout.
    pub(super) fn rollout(&self) -> Option<&Manifest> {
        self.manifests.get(self.at)
    }

    /// The objects besides the Rollout.
    pub(super) fn others(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.iter().enumerate().filter(|(idx, _)| *idx != self.at).map(|(_, one)| one)
    }

    /// Where the metric of a name is declared: `Kind NAME (file:line)`.
    pub(super) fn place_of_metric(&self, name: &str) -> String {
        let declares = |manifest: &&Manifest| match &manifest.parsed {
            Parsed::Template(spec, _) => spec.metrics.iter().any(|metric| metric.name == name),
            _ => false,
        };
        let found = self.manifests.iter().find(declares);
        found.map_or_else(String::new, |one| format!("{} ({})", one.title(), one.place()))
    }

    /// The text that declares the Rollout: as it stands in its file, or made from the object.
    pub(super) fn text(&self) -> Result<String, CliError> {
        let Some(rollout) = self.rollout() else { return Err(no_rollout()) };
        let file = self.files.iter().find(|file| file.name == rollout.file);
        let own = file.and_then(|file| document_at(&file.text, rollout.node.line));
        let is_it = |text: &String| {
            let (nodes, problems) = crate::cli::lint::yaml::documents(text);
            problems.is_empty()
                && matches!(nodes.as_slice(), [only] if only.to_json() == rollout.json)
        };
        match own.filter(is_it) {
            Some(text) => Ok(text),
            None => serde_norway::to_string(&rollout.json)
                .map_err(|error| CliError::Format { format: "YAML", source: Box::new(error) }),
        }
    }
}

fn no_rollout() -> CliError {
    CliError::usage(
        "found no Rollout to simulate",
        "name the file that declares it with -f; analysis templates and the rest may stand beside it",
    )
}

/// The Rollout that is simulated.
fn choose(
    manifests: &[Manifest],
    names: ApiNames,
    wanted: Option<&str>,
) -> Result<usize, CliError> {
    let is_rollout = |one: &Manifest| {
        one.kind == Kind::Rollout.as_str() && [names.group(), ARGO_GROUP].contains(&one.group())
    };
    let all: Vec<(usize, &Manifest)> =
        manifests.iter().enumerate().filter(|(_, one)| is_rollout(one)).collect();
    let known: Vec<&str> = all.iter().map(|(_, one)| one.name.as_str()).collect();
    match (wanted, all.as_slice()) {
        (_, []) => Err(no_rollout()),
        (None, [(at, _)]) => Ok(*at),
        (None, _) => Err(CliError::usage(
            format!("the files declare {} Rollouts: {}", known.len(), known.join(", ")),
            format!("choose one, for example --rollout {}", known.first().unwrap_or(&"")),
        )),
        (Some(wanted), _) => {
            let found = all.iter().find(|(_, one)| one.name == wanted).map(|(at, _)| *at);
            found.ok_or_else(|| {
                let hint = match nearest(wanted, known.iter()) {
                    Some(name) => format!("did you mean {name}?"),
                    None => format!("there is {}", known.join(", ")),
                };
                CliError::usage(format!("the files declare no Rollout {wanted:?}"), hint)
            })
        }
    }
}

/// Whether an object has a part in the release of the Rollout.
fn is_part(object: &Manifest, rollout: &Manifest, used: &BTreeSet<TemplateKey>) -> bool {
    match object.kind.as_str() {
        "Rollout" => object.title() == rollout.title() && object.namespace == rollout.namespace,
        "AnalysisTemplate" | "ClusterAnalysisTemplate" => used.contains(&key_of(object)),
        "AnalysisRun" | "Experiment" => false,
        _ => true,
    }
}

fn key_of(template: &Manifest) -> TemplateKey {
    TemplateKey {
        is_cluster_scope: template.kind == Kind::ClusterAnalysisTemplate.as_str(),
        name: template.name.clone(),
    }
}

/// The templates that the analyses of a Rollout lead to.
fn used_templates(
    manifests: &[Manifest],
    rollout: &Manifest,
    spec: &RolloutSpec,
) -> BTreeSet<TemplateKey> {
    let library = library(manifests, &rollout.namespace);
    let mut used = BTreeSet::new();
    let mut open: Vec<TemplateKey> = analysis_fields(spec)
        .into_iter()
        .flat_map(|it| it.analysis.templates.iter().map(TemplateKey::from))
        .collect();
    while let Some(next) = open.pop() {
        if used.insert(next.clone())
            && let Some(template) = library.get(&next)
        {
            open.extend(template.templates.iter().map(TemplateKey::from));
        }
    }
    used
}

/// Every analysis, resolved. Here a missing template is an error: nothing stands in for a judgement.
fn analyses(
    manifests: &[Manifest],
    rollout: &Manifest,
    spec: &RolloutSpec,
) -> Result<Vec<Analysis>, CliError> {
    let library = library(manifests, &rollout.namespace);
    let mut found = Vec::new();
    for AnalysisField { field, analysis, inline, place } in analysis_fields(spec) {
        // Revisions have no names yet; any text does.
        let facts = RolloutFacts {
            rollout: &rollout.json,
            latest_hash: "latest",
            stable_hash: Some("stable"),
        };
        let wrong = |problem: String| {
            let place = format!("{}:{}", rollout.file, rollout.node.line_of(&field));
            CliError::refused(
                format!("{place}: {}: {field}: {problem}", rollout.title()),
                "give the missing files with further -f",
            )
        };
        let planned = plan_run(analysis, inline, &library, &facts);
        let mut planned = planned.map_err(|error| match error {
            TemplateError::Missing(keys) => {
                let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
                wrong(format!("not in these files: {}", names.join(", ")))
            }
            other => wrong(other.to_string()),
        })?;
        complete(&mut planned.spec, place, &ANY_REVISIONS, 0).map_err(&wrong)?;
        let run = ResolvedRun::resolve(&planned.spec).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            wrong(problems.join("; "))
        })?;
        found.push(Analysis { field, run });
    }
    Ok(found)
}

/// The document of a text that holds a line, without its markers.
fn document_at(text: &str, line: usize) -> Option<String> {
    let mut documents: BTreeMap<usize, String> = BTreeMap::new();
    let mut begin = 1;
    for (idx, content) in text.split_inclusive('\n').enumerate() {
        if content.trim_end() == "---" || content.starts_with("--- ") {
            begin = idx + 2;
            continue;
        }
        documents.entry(begin).or_default().push_str(content);
    }
    documents.range(..=line).next_back().map(|(_, document)| document.clone())
}
