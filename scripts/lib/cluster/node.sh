# shellcheck shell=bash
# Real nodes: kubelet and containerd in the network namespace of a node of the
# lab, and flannel to join their pods.

# flannel's defaults on Linux.
readonly FLANNEL_VNI=1 FLANNEL_PORT=8472

node_components() {
  local node
  for ((node = 1; node <= CLUSTER_NODES; node++)); do
    printf 'node%d\n' "$node"
  done
}

nodes_start() {
  local node
  ((CLUSTER_NODES)) || return 0
  make_images
  flannel_rights
  for ((node = 1; node <= CLUSTER_NODES; node++)); do
    certificate "node$node" "/O=system:nodes/CN=system:node:node$node" \
      "IP:$(node_underlay4 "$node"),IP:$(node_underlay6 "$node")"
    client_kubeconfig "$CLUSTER_DIR/tls/node$node.kubeconfig" "https://$CP_UNDERLAY4:$API_PORT" "node$node"
    mkdir "$CLUSTER_DIR/node$node"
    node_start "$node"
  done
  for ((node = 1; node <= CLUSTER_NODES; node++)); do
    node_join "$node"
  done
}

# node_start NODE: one process holds the node. Its mounts and processes end with
# it.
node_start() {
  local node=$1 folder=$CLUSTER_DIR/node$1
  node_routes add "$node" || true
  node_cgroup_make "$node"
  rm -rf "$folder/cni"
  mkdir -p "$folder/cni"
  write_containerd_config "$folder"
  write_kubelet_config "$node" "$folder"
  process_start "node$node" nsenter "--net=/run/netns/$(ns "node$node")" \
    env "NODE_FOLDER=$folder" "NODE_NAME=node$node" \
    "NODE_IPS=$(node_underlay4 "$node"),$(node_underlay6 "$node")" \
    "NODE_KUBECONFIG=$CLUSTER_DIR/tls/node$node.kubeconfig" "NODE_KEEP=$CLUSTER_DIR" \
    "NODE_IMAGES=$(image_file pause) $(image_file agnhost)" \
    "PATH=$(dirname "$(tool kubelet)"):$(dirname "$(tool containerd)"):$PATH:/usr/sbin:/sbin" \
    unshare --mount --pid --fork --kill-child=KILL --mount-proc \
    bash "$SCRIPTS/lib/cluster/node_init.sh"
}

# node_join NODE: waits for its pod ranges, joins it to the overlay, tells
# containerd how pods are connected, and waits until it is ready.
node_join() {
  local node=$1
  wait_for "pod ranges of node$node" "$READY_SECONDS" node_has_ranges "$node" || component_failed "node$node"
  flannel_start "$node"
  write_cni_config "$node"
  wait_for "readiness of node$node" "$READY_SECONDS" node_ready "$node" || component_failed "node$node"
}

node_ranges() { cluster_get "/api/v1/nodes/node$1" | jq -r '.spec.podCIDRs[]?'; }
node_has_ranges() { process_alive "node$1" && (($(node_ranges "$1" | wc -l) == 2)); }
node_ready() {
  # The API alone would show a node ready for a while after its death.
  process_alive "node$1" &&
    nsenter "--net=/run/netns/$(ns "node$1")" curl -s --fail --max-time 5 http://127.0.0.1:10248/healthz &&
    cluster_get "/api/v1/nodes/node$1" |
    jq -e '.status.conditions[] | select(.type == "Ready").status == "True"'
}

write_containerd_config() {
  cat >"$1/containerd.toml" <<END
version = 3
root = '/var/lib/containerd'
state = '/run/containerd'

[grpc]
address = '/run/containerd/containerd.sock'

[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '$IMAGE_PAUSE'

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['$(dirname "$(tool bridge)")']
conf_dir = '$1/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = 'runc'
SystemdCgroup = false
END
}

# Nothing is evicted or collected: what a node's images lose, no registry gives
# back.
write_kubelet_config() {
  cat >"$2/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: $CLUSTER_DIR/tls/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $CLUSTER_DIR/tls/node$1.crt
tlsPrivateKeyFile: $CLUSTER_DIR/tls/node$1.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/plugins/volume
cgroupDriver: cgroupfs
cgroupRoot: $(node_cgroup "$1")
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
protectKernelDefaults: false
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%}
END
}

write_cni_config() {
  local folder=$CLUSTER_DIR/node$1 range ranges=() mtu
  mtu=$(sed -n 's/^FLANNEL_MTU=//p' "$folder/flannel.env")
  for range in $(node_ranges "$1"); do
    ranges+=("[{\"subnet\": \"$range\"}]")
  done
  # containerd sees a file that is renamed within the folder, not one moved in.
  cat >"$folder/cni/pods.new" <<END
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "mtu": $mtu,
    "ipam": {
      "type": "host-local",
      "ranges": [$(IFS=, && printf '%s' "${ranges[*]}")],
      "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    }
  }]
}
END
  mv "$folder/cni/pods.new" "$folder/cni/pods.conflist"
}

# What flannel's own manifests allow it.
flannel_rights() {
  certificate flannel /CN=flannel
  client_kubeconfig "$CLUSTER_DIR/tls/flannel.kubeconfig" "https://$CP_UNDERLAY4:$API_PORT" flannel
  cat >"$CLUSTER_DIR/flannel.json" <<END
{
  "Network": "$POD_NET4", "IPv6Network": "$POD_NET6", "EnableIPv6": true,
  "Backend": {"Type": "vxlan", "VNI": $FLANNEL_VNI, "Port": $FLANNEL_PORT}
}
END
  cluster_kubectl apply -f - >/dev/null <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: flannel}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get]}
  - {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
  - {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: flannel}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: flannel}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: flannel}]
END
}

# flannel_start NODE: its vxlan devices, its node's annotations, and the routes
# to the others. It leaves addresses as they are: no masquerading.
flannel_start() {
  local node=$1 file=$CLUSTER_DIR/node$1/flannel.env
  rm -f "$file"
  process_start "node$node.flannel" nsenter "--net=/run/netns/$(ns "node$node")" \
    env "NODE_NAME=node$node" "$(tool flanneld)" --kube-subnet-mgr \
    --kubeconfig-file "$CLUSTER_DIR/tls/flannel.kubeconfig" \
    --net-config-path "$CLUSTER_DIR/flannel.json" --subnet-file "$file" \
    --iface eth0 --ip-masq=false --iptables-forward-rules=false --healthz-port 0
  wait_for "flannel on node$node" "$READY_SECONDS" test -s "$file" || component_failed "node$node.flannel"
}

# Every hierarchy of control groups gets one for the node: kubelet wants it there.
node_cgroup() { printf '/sluice-%s-node%d' "$CLUSTER" "$1"; }
cgroup_hierarchies() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    printf '/sys/fs/cgroup\n'
  else
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
  fi
}

node_cgroup_make() {
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    mkdir -p "$hierarchy$(node_cgroup "$1")"
  done
}

# Its processes have ended.
node_cgroup_remove() {
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    [[ ! -d $hierarchy$(node_cgroup "$1") ]] ||
      find "$hierarchy$(node_cgroup "$1")" -depth -type d -exec rmdir {} + 2>/dev/null ||
      warn "control groups are left in $hierarchy$(node_cgroup "$1")"
  done
}
