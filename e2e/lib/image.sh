# shellcheck shell=bash
# Writes container images as docker-archive tars without Docker, and imports them. Sourced by e2e/up and e2e/run.

# write_image NAME ROOT ENTRYPOINT USER OUT [VARIABLE=VALUE...]: packs the directory ROOT as a one-layer image.
write_image() {
	local name=$1 root=$2 entrypoint=$3 user=$4 out=$5 work
	shift 5
	work=$(mktemp -d)
	# Sorted, with fixed owner and times: the same content gives the same image.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$root" -cf "$work/layer.tar" .
	jq -n --arg entrypoint "$entrypoint" --arg user "$user" \
		--arg diff "sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)" '{
		architecture: "amd64", os: "linux", created: "1970-01-01T00:00:00Z",
		config: {Entrypoint: [$entrypoint], User: $user, Env: (["PATH=/usr/local/bin:/usr/bin:/bin"] + $ARGS.positional)},
		rootfs: {type: "layers", diff_ids: [$diff]}, history: [{created: "1970-01-01T00:00:00Z"}]
	}' --args "$@" >"$work/config.json"
	jq -n --arg name "$name" '[{Config: "config.json", RepoTags: [$name], Layers: ["layer.tar"]}]' >"$work/manifest.json"
	tar -C "$work" -cf "$out" manifest.json config.json layer.tar
	rm -rf "$work"
}

# import_image NAME TAR: gives the image to the node's containerd, unless it has exactly this one.
import_image() {
	local name=$1 tar=$2 sum
	sum=$(sha256sum "$tar" | cut -d' ' -f1)
	[[ -f $STATE/images/$name && $(<"$STATE/images/$name") == "$sum" ]] && return
	ctr_k8s images import "$tar" >/dev/null || die "containerd refused the image $name ($tar)"
	mkdir -p "$STATE/images"
	echo "$sum" >"$STATE/images/$name"
	say "image $name imported ($(du -h "$tar" | cut -f1))"
}

# copy_libraries ROOT PROGRAM: copies the shared libraries that a program of this machine loads.
copy_libraries() {
	local root=$1 library
	for library in $(ldd "$2" 2>/dev/null | grep -o '/[^ ]*'); do
		[[ -e $root$library ]] && continue
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
}

# copy_with_libraries ROOT FILE...: copies programs of this machine to the same place below ROOT, with what they load.
copy_with_libraries() {
	local root=$1 file
	shift
	for file in "$@"; do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
		copy_libraries "$root" "$file"
	done
}

# How each release of the test application behaves is baked into its image, so that a bad release is one changed tag.
APP_RELEASES=(
	"v1" "v2" "v3"
	"errors ERROR_RATE=0.05"
	"slow LATENCY_MS=1000"
	"crash CRASH_AFTER_MS=1000"
	# For judging by counts: latencies and errors as a service usually has them, the same as another version, with 3 % more
	# errors, and with 3 % of the requests slower by a second.
	"usual ERROR_RATE=0.005 LATENCY_MS=80 LATENCY_SIGMA=0.8"
	"usual-again ERROR_RATE=0.005 LATENCY_MS=80 LATENCY_SIGMA=0.8"
	"regressed ERROR_RATE=0.035 LATENCY_MS=80 LATENCY_SIGMA=0.8"
	"flaky ERROR_RATE=0.05"
	"slow-tail ERROR_RATE=0.005 LATENCY_MS=80 LATENCY_SIGMA=0.8 SLOW_RATE=0.03 SLOW_MS=1000"
)

# write_app_images BINARY DIRECTORY: the releases of the test application and, from the same static binary, the pause
# container that each pod of our own cluster has.
write_app_images() {
	local binary=$1 directory=$2 root release name variables
	root=$(mktemp -d)
	mkdir -p "$directory"
	cp "$binary" "$root/pause"
	write_image sluice-e2e-pause:dev "$root" /pause 65535:65535 "$directory/pause.tar"
	mv "$root/pause" "$root/sluice-e2e-app"
	for release in "${APP_RELEASES[@]}"; do
		read -r name variables <<<"$release"
		# shellcheck disable=SC2086 # the variables are words
		write_image "sluice-e2e-app:$name" "$root" /sluice-e2e-app 65532:65532 "$directory/app-$name.tar" "VERSION=$name" $variables
	done
	rm -rf "$root"
}

# import_app_images BINARY: gives them to the node, unless it has those of exactly this binary.
import_app_images() {
	local stamp release name
	stamp="$(sha256sum <"$1") ${APP_RELEASES[*]}"
	[[ -f $STATE/images/app.stamp && $(<"$STATE/images/app.stamp") == "$stamp" ]] && return
	write_app_images "$1" "$STATE/images"
	import_image sluice-e2e-pause:dev "$STATE/images/pause.tar"
	for release in "${APP_RELEASES[@]}"; do
		name=${release%% *}
		import_image "sluice-e2e-app:$name" "$STATE/images/app-$name.tar"
	done
	echo "$stamp" >"$STATE/images/app.stamp"
}

# write_controller_image BINARY DIRECTORY: the controller with git, ssh and CA certificates, all taken from this machine, so that
# the dynamically linked binary finds the libc it was built for.
write_controller_image() {
	local binary=$1 directory=$2 root name
	root=$(mktemp -d)
	mkdir -p "$root"/{tmp,etc/ssl/certs,usr/lib/git-core,usr/bin,lib64,home/sluice,usr/share/git-core/templates}
	chmod 1777 "$root/tmp"
	cp "$binary" "$root/usr/bin/sluice"
	copy_libraries "$root" "$binary"
	copy_with_libraries "$root" /usr/bin/git /usr/bin/ssh /bin/sh
	# Of git's helpers only those that speak to remotes and those that plumbing calls.
	for name in git git-remote-http git-http-backend; do copy_with_libraries "$root" "/usr/lib/git-core/$name"; done
	ln -sf git-remote-http "$root/usr/lib/git-core/git-remote-https"
	# Resolving names and reading users needs these at run time; ldd does not show them.
	for name in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
		# To its end: a reader that stops at the first match may end ldconfig by a broken pipe.
		name=$(ldconfig -p | awk -v lib="$name" '$1 == lib && !found++ { print $NF }')
		[[ -z $name ]] || copy_with_libraries "$root" "$name"
	done
	cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	echo 'sluice:x:65532:65532::/home/sluice:/bin/false' >"$root/etc/passwd"
	echo 'sluice:x:65532:' >"$root/etc/group"
	echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
	mkdir -p "$directory"
	write_image sluice:dev "$root" /usr/bin/sluice 65532:65532 "$directory/sluice.tar"
	rm -rf "$root"
}

import_controller_image() {
	write_controller_image "$1" "$STATE/images"
	import_image sluice:dev "$STATE/images/sluice.tar"
}
