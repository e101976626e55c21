# shellcheck shell=bash
# Builds our own programs. Sourced by e2e/up, e2e/run and e2e/bench.

# The controller is measured as users get it; SLUICE_E2E_PROFILE=dev builds faster while working on the tests themselves.
PROFILE="${SLUICE_E2E_PROFILE:-release}"
TARGET_DIR="${CARGO_TARGET_DIR:-$REPO_DIR/target}"
[[ $PROFILE == dev ]] && PROFILE_DIR=debug || PROFILE_DIR=$PROFILE

APP_BINARY="$TARGET_DIR/x86_64-unknown-linux-gnu/release/sluice-e2e-app"
DRIVER_BINARY="$TARGET_DIR/$PROFILE_DIR/sluice-e2e-driver"
# A controller that was built elsewhere, to compare two of them.
CONTROLLER_BINARY="${SLUICE_E2E_CONTROLLER:-$TARGET_DIR/$PROFILE_DIR/sluice}"
PLUGIN_BINARY="$TARGET_DIR/$PROFILE_DIR/kubectl-sluice"

# cargo_build ARGUMENT...: builds in the clone; what the compiler says is shown only when it fails.
cargo_build() {
	local said
	command -v cargo >/dev/null || die "cargo is missing; install the Rust tool chain"
	said=$(cd "$REPO_DIR" && cargo build --quiet "$@" 2>&1) || die "cargo build $* failed:
$said"
}

# Static, so that its image holds nothing else; naming the target keeps the flag away from build scripts.
build_app() {
	RUSTFLAGS="-C target-feature=+crt-static" cargo_build --release --target x86_64-unknown-linux-gnu --package sluice-e2e-app
}

build_driver() { cargo_build --profile "$PROFILE" --package sluice-e2e-driver; }

build_controller() {
	[[ -z ${SLUICE_E2E_CONTROLLER:-} ]] || return 0
	cargo_build --profile "$PROFILE" --package sluice --bin sluice --bin kubectl-sluice
}

build_app_and_driver() {
	build_app
	build_driver
}
