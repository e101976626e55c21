# shellcheck shell=bash
# What every script of e2e/ shares: where things are, how progress is said, how processes are started, awaited and ended.
# Sourced, never run.

E2E_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
REPO_DIR="$(cd "$E2E_DIR/.." && pwd)"
# shellcheck source=e2e/lib/versions.sh
source "$E2E_DIR/lib/versions.sh"

# Built components live outside the clone, so that a fresh clone costs nothing and `git clean` loses nothing.
CACHE="${SLUICE_E2E_CACHE:-$HOME/.cache/sluice-e2e}"
# Everything that a running cluster writes; removed by e2e/down.
STATE="${SLUICE_E2E_STATE:-/var/lib/sluice-e2e}"
# The network namespace that holds every process of the cluster.
NETNS="${SLUICE_E2E_NETNS:-sluice-e2e}"
BIN="$CACHE/bin"

# say TEXT...: one line of progress with the seconds since the script began.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }

# die TEXT...: says what is wrong and what would be right, then ends the script with 1.
die() {
	printf '[%4ds] error: %s\n' "$SECONDS" "$*" >&2
	exit 1
}

# A command that fails ends the script; this says which one it was.
set -E
trap 'printf "[%4ds] error: line %d of %s: %s\n" "$SECONDS" "$LINENO" "${BASH_SOURCE[0]}" "$BASH_COMMAND" >&2' ERR

# need_root: most of this moves namespaces, mounts and cgroups.
need_root() { [[ $(id -u) == 0 ]] || die "this needs root (network namespaces, mounts, cgroups); run it with sudo"; }

# timed LABEL COMMAND...: runs COMMAND and says how long it took.
timed() {
	local label=$1 from=$SECONDS
	shift
	say "$label ..."
	"$@" # not in a condition: `set -e` must stay in force inside
	say "$label: done in $((SECONDS - from)) s"
}

# install_packages PROOF:PACKAGE...: installs the Debian packages whose proof (a command or a path) is missing.
install_packages() {
	local entry proof missing=()
	for entry in "$@"; do
		proof=${entry%%:*}
		if [[ $proof == /* ]]; then
			[[ -e $proof ]] || missing+=("${entry##*:}")
		else
			PATH=$PATH:/usr/sbin:/sbin command -v "$proof" >/dev/null || missing+=("${entry##*:}")
		fi
	done
	((${#missing[@]} == 0)) && return
	command -v apt-get >/dev/null || die "missing ${missing[*]}, and there is no apt-get to install them with"
	say "installing Debian packages: ${missing[*]}"
	# The services that these packages bring are not wanted: the cluster runs its own processes in its own namespace.
	printf '#!/bin/sh\nexit 101\n' >"/tmp/sluice-e2e-policy.$$"
	chmod +x "/tmp/sluice-e2e-policy.$$"
	local policy=/usr/sbin/policy-rc.d made_policy=
	if [[ ! -e $policy ]]; then
		cp "/tmp/sluice-e2e-policy.$$" "$policy"
		made_policy=yes
	fi
	rm -f "/tmp/sluice-e2e-policy.$$"
	local ok=yes
	{ DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 || ok=
	[[ -z $made_policy ]] || rm -f "$policy"
	[[ -n $ok ]] || die "apt-get could not install ${missing[*]}"
}

# --- Processes of the cluster -------------------------------------------------------------------------------------
# Each has $STATE/processes/NAME.command (how to start it), .pid ("PID START_TIME") and .log.

PROCESSES="$STATE/processes"

# start_time PID: the kernel's start time of a process, which with the pid names it for good; nothing for one that has ended,
# be it that nobody has collected it yet.
start_time() { awk '{ sub(/.*\) /, ""); if ($1 != "Z") print $20 }' "/proc/$1/stat" 2>/dev/null; }

# process_pid NAME: the pid when the recorded process still runs, else nothing.
process_pid() {
	local pid started
	[[ -f $PROCESSES/$1.pid ]] || return 1
	read -r pid started <"$PROCESSES/$1.pid"
	[[ -n $started && $(start_time "$pid") == "$started" ]] && echo "$pid"
}

# define_process NAME COMMAND...: remembers how NAME is started (environment assignments may precede the command).
define_process() {
	local name=$1
	shift
	mkdir -p "$PROCESSES"
	{ printf 'exec nsenter --net=%q env' "/run/netns/$NETNS" && printf ' %q' "$@" && echo; } >"$PROCESSES/$name.command"
}

# start_process NAME: starts it in the namespace, detached from this shell, if it does not run yet.
start_process() {
	local name=$1 pid
	process_pid "$name" >/dev/null && return
	[[ -f $PROCESSES/$name.command ]] || die "no process $name is defined in $PROCESSES"
	# Lock descriptors of this shell, or of a `flock` around it, must not live on in daemons.
	setsid bash "$PROCESSES/$name.command" </dev/null >>"$PROCESSES/$name.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
	pid=$!
	disown "$pid"
	echo "$pid $(start_time "$pid")" >"$PROCESSES/$name.pid"
}

# stop_process NAME [SECONDS]: asks it and its children to end, and after SECONDS (default 10) ends them.
stop_process() {
	local name=$1 patience=${2:-10} pid
	pid=$(process_pid "$name") || return 0
	# setsid made it the leader of a process group of its own.
	((patience == 0)) || kill -TERM -- "-$pid" 2>/dev/null || true
	for ((i = 0; i < patience * 10; i++)); do
		process_pid "$name" >/dev/null || break
		sleep 0.1
	done
	kill -KILL -- "-$pid" 2>/dev/null || true
	while process_pid "$name" >/dev/null; do sleep 0.05; done
	rm -f "$PROCESSES/$name.pid"
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; a process that ends meanwhile ends the wait, with its last words.
wait_for() {
	local patience=$1 what=$2 from=$SECONDS
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS - from < patience)) || die "$what: not within $patience s; see the logs in $PROCESSES"
		local record name
		for record in "$PROCESSES"/*.pid; do
			name=$(basename "$record" .pid)
			process_pid "$name" >/dev/null || die "$name has ended while waiting until $what:
$(tail -n 3 "$PROCESSES/$name.log")"
		done
		sleep 0.2
	done
}

# in_netns COMMAND...: runs it inside the cluster's network. Not `ip netns exec`, which remounts /sys.
in_netns() { nsenter --net="/run/netns/$NETNS" "$@"; }
