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
            let found = real.run(scenario).await;
            if is_recording {
                let ours = memory::run(scenario);
                differences.extend(compare::differences(&file.name, scenario, &found, &ours));
            } else {
                let wanted = recorded.get(&scenario.name).map_or(&[][..], Vec::as_slice);
                differences.extend(compare::differences(&file.name, scenario, &found, wanted));
            }
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
