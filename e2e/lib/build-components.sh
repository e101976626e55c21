#!/usr/bin/env bash
# Builds the programs of the test cluster from their Go modules into the cache, each once.
#
#   e2e/lib/build-components.sh [COMPONENT...]      (default: cluster; `all` adds kwok for e2e/bench and the GitOps tools)
#
# A component is skipped when its stamp file names exactly the version and flags that lib/versions.sh asks for, and
# a build that was interrupted goes on where it stopped (Go keeps its own build cache).
#
# Most of these programs cannot be had by `go install module@version`, because their go.mod files hold replaces. So each
# is built from a small module of our own that requires it and repeats its replaces.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# write_wrapper DIR MODULE VERSION LOCAL_VERSION: a module in DIR that requires MODULE@VERSION and repeats its replaces and
# checksums; replaces by a local directory (Kubernetes' staging) become the published module at LOCAL_VERSION.
write_wrapper() {
	local dir=$1 module=$2 version=$3 local_version=$4 fetched gomod
	mkdir -p "$dir"
	fetched=$(cd "$dir" && go mod download -json "$module@$version") && gomod=$(jq -re .GoMod <<<"$fetched") || return
	{
		echo "module sluice.dev/e2e/wrapper"
		echo "go $(go mod edit -json "$gomod" | jq -r .Go)"
		echo "require $module $version"
		go mod edit -json "$gomod" | jq -r --arg local "$local_version" '
			.Replace // [] | .[]
			| if .New.Version then "replace \(.Old.Path) \(.Old.Version // "") => \(.New.Path) \(.New.Version)"
			  elif $local != "" then "replace \(.Old.Path) => \(.Old.Path) \($local)"
			  else empty end'
	} >"$dir/go.mod"
	cat "$(jq -re .Dir <<<"$fetched")/go.sum" >"$dir/go.sum"
}

# build_go NAME MODULE VERSION LOCAL_VERSION LDFLAGS [PROGRAM=]PACKAGE...: builds each PACKAGE into $BIN under PROGRAM, else
# under its last path element. GO_TAGS and GO_CGO (0 or 1) may be set for one call.
build_go() {
	local name=$1 module=$2 version=$3 local_version=$4 ldflags=$5 package program stamp wanted
	shift 5
	local dir="$CACHE/src/$name" wrapped=
	mkdir -p "$CACHE/stamps" "$BIN"
	for package in "$@"; do
		program=${package##*/}
		[[ $package != *=* ]] || { program=${package%%=*} && package=${package#*=}; }
		stamp="$CACHE/stamps/$program"
		wanted="$module@$version $ldflags${GO_TAGS:+ tags $GO_TAGS}"
		if [[ -x $BIN/$program && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
			say "$program $version: in the cache"
			continue
		fi
		if [[ -z $wrapped ]]; then
			say "$name $version: fetching the module"
			write_wrapper "$dir" "$module" "$version" "$local_version" || die "cannot fetch $module@$version"
			wrapped=yes
		fi
		local from=$SECONDS
		say "$program $version: building (minutes when cold)"
		(cd "$dir" && CGO_ENABLED=${GO_CGO:-0} GOFLAGS='-mod=mod -buildvcs=false' \
			go build -tags "${GO_TAGS:-}" -ldflags "-s -w $ldflags" -o "$BIN/$program.new" "$package") ||
			die "$program $version does not build; its module is in $dir"
		mv "$BIN/$program.new" "$BIN/$program"
		printf '%s' "$wanted" >"$stamp"
		say "$program $version: built in $((SECONDS - from)) s"
	done
}

build_kubernetes() {
	local v=k8s.io/component-base/version
	# Without the version flags every client would see v0.0.0.
	build_go kubernetes k8s.io/kubernetes "v$KUBERNETES_VERSION" "v0.${KUBERNETES_VERSION#1.}" \
		"-X $v.gitVersion=v$KUBERNETES_VERSION -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")" \
		"$@"
}

build_component() {
	local cmd=k8s.io/kubernetes/cmd
	case $1 in
	kubernetes)
		build_kubernetes $cmd/kube-apiserver $cmd/kube-controller-manager $cmd/kube-scheduler $cmd/kubelet $cmd/kube-proxy
		;;
	control-plane) build_kubernetes $cmd/kube-apiserver $cmd/kube-controller-manager $cmd/kube-scheduler ;;
	kubectl)
		command -v kubectl >/dev/null && return # any kubectl within a year of the cluster's version will do
		build_kubernetes $cmd/kubectl
		;;
	etcd) build_go etcd go.etcd.io/etcd/server/v3 "v$ETCD_VERSION" "" "" etcd=go.etcd.io/etcd/server/v3 ;;
	helm) build_go helm helm.sh/helm/v3 "v$HELM_VERSION" "" "" helm.sh/helm/v3/cmd/helm ;;
	traefik)
		build_go traefik github.com/traefik/traefik/v3 "v$TRAEFIK_VERSION" "" "" github.com/traefik/traefik/v3/cmd/traefik
		;;
	gitea)
		# With its database inside, and its templates and texts from the module; its pages have no style.
		install_packages "${PACKAGES_BUILD[@]}"
		GO_CGO=1 GO_TAGS="sqlite sqlite_unlock_notify" \
			build_go gitea code.gitea.io/gitea "v$GITEA_VERSION" "" "-X main.Version=$GITEA_VERSION" gitea=code.gitea.io/gitea
		fetch_tree gitea "$GITEA_VERSION" code.gitea.io/gitea templates options public
		;;
	kwok) build_go kwok sigs.k8s.io/kwok "v$KWOK_VERSION" "" "" sigs.k8s.io/kwok/cmd/kwok ;;
	gateway-api)
		fetch_files gateway-api "$GATEWAY_API_VERSION" sigs.k8s.io/gateway-api "v$GATEWAY_API_VERSION" config/crd/standard
		;;
	argocd)
		# One program; the name under which it runs selects the part.
		build_go argocd github.com/argoproj/argo-cd/v3 "v$ARGOCD_VERSION" "" "" argocd=github.com/argoproj/argo-cd/v3/cmd
		fetch_files argocd "$ARGOCD_VERSION" github.com/argoproj/argo-cd/v3 "v$ARGOCD_VERSION" manifests/crds
		;;
	flux)
		local part version flux=github.com/fluxcd
		for part in source-controller:$FLUX_SOURCE_VERSION kustomize-controller:$FLUX_KUSTOMIZE_VERSION; do
			version=${part#*:} part=${part%:*}
			build_go $part $flux/$part "v$version" "" "" $flux/$part
			fetch_files $part "$version" $flux/$part "v$version" config/crd/bases
		done
		;;
	cluster) for c in kubernetes etcd kubectl helm gateway-api traefik; do build_component $c; done ;;
	bench) for c in control-plane etcd kubectl helm kwok; do build_component $c; done ;;
	all) for c in cluster kwok argocd flux gitea; do build_component $c; done ;;
	*) die "no component $1; known: kubernetes control-plane kubectl etcd helm traefik kwok gateway-api argocd flux gitea cluster bench all" ;;
	esac
}

# fetch_files NAME VERSION MODULE MODULE_VERSION DIRECTORY: the YAML files of a directory of a module (its CRDs), as
# $CACHE/NAME-VERSION; nothing is built.
fetch_files() {
	local target="$CACHE/$1-$2" dir
	if [[ -f $target/.complete ]]; then
		say "$1 $2: files in the cache"
		return
	fi
	mkdir -p "$CACHE/src/$1" "$target"
	dir=$(cd "$CACHE/src/$1" && go mod download -json "$3@$4" | jq -re .Dir) || die "cannot fetch $3@$4"
	cp "$dir/$5"/*.yaml "$target/"
	rm -f "$target/kustomization.yaml" # it is no object
	chmod -R u+w "$target"
	touch "$target/.complete"
	say "$1 $2: CRDs fetched"
}

# fetch_tree NAME VERSION MODULE DIRECTORY...: whole directories of a module, as $CACHE/NAME-VERSION.
fetch_tree() {
	local target="$CACHE/$1-$2" dir module=$3@v$2
	[[ ! -f $target/.complete ]] || return 0
	mkdir -p "$CACHE/src/$1" "$target"
	dir=$(cd "$CACHE/src/$1" && go mod download -json "$module" | jq -re .Dir) || die "cannot fetch $module"
	(cd "$dir" && cp -r "${@:4}" "$target/")
	chmod -R u+w "$target"
	touch "$target/.complete"
}

command -v go >/dev/null || die "the Go tool chain is missing (1.25 or later); the cluster's programs are built with it"
install_packages jq:jq curl:curl
mkdir -p "$CACHE"
# One build at a time for one cache; a second run waits here and then finds everything done.
exec 9>"$CACHE/.lock"
flock -n 9 || { say "another build uses $CACHE, waiting for it" && flock 9; }
(($# > 0)) || set -- cluster
for component in "$@"; do build_component "$component"; done
say "components ready in $BIN"
