# shellcheck shell=bash
# What stands around the cluster: Traefik as the Gateway's data plane, Prometheus, and a Git server over HTTPS.
# Sourced by e2e/up.

GATEWAY_PORT=8000
GIT_PORT=8443
GIT_USER=sluice-bot
GIT_PASSWORD=not-a-secret-$NETNS

# --- Gateway ------------------------------------------------------------------------------------------------------
traefik_up() {
	k apply --server-side --force-conflicts -f "$CACHE/gateway-api-$GATEWAY_API_VERSION" >/dev/null
	wait_for 30 "the Gateway API is served" k get --raw /apis/gateway.networking.k8s.io/v1
	k apply --server-side --force-conflicts -f "$E2E_DIR/manifests/gateway-class.yaml" >/dev/null
	gateway_manifest traefik "$GATEWAY_PORT" | k apply --server-side --force-conflicts -f - >/dev/null
	# providersthrottleduration: a change of weights reaches the data plane at once instead of after two seconds.
	define_process traefik KUBECONFIG="$ADMIN_KUBECONFIG" "$BIN/traefik" \
		--providers.kubernetesgateway=true --providers.kubernetesgateway.endpoint="$API" \
		--providers.kubernetesgateway.statusaddress.ip="$NODE_IP" --providers.providersthrottleduration=100ms \
		--entrypoints.web.address=:$GATEWAY_PORT --entrypoints.traefik.address=:8080 --api.insecure=true \
		--metrics.prometheus=true --global.checknewversion=false --global.sendanonymoususage=false --log.level=INFO \
		--accesslog=true --accesslog.format=json --accesslog.filepath="$STATE/gateway-errors.log" \
		--accesslog.filters.statuscodes=502-504
	start_process traefik
}

# gateway_manifest CLASS PORT: our Gateway for that class.
gateway_manifest() { sed -e "s|@CLASS@|$1|" -e "s|@PORT@|$2|" "$E2E_DIR/manifests/gateway.yaml"; }

gateway_ready() {
	[[ $(k get gateway e2e -n sluice-e2e-gateway -o 'jsonpath={.status.conditions[?(@.type=="Programmed")].status}') == True ]]
}

# --- Prometheus ---------------------------------------------------------------------------------------------------
prometheus_up() {
	mkdir -p "$STATE/prometheus"
	sed -e "s|@DIR@|$STATE/prometheus|g" "$E2E_DIR/manifests/prometheus.yml" >"$STATE/prometheus/prometheus.yml"
	# A copy, so that rebuilding the driver does not disturb a running cluster.
	[[ -e $STATE/prometheus/targets ]] || cp "$DRIVER_BINARY" "$STATE/prometheus/targets"
	define_process targets KUBECONFIG="$ADMIN_KUBECONFIG" "$STATE/prometheus/targets" targets "$STATE/prometheus/targets.json"
	define_process prometheus prometheus --config.file="$STATE/prometheus/prometheus.yml" \
		--storage.tsdb.path="$STATE/prometheus/data" --storage.tsdb.retention.time=6h --web.listen-address=:9090 --log.level=warn
	start_process targets
	start_process prometheus
}

# --- Git over HTTPS -----------------------------------------------------------------------------------------------
git_server_up() {
	local dir="$STATE/git"
	mkdir -p "$dir/repositories" "$dir/tmp"
	if [[ ! -f $dir/server.crt ]]; then
		# A certificate authority of its own, so that nobody can pass by trusting the cluster's.
		openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/ca.key" -subj "/CN=sluice-e2e-git-ca" -days 365 -out "$dir/ca.crt" 2>/dev/null
		PKI=$dir certificate server "/CN=git" "IP:$NODE_IP,IP:127.0.0.1,DNS:localhost"
		echo "$GIT_USER:$(openssl passwd -apr1 "$GIT_PASSWORD")" >"$dir/htpasswd"
	fi
	if [[ ! -d $dir/repositories/fleet.git ]]; then
		git init --quiet --bare --initial-branch=main "$dir/repositories/fleet.git"
		git -C "$dir/repositories/fleet.git" config http.receivepack true
		# As forges have it: partial clones, and any commit by its id.
		git -C "$dir/repositories/fleet.git" config uploadpack.allowFilter true
		git -C "$dir/repositories/fleet.git" config uploadpack.allowAnySHA1InWant true
	fi
	sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$GIT_PORT|g" "$E2E_DIR/manifests/nginx-git.conf" >"$dir/nginx.conf"
	process_pid fcgiwrap >/dev/null || rm -f "$dir/fcgiwrap.sock" # a socket left behind would be in the way
	define_process fcgiwrap fcgiwrap -c 4 -s "unix:$dir/fcgiwrap.sock"
	define_process nginx nginx -e "$dir/error.log" -c "$dir/nginx.conf"
	start_process fcgiwrap
	start_process nginx
}

# --- What the driver is told --------------------------------------------------------------------------------------
write_environment() {
	cat >"$STATE/environment" <<-ENV
		export KUBECONFIG='$ADMIN_KUBECONFIG'
		export SLUICE_E2E_STATE='$STATE'
		export SLUICE_E2E_GATEWAY='sluice-e2e-gateway/e2e'
		export SLUICE_E2E_GATEWAY_URL='http://$NODE_IP:$GATEWAY_PORT'
		export SLUICE_E2E_PROMETHEUS_URL='http://$NODE_IP:9090'
		export SLUICE_E2E_GIT_URL='https://$NODE_IP:$GIT_PORT/fleet.git'
		export SLUICE_E2E_GIT_CA='$STATE/git/ca.crt'
		export SLUICE_E2E_GIT_USER='$GIT_USER'
		export SLUICE_E2E_GIT_PASSWORD='$GIT_PASSWORD'
		export SLUICE_E2E_CONTAINERD='$CONTAINERD_SOCKET'
		export SLUICE_E2E_SERVICE='$E2E_DIR/lib/service.sh'
	ENV
}
