# shellcheck shell=bash
# Versions of everything that the end-to-end tests build or fetch, in one place. Sourced, never run.
# Changing a line here rebuilds that component (and only it) on the next run.

KUBERNETES_VERSION=1.34.4 # stay at 1.34: from 1.35 the kubelet refuses cgroup v1
ETCD_VERSION=3.6.8
TRAEFIK_VERSION=3.6.12 # the data plane behind the Gateway; 3.7 cannot be built from its module alone
GATEWAY_API_VERSION=1.4.0
HELM_VERSION=3.19.0
ARGOCD_VERSION=3.2.11 # from 3.3 on it needs a module of its own repository that cannot be fetched
FLUX_SOURCE_VERSION=1.7.2 # the last whose modules can all be fetched
FLUX_KUSTOMIZE_VERSION=1.7.3
GITEA_VERSION=1.26.0 # a forge for the tests of pull requests (tests/real_gitea.rs)
KWOK_VERSION=0.7.0 # fake nodes and pods of e2e/bench only

# Debian packages: command that proves the package is there, then its name.
# PACKAGES_CLUSTER are needed by e2e/up, PACKAGES_BUILD by the Rust and Go builds, PACKAGES_ARGOCD by its scenarios.
PACKAGES_CLUSTER=(
	containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins
	iptables:iptables conntrack:conntrack ebtables:ebtables ip:iproute2 prometheus:prometheus
	nginx:nginx-light fcgiwrap:fcgiwrap git:git ssh:openssh-client jq:jq openssl:openssl curl:curl
	/etc/ssl/certs/ca-certificates.crt:ca-certificates
)
PACKAGES_BUILD=(gcc:gcc)
PACKAGES_ARGOCD=(redis-server:redis-server)
