//! A short share of the simulation in every test run: each case of the corpus, a few seeds, and that
//! a seed is the same history alone and among others. `.ci/run simulation` has the long share.

#![expect(clippy::expect_used, reason = "helpers of tests fail like the tests themselves")]

use std::process::Command;

fn simulate(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-sim"));
    let output = command.args(arguments).output().expect("sluice-sim can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "sluice-sim {arguments:?}:\n{text}\n{errors}");
}

#[test]
fn every_case_of_the_corpus_is_safe() {
    simulate(&["replay", concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")]);
}

#[test]
fn a_few_seeds_are_safe() {
    simulate(&["soak", "--from-seed", "1", "--count", "4"]);
}

#[test]
fn a_seed_is_one_history_alone_and_among_others() {
    simulate(&["same", "--from-seed", "1", "--count", "1"]);
}
