#!/usr/bin/env bash
# Stops and starts one process of the running cluster; the scenarios about outages call this.
#
#   e2e/lib/service.sh stop|start|status|pid NAME...      NAME: prometheus, nginx (the Git server), traefik, kubelet, ...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
verb=${1:-}
shift || true
for name in "$@"; do
	case $verb in
	stop) stop_process "$name" ;;
	start) start_process "$name" ;;
	status) process_pid "$name" >/dev/null && echo "$name runs" || echo "$name is stopped" ;;
	pid) process_pid "$name" ;;
	*) die "unknown verb '$verb'; known: stop start status pid" ;;
	esac
done
