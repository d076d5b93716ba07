# shellcheck shell=bash
# Names, addresses and the runtime folder of a lab.
# Everything that a lab leaves on the machine is found again from its name:
# namespaces `<lab>-client`, `<lab>-gw`, ... and the folder LAB_DIR.

readonly LAB_BASE="${XDG_RUNTIME_DIR:-/run}/sluice-lab"
readonly LAB_NODES=2
readonly LAB_PODS_MAX=9
readonly LAB_QUEUES_MAX=64

# The uplink network: client and gateway.
readonly CLIENT4=192.0.2.10 CLIENT6=2001:db8:1::10
readonly UPLINK4=192.0.2.1 UPLINK6=2001:db8:1::1
readonly UPLINK_NET4=192.0.2.0/24 UPLINK_NET6=2001:db8:1::/64

# The underlay that joins gateway and nodes, and the overlay on top of it.
readonly VNI=4096 VXLAN_PORT=4789
readonly GW_UNDERLAY4=10.10.0.1 GW_UNDERLAY6=fd00:10:10::1
readonly GW_INNER4=10.244.255.0 GW_INNER6=fd00:10:244:ff::
readonly GW_VTEP_MAC=02:00:0a:0a:00:01

# What is reached through the gateway. Client and nodes route these to it.
readonly VIP_NET4=203.0.113.0/24 VIP_NET6=2001:db8:f00::/64
readonly POD_NET4=10.244.0.0/16 POD_NET6=fd00:10:244::/48
readonly SNAT_NET4=10.244.255.0/24 SNAT_NET6=fd00:10:244:ff::/64
readonly SERVICE_NET4=10.96.0.0/16 SERVICE_NET6=fd00:10:96::/112

# Sets LAB and what follows from it. A name is part of namespace names and paths.
lab_use() {
  LAB=$1
  [[ $LAB =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] ||
    usage_error "lab name '$LAB': expected 1 to 31 of a-z, 0-9 and -, not starting with -"
  LAB_DIR=$LAB_BASE/$LAB PROCESS_DIR=$LAB_BASE/$LAB
}

ns() { printf '%s-%s' "$LAB" "$1"; }
in_ns() {
  local short=$1
  shift
  ip netns exec "$LAB-$short" "$@"
}

node_underlay4() { printf '10.10.0.1%d' "$1"; }
node_underlay6() { printf 'fd00:10:10::1%d' "$1"; }
node_vtep_mac() { printf '02:00:0a:0a:00:%02x' $((10 + $1)); }
# The address of the vxlan device itself, next hop for the node's pods.
node_inner4() { printf '10.244.%d.0' "$1"; }
node_inner6() { printf 'fd00:10:244:%d::' "$1"; }
node_cidr4() { printf '10.244.%d.0/24' "$1"; }
node_cidr6() { printf 'fd00:10:244:%d::/64' "$1"; }

# Pods are named by node and letter: pod1a, pod1b, pod2a, ...
pod_name() { printf 'pod%d%b' "$1" "\\x$(printf '%x' $((97 + $2)))"; }
pod_address4() { printf '10.244.%d.%d' "$1" $((10 + $2)); }
pod_address6() { printf 'fd00:10:244:%d::%d' "$1" $((10 + $2)); }

# Runs `$@ NODE INDEX` for every pod of the lab.
each_pod() {
  local node index
  for ((node = 1; node <= LAB_NODES; node++)); do
    for ((index = 0; index < LAB_PODS; index++)); do
      "$@" "$node" "$index"
    done
  done
}

# The short names of the lab's namespaces that exist now.
lab_namespaces() {
  ip netns list | awk -v lab="$LAB-" '
    index($1, lab) == 1 {
      short = substr($1, length(lab) + 1)
      if (short ~ /^(client|gw|lan|node[0-9]|pod[0-9][a-z])$/) print short
    }' | sort
}

# Every lab of this machine: those with a folder and those with a gateway namespace.
lab_names() {
  {
    [[ -d $LAB_BASE ]] && find "$LAB_BASE" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'
    ip netns list | awk '$1 ~ /-gw$/ && sub(/-gw$/, "", $1) { print $1 }'
  } | sort -u
}

# Reads what `up` was given (LAB_PODS, LAB_QUEUES, ...) from the lab's env file.
lab_load() {
  [[ -f $LAB_DIR/env ]] || die "no lab '$LAB' is up; start it with: scripts/lab up --name $LAB"
  # shellcheck source=/dev/null
  . "$LAB_DIR/env"
}

require_namespace() {
  [[ -e /run/netns/$LAB-$1 ]] || die "lab '$LAB' has no namespace '$1'; it has: $(
    lab_namespaces | tr '\n' ' '
  )"
}
