//! What objects in the given files say about each other: Services, routes, templates and metrics
//! sources that a Rollout names. Pure.
//!
//! An object that is not in the files may still be in the cluster. It counts as missing only when
//! others of its kind are given; else the reference is reported as not checked.

use std::collections::{BTreeMap, BTreeSet};

use super::object::{Manifest, Parsed};
use super::report::{Finding, Severity};
use super::routes;
use super::schema::nearest;
use crate::analysis::ResolvedRun;
use crate::analysis::arguments::RolloutFacts;
use crate::analysis::comparing::place::{Place, Revisions, complete};
use crate::analysis::templates::{TemplateError, TemplateKey, TemplateLibrary, merge, plan_run};
use crate::api::analysis::{
    AnalysisTemplateSpec, Comparison, InlineAnalysis, Metric, RolloutAnalysis,
};
use crate::api::rollout::RolloutSpec;
use crate::api::{ApiNames, LabelSelector};
use crate::metrics::spec::SourceKind;
use crate::plan::validate::{ValidRouting, string_map, validate};

/// What the checks of a set work with.
pub(in crate::cli) struct Set<'a> {
    manifests: &'a [Manifest],
    names: ApiNames,
    allow_missing: bool,
    /// What was found.
    pub(in crate::cli) findings: Vec<Finding>,
    /// References that could not be checked.
    pub(in crate::cli) unchecked: BTreeSet<String>,
}

/// A Rollout of the set.
pub(in crate::cli) struct RolloutOf<'a> {
    pub(in crate::cli) manifest: &'a Manifest,
    pub(in crate::cli) spec: &'a RolloutSpec,
}

impl<'a> Set<'a> {
    /// Checks everything.
    pub(in crate::cli) fn check(
        manifests: &'a [Manifest],
        names: ApiNames,
        allow_missing: bool,
    ) -> Self {
        let mut set = Self {
            manifests,
            names,
            allow_missing,
            findings: Vec::new(),
            unchecked: BTreeSet::new(),
        };
        set.duplicates();
        let rollouts: Vec<RolloutOf<'a>> = manifests
            .iter()
            .filter_map(|manifest| match &manifest.parsed {
                Parsed::Rollout(spec) => Some(RolloutOf { manifest, spec }),
                Parsed::None
                | Parsed::Template(..)
                | Parsed::Source
                | Parsed::Credential
                | Parsed::Run => None,
            })
            .collect();
        for rollout in &rollouts {
            set.services(rollout);
            routes::check(&mut set, rollout);
            set.analyses(rollout);
        }
        set.shared_services(&rollouts);
        for manifest in manifests {
            if let Parsed::Template(spec, is_cluster) = &manifest.parsed {
                set.nested_templates(manifest, spec);
                set.sources(manifest, "spec", &spec.metrics, &spec.comparison, *is_cluster);
            }
        }
        set
    }

    /// The API group's names.
    pub(super) fn names(&self) -> ApiNames {
        self.names
    }

    /// Objects of a kind of a group, in a namespace or, with `None`, of the cluster.
    fn of_kind(
        &self,
        is_group: impl Fn(&str) -> bool,
        kind: &str,
        namespace: Option<&str>,
    ) -> Vec<&'a Manifest> {
        self.manifests
            .iter()
            .filter(|manifest| manifest.kind == kind && is_group(manifest.group()))
            .filter(|manifest| namespace.is_none_or(|namespace| manifest.namespace == namespace))
            .collect()
    }

    /// The object that a field names; notes it when it is missing or cannot be checked.
    pub(super) fn find(
        &mut self,
        from: &Manifest,
        line_and_field: (usize, &str),
        group: &str,
        kind: &str,
        name: &str,
        is_cluster: bool,
    ) -> Option<&'a Manifest> {
        let namespace = (!is_cluster).then_some(from.namespace.as_str());
        let all = self.of_kind(|found| found == group, kind, namespace);
        if let Some(found) = all.iter().find(|manifest| manifest.name == name) {
            return Some(found);
        }
        if self.allow_missing {
            return None;
        }
        let (line, field) = line_and_field;
        if all.is_empty() {
            self.unchecked.insert(format!("{kind} {name}"));
            return None;
        }
        let mut found = from.error(field, format!("{kind} {name:?} is not in these files"));
        found.line = line;
        let known: Vec<&str> = all.iter().map(|manifest| manifest.name.as_str()).collect();
        found.hint = Some(match nearest(name, known.iter()) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("there is {}; --allow-missing if it is elsewhere", known.join(", ")),
        });
        self.findings.push(found);
        None
    }

    fn duplicates(&mut self) {
        let mut seen: BTreeMap<(&str, &str, &str, &str), &Manifest> = BTreeMap::new();
        for manifest in self.manifests.iter().filter(|manifest| !manifest.name.is_empty()) {
            let key = (manifest.group(), &*manifest.kind, &*manifest.namespace, &*manifest.name);
            match seen.get(&key) {
                Some(first) => {
                    let problem = format!("is declared twice, first at {}", first.place());
                    let found = manifest.finding(Severity::Warning, "metadata.name", problem);
                    self.findings.push(found);
                }
                None => {
                    seen.insert(key, manifest);
                }
            }
        }
    }

    fn services(&mut self, rollout: &RolloutOf<'a>) {
        for (field, name) in service_fields(rollout.spec) {
            let line = rollout.manifest.node.line_of(&field);
            let service = self.find(rollout.manifest, (line, &field), "", "Service", name, false);
            if let Some(service) = service {
                self.selector(rollout, &field, service);
            }
        }
    }

    /// A Service must select the pods of the Rollout, whatever their revision.
    fn selector(&mut self, rollout: &RolloutOf<'a>, field: &str, service: &Manifest) {
        let selector = string_map(service.json.pointer("/spec/selector"));
        let mut problem = None;
        if selector.is_empty() {
            problem = Some("has no selector, so that no revision can be put into it".to_owned());
        }
        let template = rollout.spec.template.as_ref().map(|raw| &raw.0);
        let labels = string_map(template.and_then(|raw| raw.pointer("/metadata/labels")));
        let own = self.names.revision_label();
        let wanted = LabelSelector {
            match_labels: selector.into_iter().filter(|(key, _)| key != own).collect(),
            ..LabelSelector::default()
        };
        if template.is_some() && !wanted.matches(&labels) {
            problem = Some(format!(
                "selects {}, but the labels of the Rollout's pods are {}",
                wanted.to_query(),
                labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
            ));
        }
        if let Some(problem) = problem {
            let text = format!("Service {:?} ({}) {problem}", service.name, service.place());
            self.findings.push(rollout.manifest.error(field, text));
        }
    }

    /// One Service cannot follow the revisions of two Rollouts.
    fn shared_services(&mut self, rollouts: &[RolloutOf<'a>]) {
        let mut users: BTreeMap<(&str, &str), &RolloutOf<'a>> = BTreeMap::new();
        for rollout in rollouts {
            for (field, service) in service_fields(rollout.spec) {
                let key = (rollout.manifest.namespace.as_str(), service);
                let Some(first) = users.get(&key) else {
                    users.insert(key, rollout);
                    continue;
                };
                if std::ptr::eq(first.manifest, rollout.manifest) {
                    continue;
                }
                let problem = format!(
                    "Service {service:?} is used by {} ({}) as well; each Rollout needs its own",
                    first.manifest.title(),
                    first.manifest.place()
                );
                self.findings.push(rollout.manifest.error(&field, problem));
            }
        }
    }

    fn analyses(&mut self, rollout: &RolloutOf<'a>) {
        let library = library(self.manifests, &rollout.manifest.namespace);
        for AnalysisField { field, analysis, inline, place } in analysis_fields(rollout.spec) {
            // The names of revisions are not known before they run; any text will do.
            let facts = RolloutFacts {
                rollout: &rollout.manifest.json,
                latest_hash: "latest",
                stable_hash: Some("stable"),
            };
            self.sources(rollout.manifest, &field, &inline.metrics, &inline.comparison, false);
            match plan_run(analysis, inline, &library, &facts) {
                Ok(mut planned) => {
                    for name in planned.unused_args {
                        let problem = format!("no template declares the argument {name:?}");
                        let found = rollout.manifest.finding(
                            Severity::Warning,
                            &format!("{field}.args"),
                            problem,
                        );
                        self.findings.push(found);
                    }
                    match complete(&mut planned.spec, place, &ANY_REVISIONS, 0) {
                        Ok(()) => {
                            self.planned(rollout, &field, &ResolvedRun::resolve(&planned.spec));
                        }
                        Err(problem) => {
                            self.findings.push(rollout.manifest.error(&field, problem));
                        }
                    }
                }
                Err(error) => self.template_error(rollout.manifest, &field, error),
            }
        }
    }

    /// What is wrong only with the arguments that this Rollout gives. Problems that a template has
    /// on its own are told there.
    fn planned(
        &mut self,
        rollout: &RolloutOf<'a>,
        field: &str,
        run: &Result<ResolvedRun, Vec<crate::analysis::Problem>>,
    ) {
        let Err(problems) = run else { return };
        let own: BTreeSet<String> = self
            .manifests
            .iter()
            .filter_map(|manifest| match &manifest.parsed {
                Parsed::Template(spec, _) => Some(spec),
                Parsed::None
                | Parsed::Rollout(_)
                | Parsed::Source
                | Parsed::Credential
                | Parsed::Run => None,
            })
            .flat_map(|spec| crate::analysis::resolve::template_problems(spec))
            .map(|problem| problem.message)
            .collect();
        for problem in problems.iter().filter(|problem| !own.contains(&problem.message)) {
            let text = format!("with these arguments, {problem}");
            self.findings.push(rollout.manifest.error(field, text));
        }
    }

    fn template_error(&mut self, manifest: &Manifest, field: &str, error: TemplateError) {
        match error {
            TemplateError::Missing(keys) => {
                for key in keys {
                    self.missing_template(manifest, field, &key);
                }
            }
            TemplateError::Problems(problems) => {
                for problem in problems {
                    let field = format!("{field}.{}", problem.field);
                    self.findings.push(manifest.error(&field, problem.message));
                }
            }
            TemplateError::Cycle(_) | TemplateError::TooMany => {
                self.findings.push(manifest.error(field, error.to_string()));
            }
        }
    }

    fn missing_template(&mut self, manifest: &Manifest, field: &str, key: &TemplateKey) {
        let kind =
            if key.is_cluster_scope { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
        let below = format!("{field}.templates");
        let line = manifest.node.line_of_text_below(&below, &key.name);
        let group = manifest.group().to_owned();
        // One that is there but could not be understood is told where it stands.
        self.find(manifest, (line, &below), &group, kind, &key.name, key.is_cluster_scope);
    }

    fn nested_templates(&mut self, manifest: &Manifest, spec: &AnalysisTemplateSpec) {
        if spec.templates.is_empty() {
            return;
        }
        if let Err(error) = merge(&spec.templates, &library(self.manifests, &manifest.namespace)) {
            self.template_error(manifest, "spec", error);
        }
    }

    /// The metrics sources that metrics name below a field, each of its own or all that compare together.
    fn sources(
        &mut self,
        manifest: &Manifest,
        base: &str,
        metrics: &[Metric],
        compared: &Comparison,
        is_cluster: bool,
    ) {
        let of_metric = |(idx, metric): (usize, &Metric)| {
            let provider = metric.provider.chosen().ok()?;
            let name = metric.provider.named().first().copied()?;
            let field = format!("{base}.metrics[{idx}].provider.{name}.source.name");
            Some((field, provider.source()?.clone()))
        };
        let common = compared.source.iter().map(|it| (format!("{base}.source.name"), it.clone()));
        let all = metrics.iter().enumerate().filter_map(of_metric).chain(common);
        for (field, source) in all.filter(|(_, source)| !source.name.contains("{{")) {
            let of_cluster = source.kind() == SourceKind::ClusterMetricsSource;
            // A template of the cluster finds such a source in the namespace of each run.
            if is_cluster && !of_cluster {
                continue;
            }
            let line = manifest.node.line_of(&field);
            let group = manifest.group().to_owned();
            let kind = source.kind().as_str();
            self.find(manifest, (line, &field), &group, kind, &source.name, of_cluster);
        }
    }
}

/// The templates that runs in a namespace find.
pub(in crate::cli) fn library(manifests: &[Manifest], namespace: &str) -> TemplateLibrary {
    manifests
        .iter()
        .filter_map(|manifest| match &manifest.parsed {
            Parsed::Template(spec, is_cluster)
                if *is_cluster || manifest.namespace == namespace =>
            {
                let key =
                    TemplateKey { is_cluster_scope: *is_cluster, name: manifest.name.clone() };
                Some((key, spec.as_ref().clone()))
            }
            Parsed::None
            | Parsed::Rollout(_)
            | Parsed::Template(..)
            | Parsed::Source
            | Parsed::Credential
            | Parsed::Run => None,
        })
        .collect()
}

/// The Services that a Rollout names, with their fields.
pub(in crate::cli) fn service_fields(spec: &RolloutSpec) -> Vec<(String, &str)> {
    let canary = spec.strategy.canary.as_ref();
    let blue_green = spec.strategy.blue_green.as_ref();
    [
        ("canary.stableService", canary.and_then(|it| it.stable_service.as_ref())),
        ("canary.canaryService", canary.and_then(|it| it.canary_service.as_ref())),
        ("blueGreen.activeService", blue_green.map(|it| &it.active_service)),
        ("blueGreen.previewService", blue_green.and_then(|it| it.preview_service.as_ref())),
    ]
    .into_iter()
    .filter_map(|(field, name)| Some((format!("spec.strategy.{field}"), name?.as_str())))
    .filter(|(_, name)| !name.is_empty())
    .collect()
}

/// An analysis that a Rollout asks for.
pub(in crate::cli) struct AnalysisField<'a> {
    /// Where it stands.
    pub(in crate::cli) field: String,
    /// What it names.
    pub(in crate::cli) analysis: &'a RolloutAnalysis,
    /// What stands in it itself.
    pub(in crate::cli) inline: &'a InlineAnalysis,
    /// For which part of an update it is.
    pub(in crate::cli) place: Place,
}

/// Stands for revisions that are not known before they run.
pub(in crate::cli) const ANY_REVISIONS: Revisions<'static> =
    Revisions { canary: Some(("latest", "latest")), stable: Some(("stable", "stable")) };

static NOTHING_INLINE: std::sync::LazyLock<InlineAnalysis> =
    std::sync::LazyLock::new(InlineAnalysis::default);

/// The analyses that a Rollout asks for.
pub(in crate::cli) fn analysis_fields(spec: &RolloutSpec) -> Vec<AnalysisField<'_>> {
    let mut fields = Vec::new();
    let plain = |field: String, analysis, place| AnalysisField {
        field,
        analysis,
        inline: &NOTHING_INLINE,
        place,
    };
    if let Some(canary) = &spec.strategy.canary {
        if let Some(background) = &canary.analysis {
            let has_steps = !canary.steps.is_empty();
            fields.push(AnalysisField {
                field: "spec.strategy.canary.analysis".to_owned(),
                analysis: &background.analysis,
                inline: &background.inline,
                place: Place::Background { has_steps, pauses: chrono::TimeDelta::zero() },
            });
        }
        for (idx, step) in canary.steps.iter().enumerate() {
            if let Some(analysis) = &step.analysis {
                let field = format!("spec.strategy.canary.steps[{idx}].analysis");
                fields.push(plain(field, analysis, Place::Step));
            }
        }
    }
    if let Some(blue_green) = &spec.strategy.blue_green {
        for (name, analysis) in [
            ("prePromotionAnalysis", &blue_green.pre_promotion_analysis),
            ("postPromotionAnalysis", &blue_green.post_promotion_analysis),
        ] {
            if let Some(analysis) = analysis {
                let field = format!("spec.strategy.blueGreen.{name}");
                fields.push(plain(field, analysis, Place::BlueGreen));
            }
        }
    }
    fields
}

/// The router of a Rollout, once its spec is usable.
pub(in crate::cli) fn routing(rollout: &RolloutOf<'_>) -> Option<ValidRouting> {
    validate(&rollout.manifest.name, rollout.spec).usable?.routing().cloned()
}
