//! The API server in memory against the answers of the real one.
//!
//! `scenarios/*.txt` says what is asked, `recorded/*.jsonl` what kube-apiserver 1.34 answered; this
//! test asks the server in memory and compares. The test target `real_apiserver` asks a real server
//! the same, compares too, and records.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod normal;
#[cfg(test)]
mod script;

#[cfg(test)]
use std::path::Path;

#[test]
fn the_server_in_memory_answers_what_the_real_one_answered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity");
    let mut differences = Vec::new();
    let mut count = 0;
    for file in script::read_all(&root.join("scenarios")) {
        let path = root.join("recorded").join(format!("{}.jsonl", file.name));
        let recorded = compare::read(&path);
        for scenario in &file.scenarios {
            count += 1;
            let Some(wanted) = recorded.get(&scenario.name) else {
                differences.push(format!("{}: {}: not recorded", file.name, scenario.name));
                continue;
            };
            let found = memory::run(scenario);
            differences.extend(compare::differences(&file.name, scenario, wanted, &found));
        }
        for name in recorded.keys() {
            if !file.scenarios.iter().any(|scenario| scenario.name == *name) {
                differences.push(format!("{}: {name}: recorded, but no scenario", file.name));
            }
        }
    }
    println!("{count} scenarios");
    assert!(count >= 300, "only {count} scenarios");
    assert!(
        differences.is_empty(),
        "{} of {count} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
