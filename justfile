# Recipes for daily work; `just` alone lists them. CI calls `.ci/run`, which runs the same commands.

# Lists the recipes.
default:
    @just --list

# Formatting, lints and documentation, as CI checks them.
check:
    git ls-files '*.rs' | xargs rustfmt --check --edition 2024
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Everything that needs no cluster.
test:
    cargo test --workspace --locked

# The scenarios and laws of the plan only.
scenarios:
    cargo test --test plan --locked

# Writes the CRDs, roles and pages that are made from the types.
generate:
    cargo run --locked --bin sluice -- generate

# Licences, sources and duplicates of the dependencies.
deny:
    cargo deny --locked check bans licenses sources

# Known vulnerabilities; needs the network.
advisories:
    cargo deny --locked check advisories

# Reads snapshots that changed, one by one.
review:
    cargo insta review

# Random faults for so many hours (0.1: six minutes), from another seed each time; docs/simulation.md.
soak hours='4':
    cargo build --profile simulation --locked -p sluice-sim
    target/simulation/sluice-sim soak --from-seed "$(date +%s)" --seconds "$(awk 'BEGIN { print int({{ hours }} * 3600) }')" --require-states

# The scenarios on a real cluster; builds one if KUBECONFIG is not set.
e2e *names:
    e2e/run {{ names }}

# What the controller costs: one decision, and 1,000 and 10,000 Rollouts on the cluster in memory.
bench *words:
    cargo bench --locked --bench cost -- {{ words }}

# A static release build.
release:
    cargo build --release --locked --target x86_64-unknown-linux-musl --bin sluice --bin kubectl-sluice

# What CI runs, here.
ci:
    .ci/run
