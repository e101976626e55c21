//! The architecture as tests: which room may use which, what the pure rooms never touch, and who
//! alone may do certain things. Each rule is also tried on a file that breaks it.
//!
//! A rule is changed here and in ARCHITECTURE.md together, or not at all.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

#[cfg(test)]
mod source;

use regex::Regex;
use source::{Source, drop_test_files, production, read_all};

/// The rooms in layers, lowest first. A room may use itself and everything in the layers before its
/// own; rooms of one layer do not know each other. The longest name that fits a module is its room.
const LAYERS: &[&[&str]] = &[
    // A constant in everything that ships.
    &["mutants"],
    // The scalars of the API are below the rooms that describe themselves with them.
    &["weight", "revision", "api::values"],
    &["traffic", "metrics::spec"],
    // Values that pure rooms judge; the rest of `metrics` measures.
    &["metrics::sample"],
    &["api"],
    &["analysis", "git"],
    &["plan"],
    &["clock", "breakdown"],
    &["telemetry"],
    &["generate"],
    // Judges the judge; has no part in judging a release.
    &["evaluation"],
    &["metrics", "git::backend"],
    // What speaks to a Git server through the port, and the two that are behind it.
    &["git::binary", "git::http", "git::memory", "git::executor"],
    // The offline form of a revert; the controller does not know it.
    &["restore"],
    &["observe"],
    &["act"],
    &["controller"],
    &["sim"],
    &["dashboard"],
    &["cli"],
    &["demo"],
    &["bin"],
];

/// Rooms that touch no clock, client, log, randomness, file, network or thread, and never wait.
const PURE: &[&str] = &[
    "mutants",
    "weight",
    "revision",
    "traffic",
    "metrics::spec",
    "metrics::sample",
    "api",
    "api::values",
    "analysis",
    "plan",
    "git",
    "generate",
];

/// What a pure room must not name.
const IMPURE: &str = r"\basync\s+(fn|move)\b|\.await\b|\b\w*Client\b|\breqwest\b|\btokio(_util)?::|::now\(|\btracing::|\b(fastrand|rand)::|\bstd::(env|fs|net|process|thread|io)\b|\b(SystemTime|Instant)\b";

/// Rooms whose every run must be the same for the same inputs: they know no clock but tokio's, no
/// randomness but what they are given, no environment, and nothing whose order is random.
const REPEATABLE: &[&str] = &["sim"];

/// What a repeatable room must not name.
const UNREPEATABLE: &str = r"\bHash(Map|Set)\b|::now_v[14]\b|\b(Utc|SystemTime|Local)::now\b|\bSystemClock\b|\b(fastrand|rand|getrandom)::|\bfrom_system\b|\bstd::(env|fs|process|thread)\b|\bstd::time::(Instant|SystemTime)\b|\btokio::select!";

fn layer_of(room: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&room)).unwrap()
}

/// The room of a module path; none for `lib.rs` and for names of other crates.
fn room_of(module: &[String]) -> Option<&'static str> {
    let rooms = LAYERS.iter().flat_map(|layer| layer.iter().copied());
    let fitting = rooms.filter(|room| {
        let segments: Vec<&str> = room.split("::").collect();
        module.len() >= segments.len() && segments.iter().zip(module).all(|(a, b)| a == b)
    });
    fitting.max_by_key(|room| room.len())
}

fn wrong_imports(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(room) = room_of(&file.module) else {
            if !file.module.is_empty() {
                wrong.push(format!("{} belongs to no room of tests/architecture", file.path));
            }
            continue;
        };
        for import in file.imports() {
            let Some(used) = room_of(&import) else { continue };
            if used != room && layer_of(used) >= layer_of(room) {
                wrong.push(format!("{}: {room} must not use {}", file.path, import.join("::")));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn impurities(files: &[Source]) -> Vec<String> {
    let impure = Regex::new(IMPURE).unwrap();
    files
        .iter()
        .filter(|file| room_of(&file.module).is_some_and(|room| PURE.contains(&room)))
        .flat_map(|file| matches(file, &impure))
        .collect()
}

fn unrepeatable(files: &[Source]) -> Vec<String> {
    let pattern = Regex::new(UNREPEATABLE).unwrap();
    files
        .iter()
        .filter(|file| room_of(&file.module).is_some_and(|room| REPEATABLE.contains(&room)))
        .flat_map(|file| matches(file, &pattern))
        .collect()
}

/// `file:line: what was found` for each match in the production code.
fn matches(file: &Source, pattern: &Regex) -> Vec<String> {
    file.code
        .lines()
        .enumerate()
        .flat_map(|(idx, line)| pattern.find_iter(line).map(move |found| (idx + 1, found.as_str())))
        .map(|(line, found)| format!("{}:{line}: {}", file.path, found.trim()))
        .collect()
}

/// Only the Git backend may run a program.
fn executions(files: &[Source]) -> Vec<String> {
    let pattern =
        Regex::new(r"\bprocess::(Command|\{[^}]*Command)|\bCommand::new\b|\bexecv").unwrap();
    let allowed = |file: &&Source| !file.module.join("::").starts_with("git::binary");
    files.iter().filter(allowed).flat_map(|file| matches(file, &pattern)).collect()
}

/// Only demonstrations, and people who restore by hand, have Git repositories on this machine in the
/// place of servers.
fn local_repositories(files: &[Source]) -> Vec<String> {
    let pattern = Regex::new(r"\bwith_local\b|\bLocalRepository\b").unwrap();
    let allowed = |file: &&Source| {
        let module = file.module.join("::");
        !["git::binary", "demo", "restore"].iter().any(|room| module.starts_with(room))
    };
    files.iter().filter(allowed).flat_map(|file| matches(file, &pattern)).collect()
}

/// Only the projection makes a status. (Nothing is made where an absent one is read as empty.)
fn made_statuses(files: &[Source]) -> Vec<String> {
    let pattern = Regex::new(r"(\w+|->)?\s*\bRolloutStatus\s*\{").unwrap();
    let harmless = Regex::new(r"^(struct|impl|for|->)\s").unwrap();
    let allowed = |file: &&Source| file.module != ["plan", "status"];
    let found = files.iter().filter(allowed).flat_map(|file| matches(file, &pattern));
    found.filter(|found| !harmless.is_match(found.split(": ").nth(1).unwrap_or(""))).collect()
}

fn without_header(files: &[Source]) -> Vec<String> {
    let has_none = |file: &&Source| !file.text.starts_with("//!");
    files.iter().filter(has_none).map(|file| file.path.clone()).collect()
}

/// Longest file before its tests, in lines.
const MAX_LINES: usize = 500;
/// Files that are longer, and may only shrink. An entry that is no longer needed is an error.
const LONGER: &[(&str, usize)] = &[];

fn too_long(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let lines = file.production_lines();
        let exception = LONGER.iter().find(|(path, _)| *path == file.path);
        let most = exception.map_or(MAX_LINES, |(_, lines)| *lines);
        if lines > most {
            found.push(format!("{}: {lines} lines before its tests, at most {most}", file.path));
        } else if exception.is_some() && lines <= MAX_LINES {
            found.push(format!("{} needs no exception any more: remove it", file.path));
        }
    }
    found
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn a_room_uses_only_the_rooms_before_it() {
    assert_none(&wrong_imports(&production()), "against the order of the rooms");
}

#[test]
fn the_pure_rooms_touch_no_clock_client_log_or_randomness() {
    assert_none(&impurities(&production()), "not pure");
}

#[test]
fn the_simulation_is_the_same_for_the_same_inputs() {
    assert_none(&unrepeatable(&production()), "differs from run to run");
}

#[test]
fn only_the_git_backend_runs_a_program() {
    assert_none(&executions(&production()), "runs a program");
}

#[test]
fn the_controller_knows_no_git_repositories_on_this_machine() {
    assert_none(&local_repositories(&production()), "reaches a local repository");
}

#[test]
fn only_the_projection_makes_a_rollout_status() {
    assert_none(&made_statuses(&production()), "makes a RolloutStatus");
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = ["src", "tests", "e2e"].into_iter().flat_map(read_all).collect::<Vec<_>>();
    assert_none(&without_header(&files), "does not begin with //!");
}

#[test]
fn no_file_is_longer_than_a_person_can_read() {
    assert_none(&too_long(&production()), "too long");
}

/// The rules themselves, tried on files that break them.
mod rules {
    use super::*;

    fn broken(path: &str, text: &str) -> [Source; 1] {
        [Source::new(path, text)]
    }

    #[test]
    fn an_import_against_the_order_is_found_in_each_of_its_forms() {
        for text in [
            "use crate::controller::run;",
            "use crate::{weight::Weight, controller};",
            "pub use crate::{api::{self, Kind}, controller::{lease::Lease as L, http}};",
            "fn f() { let x = crate::controller::run(); }",
            "fn f(x: &crate::controller::Context) {}",
            "use super::super::controller;",
            "use sluice::controller;",
        ] {
            let found = wrong_imports(&broken("src/plan/status.rs", text));
            let first = found.first().map_or("", String::as_str);
            assert!(first.contains("plan must not use controller"), "{text}: {found:?}");
        }
    }

    #[test]
    fn imports_of_lower_rooms_of_oneself_and_of_other_crates_are_fine() {
        for text in [
            "use crate::{weight::Weight, api::{self, Kind}, analysis};",
            "use super::view::View; use self::types::Step; use super::super::api::values::Time;",
            "use std::fmt; use serde::{Deserialize, Serialize}; fn f() -> fmt::Result { x::y() }",
            "// use crate::controller;\n/* crate::controller */ const X: &str = \"crate::controller\";",
            "#[cfg(test)]\nmod tests { use crate::controller; }",
            "#[cfg(test)]\nuse crate::controller;\nfn f() {}",
        ] {
            let found = wrong_imports(&broken("src/plan/status.rs", text));
            assert_eq!(found, Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn rooms_of_one_layer_do_not_know_each_other() {
        let found = wrong_imports(&broken("src/analysis/judge.rs", "use crate::git::source;"));
        assert_eq!(found, ["src/analysis/judge.rs: analysis must not use git::source"]);
    }

    #[test]
    fn the_longest_name_decides_about_the_room() {
        let spec = broken("src/metrics/spec/web.rs", "use crate::metrics::transport::send;");
        assert_eq!(wrong_imports(&spec).len(), 1);
        let values = broken("src/metrics/spec/web.rs", "use crate::api::values::RawObject;");
        assert_eq!(wrong_imports(&values), Vec::<String>::new());
        let reexport = broken("src/metrics/spec/web.rs", "use crate::api::RawObject;");
        assert_eq!(wrong_imports(&reexport).len(), 1);
    }

    #[test]
    fn the_demonstrations_way_to_git_is_found_in_the_controller() {
        let text = "let config = config.with_local(&url, &repository);";
        assert_eq!(local_repositories(&broken("src/controller/run.rs", text)).len(), 1);
        assert_eq!(local_repositories(&broken("src/demo/story.rs", text)), Vec::<String>::new());
    }

    #[test]
    fn a_file_outside_of_every_room_is_found() {
        assert_eq!(wrong_imports(&broken("src/helpers.rs", "")).len(), 1);
    }

    #[test]
    fn each_impurity_is_found_in_a_pure_room_and_none_elsewhere() {
        for text in [
            "async fn f() {}",
            "fn f() { g().await }",
            "fn f(client: &kube::Client) {}",
            "use reqwest::Url;",
            "use tokio::time;",
            "let now = Utc::now();",
            "tracing::info!(\"x\");",
            "let x = fastrand::u8(..);",
            "let x = std::env::var(\"X\");",
            "std::thread::spawn(f);",
            "let t: Instant = x;",
        ] {
            assert_eq!(impurities(&broken("src/plan/mod.rs", text)).len(), 1, "{text}");
            assert_eq!(impurities(&broken("src/act/mod.rs", text)).len(), 0, "{text}");
        }
        let fine = "/// Never calls `Utc::now()`.\nfn f() -> &'static str { \"tokio::time\" }\n\
                    #[cfg(test)]\nmod tests { fn f() { Utc::now(); } }";
        assert_eq!(impurities(&broken("src/plan/mod.rs", fine)), Vec::<String>::new());
    }

    #[test]
    fn what_differs_from_run_to_run_is_found_in_the_simulation_and_nowhere_else() {
        for text in [
            "use std::collections::HashMap;",
            "use std::collections::{BTreeMap, HashSet};",
            "let now = Utc::now();",
            "let clock = SystemClock;",
            "let x = fastrand::u8(..);",
            "let x = SeededEntropy::from_system();",
            "let x = std::env::var(\"X\");",
            "use std::time::Instant;",
            "tokio::select! { x = y => {} }",
        ] {
            assert_eq!(unrepeatable(&broken("src/sim/api/store.rs", text)).len(), 1, "{text}");
            assert_eq!(unrepeatable(&broken("src/act/mod.rs", text)).len(), 0, "{text}");
        }
        let fine = "use std::collections::BTreeMap; use tokio::time::Instant; let x = clock.now();";
        assert_eq!(unrepeatable(&broken("src/sim/api/store.rs", fine)), Vec::<String>::new());
    }

    #[test]
    fn a_program_that_is_run_elsewhere_is_found() {
        for text in [
            "use std::process::Command;",
            "use tokio::process::{Child, Command};",
            "fn f() { tokio::process::Command::new(x); }",
            "Command::new(x);",
        ] {
            assert!(!executions(&broken("src/act/mod.rs", text)).is_empty(), "{text}");
            assert!(executions(&broken("src/git/binary/run.rs", text)).is_empty(), "{text}");
        }
        assert!(executions(&broken("src/bin/sluice.rs", "enum Command { Generate }")).is_empty());
    }

    #[test]
    fn a_status_that_is_made_elsewhere_is_found() {
        for text in ["let s = RolloutStatus { abort: true, ..x };", "f(RolloutStatus {});"] {
            assert_eq!(made_statuses(&broken("src/act/mod.rs", text)).len(), 1, "{text}");
            assert_eq!(made_statuses(&broken("src/plan/status.rs", text)).len(), 0, "{text}");
        }
        for text in [
            "pub struct RolloutStatus {",
            "impl RolloutStatus {",
            "impl Default for RolloutStatus {",
            "fn f() -> RolloutStatus {",
            "let ValidRolloutStatus { a } = x;",
        ] {
            assert_eq!(made_statuses(&broken("src/act/mod.rs", text)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_missing_header_and_a_long_file_are_found() {
        assert_eq!(without_header(&broken("src/x.rs", "use a;\n//! Late.")), ["src/x.rs"]);
        let line = "fn f() {}\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(300));
        let fits = line.repeat(MAX_LINES) + &tests;
        assert_eq!(too_long(&broken("src/x.rs", &fits)), Vec::<String>::new());
        assert_eq!(too_long(&broken("src/x.rs", &line.repeat(MAX_LINES + 1))).len(), 1);
    }

    #[test]
    fn files_that_are_declared_as_tests_are_left_out() {
        let parent = Source::new("src/git/plan/mod.rs", "#[cfg(test)]\nmod tests;\nmod ladder;");
        let tests = Source::new("src/git/plan/tests.rs", "use crate::controller;");
        let ladder = Source::new("src/git/plan/ladder.rs", "");
        let text = "#[cfg(test)]\n#[path = \"far_tests.rs\"]\nmod tests;";
        let other = Source::new("src/git/far.rs", text);
        let far = Source::new("src/git/far_tests.rs", "use crate::controller;");
        let kept = drop_test_files(vec![parent, tests, ladder, other, far]);
        let paths: Vec<_> = kept.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["src/git/plan/mod.rs", "src/git/plan/ladder.rs", "src/git/far.rs"]);
    }
}
