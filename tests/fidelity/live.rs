//! The same scenarios on a real kube-apiserver, at `$SLUICE_FIDELITY_SERVER` with the bearer tokens
//! `$SLUICE_FIDELITY_TOKEN` (administrator) and `$SLUICE_FIDELITY_TEAM_TOKEN` (user `team`, group
//! `devs`). It compares with what is recorded and with the server in memory; with
//! `$SLUICE_FIDELITY_RECORD=1` it records. `.ci/apiserver` runs it.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod normal;
#[cfg(test)]
mod real;
#[cfg(test)]
mod script;

#[cfg(test)]
use std::fmt::Write as _;
#[cfg(test)]
use std::path::Path;

#[cfg(test)]
use serde_json::{Value, json};

/// How often a scenario may be run until its answers are those that are expected.
#[cfg(test)]
const ATTEMPTS: usize = 3;

#[tokio::test]
async fn a_real_server_answers_what_is_recorded_and_so_does_ours() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity");
    let is_recording = std::env::var("SLUICE_FIDELITY_RECORD").is_ok_and(|value| value == "1");
    let only = std::env::var("SLUICE_FIDELITY_ONLY").unwrap_or_default();
    let real = real::Real::connect().await;
    let (mut differences, mut count) = (Vec::new(), 0);
    for file in script::read_all(&root.join("scenarios")) {
        if !only.is_empty() && !only.split(',').any(|name| name == file.name) {
            continue;
        }
        let path = root.join("recorded").join(format!("{}.jsonl", file.name));
        let recorded = compare::read(&path);
        let mut answers = Vec::new();
        for scenario in &file.scenarios {
            count += 1;
            let wanted = if is_recording {
                memory::run(scenario)
            } else {
                recorded.get(&scenario.name).cloned().unwrap_or_default()
            };
            let mut found = real.run(scenario, 1).await;
            let mut differing = compare::differences(&file.name, scenario, &found, &wanted);
            // What the real server's parts have not heard of yet makes it answer otherwise now and
            // then; what it never answers is a difference.
            for attempt in 2..=ATTEMPTS {
                if differing.is_empty() {
                    break;
                }
                println!("asked again: {}", differing.join("\n"));
                found = real.run(scenario, attempt).await;
                differing = compare::differences(&file.name, scenario, &found, &wanted);
            }
            differences.extend(differing);
            answers.push((scenario.name.clone(), found));
        }
        if is_recording {
            std::fs::write(&path, write(&answers)).unwrap();
        }
    }
    println!("{count} scenarios, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The text of a file of recorded answers: a line with the name of each scenario, then one line for
/// each answer.
#[cfg(test)]
fn write(scenarios: &[(String, Vec<Value>)]) -> String {
    let mut text = String::new();
    for (name, answers) in scenarios {
        let _ = writeln!(text, "{}", json!(name));
        for answer in answers {
            let _ = writeln!(text, "{answer}");
        }
    }
    text
}
