# shellcheck shell=bash
# The GitOps tools that users have: Argo CD (application-controller and repo-server) and Flux (source-controller and
# kustomize-controller), the real programs, as processes beside the cluster. Sourced by e2e/run for the scenarios that need them.

# gitops_up TOOL...: argocd, flux; what runs already is left alone.
gitops_up() {
	local tool
	for tool in "$@"; do
		case $tool in
		argocd) timed "Argo CD" argocd_up ;;
		flux) timed "Flux" flux_up ;;
		*) die "no GitOps tool $tool; known: argocd flux" ;;
		esac
	done
}

# established CRD...: waits until the API server serves them.
established() { wait_for 60 "the API server serves $*" k wait --for=condition=Established --timeout=5s "${@/#/crd/}"; }

argocd_up() {
	local dir="$STATE/argocd"
	install_packages "${PACKAGES_ARGOCD[@]}"
	"$E2E_DIR/lib/build-components.sh" argocd
	mkdir -p "$dir/tls" "$dir/tmp" "$dir/redis"
	k apply --server-side --force-conflicts -f "$CACHE/argocd-$ARGOCD_VERSION" >/dev/null
	established applications.argoproj.io appprojects.argoproj.io
	k apply --server-side --force-conflicts -f "$E2E_DIR/manifests/argocd.yaml" >/dev/null
	k apply --server-side --force-conflicts -f "$REPO_DIR/deploy/argocd/argocd-cm.yaml" >/dev/null
	# The certificate authority of the Git server, under the name of its host, as in Argo CD's ConfigMap of certificates.
	cp "$STATE/git/ca.crt" "$dir/tls/$NODE_IP"
	define_process argocd-redis redis-server --bind 127.0.0.1 --port 6379 --save "" --appendonly no --dir "$dir/redis"
	# Its PATH leads git to the program that hands out the credentials: `argocd` itself.
	define_process argocd-repo-server ARGOCD_BINARY_NAME=argocd-repo-server ARGOCD_GPG_ENABLED=false PATH="$BIN:$PATH" \
		ARGOCD_TLS_DATA_PATH="$dir/tls" ARGOCD_ASK_PASS_SOCK="$dir/ask-pass.sock" TMPDIR="$dir/tmp" HOME="$dir/tmp" \
		"$BIN/argocd" --redis 127.0.0.1:6379 --address 127.0.0.1 --port 18081 --metrics-address 127.0.0.1 --metrics-port 18084 \
		--disable-tls --logformat text
	define_process argocd-application-controller ARGOCD_BINARY_NAME=argocd-application-controller KUBECONFIG="$ADMIN_KUBECONFIG" \
		ARGOCD_FAKE_IN_CLUSTER=true \
		ARGOCD_GPG_ENABLED=false TMPDIR="$dir/tmp" HOME="$dir/tmp" \
		"$BIN/argocd" --namespace argocd --redis 127.0.0.1:6379 --repo-server 127.0.0.1:18081 --repo-server-plaintext \
		--metrics-port 18082 --logformat text
	start_process argocd-redis
	start_process argocd-repo-server
	wait_for 60 "Argo CD's repo-server answers" in_netns curl -fsS http://127.0.0.1:18084/metrics
	start_process argocd-application-controller
	wait_for 60 "Argo CD's application-controller answers" in_netns curl -fsS http://127.0.0.1:18082/metrics
}

flux_up() {
	local dir="$STATE/flux"
	"$E2E_DIR/lib/build-components.sh" flux
	mkdir -p "$dir/data" "$dir/tmp"
	k apply --server-side --force-conflicts -f "$CACHE/source-controller-$FLUX_SOURCE_VERSION" \
		-f "$CACHE/kustomize-controller-$FLUX_KUSTOMIZE_VERSION" >/dev/null
	established gitrepositories.source.toolkit.fluxcd.io kustomizations.kustomize.toolkit.fluxcd.io
	k create namespace flux-system --dry-run=client -o yaml | k apply --server-side -f - >/dev/null
	define_process source-controller KUBECONFIG="$ADMIN_KUBECONFIG" RUNTIME_NAMESPACE=flux-system TMPDIR="$dir/tmp" HOME="$dir/tmp" \
		"$BIN/source-controller" --storage-path="$dir/data" --storage-addr=127.0.0.1:18090 --storage-adv-addr=127.0.0.1:18090 \
		--metrics-addr=127.0.0.1:18091 --health-addr=127.0.0.1:18092 --enable-leader-election=false --log-encoding=console
	define_process kustomize-controller KUBECONFIG="$ADMIN_KUBECONFIG" RUNTIME_NAMESPACE=flux-system TMPDIR="$dir/tmp" HOME="$dir/tmp" \
		"$BIN/kustomize-controller" --metrics-addr=127.0.0.1:18093 --health-addr=127.0.0.1:18094 \
		--enable-leader-election=false --log-encoding=console
	start_process source-controller
	start_process kustomize-controller
	wait_for 60 "Flux' source-controller is ready" in_netns curl -fsS http://127.0.0.1:18092/readyz
	wait_for 60 "Flux' kustomize-controller is ready" in_netns curl -fsS http://127.0.0.1:18094/readyz
}
