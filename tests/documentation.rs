//! The documentation is true where a machine can tell: its manifests are accepted, its links lead
//! somewhere, and the tests that ARCHITECTURE.md names exist.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

#[cfg(test)]
mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use regex::Regex;
use serde::Deserialize as _;
use serde_json::Value;

use common::{kind_of, problems, spec_schema, unknown_fields};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    for folder in [".", "docs"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    pages
}

#[test]
fn every_manifest_of_the_documentation_is_accepted() {
    let block = Regex::new(r"(?s)```yaml\n(.*?)```").unwrap();
    let mut checked = 0;
    for (path, text) in pages() {
        for found in block.captures_iter(&text) {
            for document in serde_norway::Deserializer::from_str(&found[1]) {
                let manifest = Value::deserialize(document).unwrap();
                let Some(kind) = kind_of(&manifest) else { continue };
                let mut wrong = Vec::new();
                unknown_fields("spec", &spec_schema(kind), &manifest["spec"], &mut wrong);
                wrong.extend(problems(&manifest));
                assert_eq!(wrong, Vec::<String>::new(), "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "only {checked} manifests were found");
}

#[test]
fn every_block_of_a_rollout_has_fields_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/git-revert.md")).unwrap();
    let block = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let part: Value = serde_norway::from_str(block).unwrap();
    let mut wrong = Vec::new();
    let schema = spec_schema(sluice::api::Kind::Rollout);
    unknown_fields("spec", &schema, &part["spec"], &mut wrong);
    assert_eq!(wrong, Vec::<String>::new());
}

/// An alert on a word that is never sent would never fire.
#[test]
fn every_word_in_an_alert_is_one_that_its_metric_can_have() {
    use sluice::telemetry::catalog::CATALOG;
    let selector = Regex::new(r"(sluice_\w+)\{([^}]*)\}").unwrap();
    let matcher = Regex::new(r#"(\w+)(?:=~|!~|!=|=)"([^"]*)""#).unwrap();
    let mut seen = 0;
    for file in ["charts/sluice/files/alerts.yaml", "charts/sluice/ci/alerts-test.yaml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for found in selector.captures_iter(&text) {
            let doc = CATALOG.iter().find(|doc| doc.name == &found[1]);
            let doc = doc.unwrap_or_else(|| panic!("{file}: there is no metric {}", &found[1]));
            for found in matcher.captures_iter(&found[2]) {
                // What the scrape adds.
                if &found[1] == "instance" {
                    continue;
                }
                let label = doc.labels.iter().find(|label| label.name == &found[1]);
                let label =
                    label.unwrap_or_else(|| panic!("{file}: {} has no {}", doc.name, &found[1]));
                for word in found[2].split('|').filter(|_| !label.words.is_empty()) {
                    assert!(label.words.contains(&word), "{file}: {} of {}", word, doc.name);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 5, "only {seen} words were seen");
}

/// The plugin's output for a command line.
fn told(line: &str) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = sluice::cli::Console {
        out: &mut out,
        err: &mut err,
        stdin: &mut std::io::empty(),
        terminal: sluice::cli::Terminal::default(),
        now: &|| DateTime::UNIX_EPOCH,
        format: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words = line.split_whitespace().map(Into::into);
    let connector = sluice::cli::Connector::Kubeconfig;
    let exit = runtime.block_on(sluice::cli::run(words, &mut console, &connector));
    let mut told = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
    if exit.code() != 0 {
        writeln!(told, "(exit code {})", exit.code()).unwrap();
    }
    told
}

/// With UPDATE_DOCS=1 the page is written anew.
#[test]
fn the_page_of_simulate_shows_what_the_program_says() {
    let path = root().join("docs/simulate.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let manifest = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rollout.yaml");
    std::fs::write(&file, manifest).unwrap();
    let here = file.display().to_string();
    let block = Regex::new(r"(?s)```console\n\$ kubectl sluice ([^\n]*)\n.*?```").unwrap();
    let mut shown = 0;
    let new = block.replace_all(&page, |found: &regex::Captures<'_>| {
        shown += 1;
        let line = format!(
            "kubectl-sluice {}",
            found[1].replace("-f rollout.yaml", &format!("-f {here}"))
        );
        let told = told(&line).replace(&here, "rollout.yaml");
        format!("```console\n$ kubectl sluice {}\n{told}```", &found[1])
    });
    assert!(shown >= 3, "only {shown} examples");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, new.as_bytes()).unwrap();
    } else {
        assert_eq!(new, page, "docs/simulate.md: see UPDATE_DOCS");
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let link = Regex::new(r"\]\(([^)#:]+)\)").unwrap();
    for (path, text) in pages() {
        for found in link.captures_iter(&text) {
            let target = path.parent().unwrap().join(&found[1]);
            assert!(target.exists(), "{} links to {}", path.display(), &found[1]);
        }
    }
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let line = Regex::new(r"`(tests/[\w/]+)`(?:: `(\w+?)(\.\.\.)?`)?").unwrap();
    let mut named = 0;
    for found in line.captures_iter(&text) {
        let path = root().join(&found[1]);
        let candidates = [path.with_extension("rs"), path.join("main.rs")];
        let file = candidates.into_iter().find(|candidate| candidate.exists());
        let file = file.unwrap_or_else(|| panic!("{} does not exist", &found[1]));
        if let Some(test) = found.get(2) {
            let source = std::fs::read_to_string(file).unwrap();
            let wanted = format!("fn {}", test.as_str());
            assert!(source.contains(&wanted), "{} has no test {}", &found[1], test.as_str());
            named += 1;
        }
    }
    assert!(named >= 10, "only {named} tests are named");
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_the_table_of_the_git_revert_names_exist() {
    let text = std::fs::read_to_string(root().join("docs/git-revert-tests.md")).unwrap();
    let mut code = String::new();
    for folder in ["src", "tests", "e2e"] {
        sources(&root().join(folder), &mut code);
    }
    let name = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`").unwrap();
    let mut named = 0;
    for found in name.captures_iter(&text) {
        assert!(code.contains(&format!("fn {}(", &found[1])), "there is no test {}", &found[1]);
        named += 1;
    }
    assert!(named >= 70, "only {named} tests are named");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    assert_eq!(rows.count(), 54);
}

#[test]
fn the_architecture_fits_into_a_sitting() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() < 300);
}
