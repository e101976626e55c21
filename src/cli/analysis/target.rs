//! The template that is tried, and the run that it would become.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::args::TemplateArgs;
use crate::analysis::ResolvedRun;
use crate::analysis::arguments::RolloutFacts;
use crate::analysis::comparing::place::{Place, Revisions, complete};
use crate::analysis::resolved::Judge;
use crate::analysis::templates::{TemplateKey, TemplateLibrary, plan_run};
use crate::api::ApiNames;
use crate::api::analysis::{AnalysisTemplateRef, InlineAnalysis, RolloutAnalysis};
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::lint::object::{Manifest, Parsed};
use crate::cli::lint::report::Severity;
use crate::cli::lint::{read, read_files, refuse};
use crate::cli::output::Console;
use crate::metrics::spec::Provider;
use crate::plan::validate::{Step, ValidStrategy, validate};

/// The template and those that it refers to.
pub(super) struct Target {
    library: TemplateLibrary,
    /// Which it is.
    pub(super) key: TemplateKey,
    /// The Rollouts beside it that release step by step, with their steps.
    pub(super) stepwise: Vec<(String, Vec<Step>)>,
}

/// The two ReplicaSets that are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ArmNames {
    /// The new one.
    pub(super) canary: Option<String>,
    /// The stable one.
    pub(super) stable: Option<String>,
}

/// The hash of the pods of a ReplicaSet: the end of its name.
fn hash_of(set: &str) -> &str {
    set.rsplit_once('-').map_or(set, |(_, hash)| hash)
}

impl Target {
    /// Reads the files. What is wrong in them is told as `lint` tells it.
    pub(super) fn read(
        console: &mut Console<'_>,
        args: &TemplateArgs,
        flags: &ClusterFlags,
        purpose: &str,
    ) -> Result<Self, CliError> {
        let names = ApiNames::for_group(&flags.api_group)
            .map_err(|error| CliError::Usage { message: error.to_string(), hint: None })?;
        let files = read_files(console, args.files.iter(), purpose)?;
        let namespace = flags.namespace.as_deref().unwrap_or("default");
        let reading = read(&files, names, namespace);
        if reading.findings.iter().any(|found| found.severity == Severity::Error) {
            return refuse(console, reading.findings, purpose);
        }
        // A template of any namespace may be tried; those of one file are one set.
        let library: TemplateLibrary = reading
            .manifests
            .iter()
            .filter_map(|manifest| match &manifest.parsed {
                Parsed::Template(spec, is_cluster_scope) => {
                    let name = manifest.name.clone();
                    let key = TemplateKey { is_cluster_scope: *is_cluster_scope, name };
                    Some((key, spec.as_ref().clone()))
                }
                Parsed::None
                | Parsed::Rollout(_)
                | Parsed::Source
                | Parsed::Credential
                | Parsed::Run => None,
            })
            .collect();
        let key = chosen(&library, args.template.as_deref(), purpose)?;
        let steps = |manifest: &Manifest| {
            let Parsed::Rollout(spec) = &manifest.parsed else { return None };
            match validate(&manifest.name, spec).usable?.strategy {
                ValidStrategy::Canary(canary) => Some((manifest.name.clone(), canary.steps)),
                ValidStrategy::BlueGreen(_) => None,
            }
        };
        let stepwise = reading.manifests.iter().filter_map(steps).collect();
        Ok(Self { library, key, stepwise })
    }

    /// The run of a release that lasts for `length`.
    ///
    /// # Errors
    /// [`CliError`]: what the template needs and was not given, or what is wrong with it.
    pub(super) fn run(
        &self,
        arms: &ArmNames,
        args: &BTreeMap<String, String>,
        length: TimeDelta,
    ) -> Result<ResolvedRun, CliError> {
        let refused = |message: String| CliError::Refused { message, hint: None };
        let given: Vec<Value> =
            args.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut analysis: RolloutAnalysis = serde_json::from_value(json!({"args": given}))
            .map_err(|error| refused(error.to_string()))?;
        analysis.templates = vec![AnalysisTemplateRef {
            template_name: self.key.name.clone(),
            cluster_scope: self.key.is_cluster_scope.then_some(true),
        }];
        let hash = |set: &Option<String>| set.as_deref().map(|set| hash_of(set).to_owned());
        let (latest, stable) = (hash(&arms.canary), hash(&arms.stable));
        let facts = RolloutFacts {
            rollout: &Value::Null,
            latest_hash: latest.as_deref().unwrap_or_default(),
            stable_hash: stable.as_deref(),
        };
        let none = InlineAnalysis::default();
        let planned = plan_run(&analysis, &none, &self.library, &facts)
            .map_err(|error| refused(format!("{}: {error}", self.key)))?;
        if let Some(unknown) = planned.unused_args.first() {
            return Err(refused(format!("{} has no argument {unknown:?}", self.key)));
        }
        let mut spec = planned.spec;
        let revisions = Revisions {
            canary: arms.canary.as_deref().map(|set| (set, hash_of(set))),
            stable: arms.stable.as_deref().map(|set| (set, hash_of(set))),
        };
        let place = Place::Background { has_steps: true, pauses: length };
        complete(&mut spec, place, &revisions, 0).map_err(|problem| {
            CliError::refused(problem, "name the ReplicaSets that are compared: canary and stable")
        })?;
        ResolvedRun::resolve(&spec).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            refused(format!("{}: {}", self.key, all.join("; ")))
        })
    }
}

/// Whether every metric of a run can be measured over series.
///
/// # Errors
/// The first that cannot.
pub(super) fn check_measurable(run: &ResolvedRun) -> Result<(), CliError> {
    for metric in &run.metrics {
        let is_series = match (&metric.judge, metric.provider.chosen()) {
            (Judge::Comparison(_), _) | (_, Ok(Provider::Prometheus(_))) => true,
            (_, Ok(_) | Err(_)) => false,
        };
        if !is_series {
            return Err(CliError::refused(
                format!("the metric {:?} is not measured in Prometheus", metric.name),
                "only metrics over series of Prometheus can be tried; put others into a template of \
                 their own",
            ));
        }
    }
    Ok(())
}

/// The template that is meant: the named one, or the only one to which no other refers.
fn chosen(
    library: &TemplateLibrary,
    wanted: Option<&str>,
    purpose: &str,
) -> Result<TemplateKey, CliError> {
    let names = |keys: &[&TemplateKey]| {
        keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<&TemplateKey> = library.keys().collect();
    if let Some(wanted) = wanted {
        let found = all.iter().find(|key| key.name == wanted);
        return found.map(|key| (*key).clone()).ok_or_else(|| {
            CliError::usage(
                format!("the files declare no template {wanted:?}"),
                format!("there is {}", names(&all)),
            )
        });
    }
    let is_referred_to = |key: &TemplateKey| {
        library
            .values()
            .any(|spec| spec.templates.iter().any(|other| TemplateKey::from(other) == *key))
    };
    let roots: Vec<&TemplateKey> = all.into_iter().filter(|key| !is_referred_to(key)).collect();
    match roots.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(CliError::usage(
            format!("found no template to {purpose}"),
            "name the file that declares an AnalysisTemplate or ClusterAnalysisTemplate with -f",
        )),
        several => Err(CliError::usage(
            format!("the files declare {} templates: {}", several.len(), names(several)),
            "choose one with --template",
        )),
    }
}
