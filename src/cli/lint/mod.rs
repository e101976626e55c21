//! `lint`: checks manifests without a cluster, all problems at once, each with file and line. What a
//! spec means is judged by the same code as in the controller.

pub(in crate::cli) mod object;
mod podspec;
pub mod report;
pub(in crate::cli) mod routes;
pub(in crate::cli) mod schema;
pub(in crate::cli) mod set;
pub(in crate::cli) mod yaml;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::Manifest;
use report::{Finding, LintReport, Severity};
use set::Set;
use yaml::{Content, Node, Syntax, documents};

use super::args::{ClusterFlags, LintArgs};
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use crate::api::ApiNames;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How the standard input is named.
const STDIN: &str = "-";

/// A file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as given.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether the user named it; one that was found in a folder may be of no concern.
    pub is_named: bool,
}

/// Runs the command.
pub(super) fn run(
    console: &mut Console<'_>,
    args: &LintArgs,
    flags: &ClusterFlags,
) -> Result<Exit, CliError> {
    let names = ApiNames::for_group(&flags.api_group)
        .map_err(|error| CliError::Usage { message: error.to_string(), hint: None })?;
    let files = read_files(console, args.files.iter().chain(&args.more), "check")?;
    let namespace = flags.namespace.as_deref().unwrap_or("default");
    let report = lint(&files, names, namespace, args.allow_missing);
    if report.objects == 0 && report.findings.is_empty() {
        return Err(CliError::usage(
            "found no object of Sluice to check",
            format!("they have apiVersion {}", names.api_version()),
        ));
    }
    console.data(&report, &report.lines())?;
    console.say(&report.summary())?;
    if !report.unchecked.is_empty() {
        console.say(&format!(
            "not checked, since no object of the kind is in the files: {}",
            report.unchecked.join(", ")
        ))?;
    }
    Ok(if report.errors > 0 { Exit::Failed } else { Exit::Done })
}

/// Reads files, folders and the standard input.
///
/// # Errors
/// [`CliError`] when there is none, or one cannot be read. `purpose` is for its message.
pub(in crate::cli) fn read_files<'p>(
    console: &mut Console<'_>,
    paths: impl Iterator<Item = &'p PathBuf>,
    purpose: &str,
) -> Result<Vec<SourceFile>, CliError> {
    let mut files = Vec::new();
    let mut has_paths = false;
    for path in paths {
        has_paths = true;
        read_path(path, console, &mut files)?;
    }
    if has_paths {
        return Ok(files);
    }
    let hint = "name files or folders with -f, or read standard input with -f -";
    Err(CliError::usage(format!("no file to {purpose}"), hint))
}

fn read_path(
    path: &Path,
    console: &mut Console<'_>,
    files: &mut Vec<SourceFile>,
) -> Result<(), CliError> {
    let name = path.display().to_string();
    let failed = |source| CliError::Io { what: format!("read {name}"), source };
    if name == STDIN {
        let mut text = String::new();
        console.stdin.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        files.push(SourceFile { name, text, is_named: true });
        return Ok(());
    }
    if !path.is_dir() {
        let text = read_file(path).map_err(failed)?;
        files.push(SourceFile { name, text, is_named: true });
        return Ok(());
    }
    let mut found = Vec::new();
    search(path, &mut found, 0).map_err(failed)?;
    found.sort();
    if found.is_empty() {
        return Err(CliError::usage(
            format!("the folder {name} holds no manifest"),
            "files ending in .yaml, .yml and .json are read",
        ));
    }
    for path in found {
        let name = path.display().to_string();
        let text = read_file(&path)
            .map_err(|source| CliError::Io { what: format!("read {name}"), source })?;
        files.push(SourceFile { name, text, is_named: false });
    }
    Ok(())
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Manifests in a folder; hidden ones and links to folders are left out.
fn search(folder: &Path, found: &mut Vec<PathBuf>, depth: usize) -> std::io::Result<()> {
    const DEEPEST: usize = 32;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if depth < DEEPEST {
                search(&path, found, depth + 1)?;
            }
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Checks files: every object on its own, then what they say about each other.
pub fn lint(
    files: &[SourceFile],
    names: ApiNames,
    default_namespace: &str,
    allow_missing: bool,
) -> LintReport {
    let Reading { manifests, mut findings, objects } = read(files, names, default_namespace);
    let set = Set::check(&manifests, names, allow_missing);
    findings.extend(set.findings);
    LintReport {
        files: files.len(),
        objects,
        unchecked: set.unchecked.into_iter().collect(),
        ..LintReport::of(findings)
    }
}

/// Objects of files, each checked on its own.
#[derive(Debug)]
pub(in crate::cli) struct Reading {
    /// The objects.
    pub(in crate::cli) manifests: Vec<Manifest>,
    /// What was found.
    pub(in crate::cli) findings: Vec<Finding>,
    /// How many of them are ours.
    objects: usize,
}

/// Reads the objects of files and checks each on its own.
pub(in crate::cli) fn read(
    files: &[SourceFile],
    names: ApiNames,
    default_namespace: &str,
) -> Reading {
    let mut findings = Vec::new();
    let mut manifests = Vec::new();
    let mut objects = 0;
    for file in files {
        let (nodes, problems) = documents(&file.text);
        findings.extend(problems.iter().map(|problem| syntax(file, problem)));
        for node in nodes.into_iter().flat_map(items) {
            let mut manifest = Manifest::of(&file.name, node, default_namespace);
            if manifest.kind.is_empty() || manifest.api_version.is_empty() {
                if file.is_named {
                    findings.push(
                        manifest
                            .error("", "is no Kubernetes object: it has no apiVersion or no kind"),
                    );
                }
                continue;
            }
            if object::check(&mut manifest, names, &mut findings) {
                objects += 1;
            }
            manifests.push(manifest);
        }
    }
    Reading { manifests, findings, objects }
}

/// Tells what is wrong, and ends: `purpose` is what the manifests were meant for.
pub(in crate::cli) fn refuse<T>(
    console: &mut Console<'_>,
    findings: Vec<Finding>,
    purpose: &str,
) -> Result<T, CliError> {
    let errors: Vec<Finding> =
        findings.into_iter().filter(|one| one.severity == Severity::Error).collect();
    for line in LintReport::of(errors).lines() {
        console.say(&line.paint(false, 0))?;
    }
    Err(CliError::refused(
        format!("these manifests would not be carried out, so there is nothing to {purpose}"),
        "kubectl sluice lint checks all of them; `not supported yet` and `not built yet` name what \
         Sluice does not do",
    ))
}

/// The objects of a `List`, or the object itself.
fn items(node: Node) -> Vec<Node> {
    let is_list = node.text("kind") == Some("List") && node.text("apiVersion") == Some("v1");
    match node.get("items").map(|items| &items.content) {
        Some(Content::List(items)) if is_list => items.clone(),
        Some(_) | None => vec![node],
    }
}

fn syntax(file: &SourceFile, problem: &Syntax) -> Finding {
    // Arguments of analysis templates have braces too, but none of these.
    let is_template = ["{{-", "{{ .", "{{.", ".Values"].iter().any(|it| file.text.contains(it));
    let hint = is_template.then(|| {
        "this looks like a template: render it first, for example helm template . | kubectl sluice \
         lint -f -"
            .to_owned()
    });
    Finding {
        file: file.name.clone(),
        line: problem.line,
        severity: Severity::Error,
        object: String::new(),
        field: String::new(),
        problem: problem.problem.clone(),
        hint,
    }
}
