# shellcheck shell=bash
# A real Kubernetes on this machine without Docker: one network namespace, one node, every part a plain process.
# Sourced by e2e/up, e2e/down and e2e/bench. What stands here never touches the host's own network or firewall.

NODE_IP=10.200.0.1
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API=https://127.0.0.1:6443
PKI="$STATE/pki"
CONTAINERD_SOCKET="$STATE/containerd/containerd.sock"
ADMIN_KUBECONFIG="$STATE/admin.kubeconfig"

k() { in_netns kubectl --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }
ctr_k8s() { in_netns ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

# --- Network ------------------------------------------------------------------------------------------------------
network_up() {
	[[ -e /run/netns/$NETNS ]] && return
	ip netns add "$NETNS"
	in_netns ip link set lo up
	# This bridge carries the node's address (there need not be a `dummy` device in the kernel) and the default route,
	# without which kubelet and kube-proxy refuse to start. No packet leaves: there is nothing behind it.
	in_netns ip link add node0 type bridge
	in_netns ip addr add "$NODE_IP/24" dev node0
	in_netns ip link set node0 up
	in_netns ip route add default via "$NODE_IP" dev node0
	in_netns sysctl -qw net.ipv4.ip_forward=1
	# Traffic between two pods of the bridge must pass iptables, or Services do not work from pods.
	in_netns sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

# --- Certificates -------------------------------------------------------------------------------------------------
# certificate NAME SUBJECT [SANS]: a key and a certificate of the cluster's CA, for clients and servers alike.
certificate() {
	local name=$1 subject=$2 sans=${3:-}
	openssl req -newkey rsa:2048 -nodes -keyout "$PKI/$name.key" -subj "$subject" -out "$PKI/$name.csr" 2>/dev/null
	openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 365 \
		-out "$PKI/$name.crt" 2>/dev/null -extfile <(
			echo "basicConstraints=CA:FALSE"
			echo "extendedKeyUsage=clientAuth,serverAuth"
			[[ -z $sans ]] || echo "subjectAltName=$sans"
		)
	rm -f "$PKI/$name.csr"
}

# kubeconfig NAME FILE: a kubeconfig that signs in with the certificate NAME.
kubeconfig() {
	local name=$1 file=$2
	local data=(config --kubeconfig "$file")
	kubectl "${data[@]}" set-cluster e2e --server="$API" --certificate-authority="$PKI/ca.crt" --embed-certs >/dev/null
	kubectl "${data[@]}" set-credentials "$name" --client-certificate="$PKI/$name.crt" --client-key="$PKI/$name.key" \
		--embed-certs >/dev/null
	kubectl "${data[@]}" set-context e2e --cluster=e2e --user="$name" >/dev/null
	kubectl "${data[@]}" use-context e2e >/dev/null
}

certificates_up() {
	[[ -f $PKI/.complete ]] && return
	mkdir -p "$PKI"
	chmod 700 "$PKI"
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$PKI/ca.key" -subj "/CN=sluice-e2e-ca" -days 365 -out "$PKI/ca.crt" 2>/dev/null
	certificate apiserver "/CN=kube-apiserver" \
		"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$NODE_IP"
	certificate admin "/O=system:masters/CN=admin"
	certificate controller-manager "/CN=system:kube-controller-manager"
	certificate scheduler "/CN=system:kube-scheduler"
	certificate kube-proxy "/CN=system:kube-proxy"
	certificate kubelet "/O=system:nodes/CN=system:node:node0" "DNS:node0,IP:$NODE_IP"
	certificate apiserver-kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client"
	openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
	openssl rsa -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null
	local name
	for name in controller-manager scheduler kube-proxy kubelet; do kubeconfig $name "$STATE/$name.kubeconfig"; done
	kubeconfig admin "$ADMIN_KUBECONFIG"
	touch "$PKI/.complete"
}

# --- Control plane ------------------------------------------------------------------------------------------------
# control_plane_up [EXTRA_CONTROLLER_MANAGER_FLAG...]
control_plane_up() {
	define_process etcd "$BIN/etcd" --name e2e --data-dir "$STATE/etcd" --unsafe-no-fsync \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --log-level warn
	start_process etcd
	# The audit log is how API requests are counted by client, verb and resource.
	cat >"$STATE/audit-policy.yaml" <<-YAML
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules: [{level: Metadata}]
	YAML
	define_process kube-apiserver "$BIN/kube-apiserver" \
		--etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address=$NODE_IP \
		--tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
		--service-account-key-file="$PKI/service-account.pub" --service-account-signing-key-file="$PKI/service-account.key" \
		--kubelet-preferred-address-types=InternalIP \
		--service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=$SERVICE_CIDR \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
		--kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" \
		--kubelet-client-key="$PKI/apiserver-kubelet-client.key" \
		--audit-policy-file="$STATE/audit-policy.yaml" --audit-log-path="$STATE/audit.log" --audit-log-maxsize=200 \
		--audit-log-maxbackup=2 --profiling=false
	start_process kube-apiserver
	wait_for 90 "kube-apiserver becomes ready" k get --raw /readyz
	define_process kube-controller-manager "$BIN/kube-controller-manager" \
		--kubeconfig="$STATE/controller-manager.kubeconfig" --root-ca-file="$PKI/ca.crt" \
		--service-account-private-key-file="$PKI/service-account.key" --use-service-account-credentials \
		--cluster-cidr=$POD_CIDR --allocate-node-cidrs --leader-elect=false --profiling=false \
		--horizontal-pod-autoscaler-sync-period=2s "$@"
	define_process kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$STATE/scheduler.kubeconfig" --leader-elect=false \
		--profiling=false --kube-api-qps=1000 --kube-api-burst=2000
	start_process kube-controller-manager
	start_process kube-scheduler
}

# Directories that containerd, CNI and the kubelet use whatever their configuration says; what was not there before is
# removed by e2e/down.
note_what_is_not_there() {
	local path
	[[ -f $STATE/not-there-before ]] && return
	for path in /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers; do
		[[ -e $path ]] || echo "$path"
	done >"$STATE/not-there-before"
}

# --- Node ---------------------------------------------------------------------------------------------------------
containerd_up() {
	note_what_is_not_there
	mkdir -p "$STATE/containerd" "$STATE/cni/conf"
	cat >"$STATE/containerd/config.toml" <<-TOML
		version = 2
		root = "$STATE/containerd/root"
		state = "$STATE/containerd/state"
		[grpc]
		  address = "$CONTAINERD_SOCKET"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "docker.io/library/sluice-e2e-pause:dev"
		  restrict_oom_score_adj = true
		  netns_mounts_under_state_dir = true
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    snapshotter = "overlayfs"
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$STATE/cni/conf"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "$STATE/containerd/opt"
	TOML
	cat >"$STATE/cni/conf/10-e2e.conflist" <<-JSON
		{
		  "cniVersion": "0.4.0", "name": "e2e",
		  "plugins": [
		    {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
		     "ipam": {"type": "host-local", "dataDir": "$STATE/cni/data", "ranges": [[{"subnet": "$POD_CIDR"}]],
		              "routes": [{"dst": "0.0.0.0/0"}]}},
		    {"type": "portmap", "capabilities": {"portMappings": true}}
		  ]
		}
	JSON
	define_process containerd containerd --config "$STATE/containerd/config.toml"
	start_process containerd
	wait_for 30 "containerd answers" ctr_k8s version
}

# A place for the cgroups of this cluster's pods in every hierarchy: a kubelet removes the cgroups of pods that it does not
# know, and with one place for all it would end the pods of a second cluster.
cgroups_up() {
	local hierarchy
	for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[[ -f $hierarchy/cgroup.procs ]] || continue
		mkdir -p "$hierarchy/$NETNS"
		if [[ -f $hierarchy/cpuset.cpus && ! -f $hierarchy/cgroup.controllers ]]; then
			# Version 1: a new cpuset is empty, and takes no process.
			cat "$hierarchy/cpuset.cpus" >"$hierarchy/$NETNS/cpuset.cpus"
			cat "$hierarchy/cpuset.mems" >"$hierarchy/$NETNS/cpuset.mems"
		fi
	done
}

node_up() {
	cgroups_up
	mkdir -p "$STATE/kubelet" "$STATE/pod-logs"
	: >"$STATE/resolv.conf"
	cat >"$STATE/kubelet.yaml" <<-YAML
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
		authorization: {mode: Webhook}
		tlsCertFile: $PKI/kubelet.crt
		tlsPrivateKeyFile: $PKI/kubelet.key
		containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
		cgroupDriver: cgroupfs
		cgroupRoot: /$NETNS
		failSwapOn: false
		localStorageCapacityIsolation: false
		evictionHard: {memory.available: 1%, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
		resolvConf: $STATE/resolv.conf
		podLogsDir: $STATE/pod-logs
		volumePluginDir: $STATE/kubelet/volume-plugins
		maxPods: 250
		serializeImagePulls: false
		# Scenarios kill the controller many times; with the usual back-off of up to five minutes they would measure that.
		featureGates: {KubeletCrashLoopBackOffMax: true}
		crashLoopBackOff: {maxContainerRestartPeriod: 2s}
	YAML
	define_process kubelet "$BIN/kubelet" --config="$STATE/kubelet.yaml" --kubeconfig="$STATE/kubelet.kubeconfig" \
		--hostname-override=node0 --node-ip=$NODE_IP --root-dir="$STATE/kubelet" --v=1
	start_process kubelet
	define_process kube-proxy "$BIN/kube-proxy" --kubeconfig="$STATE/kube-proxy.kubeconfig" --proxy-mode=iptables \
		--cluster-cidr=$POD_CIDR --hostname-override=node0 --conntrack-max-per-core=0
	start_process kube-proxy
}

node_ready() {
	[[ $(k get node node0 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]] &&
		k get serviceaccount default -n default
}

# --- Tear-down ----------------------------------------------------------------------------------------------------
# Ends what the cluster started, by what was recorded and by what carries the state directory in its name; nothing else.
cluster_down() {
	local name pid mount cgroup path
	if [[ -d $PROCESSES ]]; then
		# The kubelet first, or it would start pods again; containerd last, it must end them. Nothing here is worth an
		# orderly end: all that they would write is removed below.
		stop_process kubelet 0
		if process_pid containerd >/dev/null && [[ -e /run/netns/$NETNS ]]; then
			for name in $(ctr_k8s tasks list --quiet 2>/dev/null); do
				ctr_k8s tasks kill --signal SIGKILL "$name" >/dev/null 2>&1 &
			done
			wait
		fi
		for path in "$PROCESSES"/*.pid; do
			name=$(basename "$path" .pid)
			[[ $name == containerd ]] || stop_process "$name" 0
		done
		stop_process containerd 3
	fi
	# Shims outlive containerd on purpose. Ours have our socket as an argument; their children are our containers.
	local cmdline
	for cmdline in /proc/[0-9]*/cmdline; do
		pid=${cmdline#/proc/} pid=${pid%/cmdline}
		tr "\\0" "\\n" 2>/dev/null <"$cmdline" | grep -qxF -- "$CONTAINERD_SOCKET" || continue
		[[ $(readlink "/proc/$pid/exe") == */containerd-shim* ]] || continue
		pkill -KILL -P "$pid" || true
		kill -KILL "$pid" 2>/dev/null || true
	done
	awk -v prefix="$STATE/" 'index($2, prefix) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
		umount -l "$(printf '%b' "$mount")" 2>/dev/null || true
	done
	for cgroup in "/sys/fs/cgroup/$NETNS" /sys/fs/cgroup/*/"$NETNS"; do
		[[ ! -d $cgroup ]] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
	[[ ! -e /run/netns/$NETNS ]] || ip netns del "$NETNS"
	# The kubelet leaves a link per container here, whatever its own log directory is.
	[[ ! -d /var/log/containers ]] || find /var/log/containers -type l -lname "$STATE/*" -delete
	if [[ -f $STATE/not-there-before ]]; then
		while read -r path; do rm -rf "$path"; done <"$STATE/not-there-before"
	fi
	rm -rf "$STATE"
}
