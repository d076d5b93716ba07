# shellcheck shell=bash
# Where a cluster meets a lab: the control plane becomes a machine of the
# underlay, with a cable of its own to the gateway's kernel; nodes send what is
# for Services and for outside to the gateway.

# The lab must be up. Where the cluster has nodes, the lab's are bare: pods and
# overlay are the cluster's.
need_lab() {
  is_root || die 'a cluster in a lab needs root: run this with sudo'
  lab_use "$CLUSTER_LAB"
  lab_load
  cluster_use "$CLUSTER"
  ((LAB_PODS == 0 || CLUSTER_NODES == 0)) ||
    die "lab '$CLUSTER_LAB' has pods of its own; bring it up with: scripts/lab up --name $CLUSTER_LAB --pods 0"
  [[ ! -e /run/netns/$CLUSTER_LAB-cp ]] ||
    die "lab '$CLUSTER_LAB' has a control plane already (namespace $CLUSTER_LAB-cp)"
}

join_lab() {
  ip netns add "$(ns cp)"
  ip -n "$(ns cp)" link set lo up
  in_ns cp sysctl -qw "${settings_common[@]}"
  veth cp eth0 02:00:0a:0a:01:05 lan cp 02:00:0a:0a:02:05 "$LAB_UNDERLAY_MTU" 1
  veth cp mgmt 02:00:0a:0b:00:01 gw mgmt 02:00:0a:0b:00:02 1500 1
  in_ns gw sysctl -qw net.ipv6.conf.mgmt.disable_ipv6=0
  ip -n "$(ns lan)" link set cp master br0 up
  ip -n "$(ns gw)" -batch - <<END
link set mgmt up
address add $GW_MANAGEMENT4/24 dev mgmt
address add $GW_MANAGEMENT6/64 dev mgmt nodad
END
  ip -n "$(ns cp)" -batch - <<END
link set eth0 up
link set mgmt up
address add $CP_UNDERLAY4/24 dev eth0
address add $CP_UNDERLAY6/64 dev eth0 nodad
address add $CP_MANAGEMENT4/24 dev mgmt
address add $CP_MANAGEMENT6/64 dev mgmt nodad
$(behind_gateway add "$POD_NET4" "$POD_NET6" "$SERVICE_NET4" "$SERVICE_NET6")
END
  # As the lab's own cables (`turn_offloads_off`): frames that Sluice may see.
  in_ns cp ethtool -K eth0 tx off tso off gso off gro off >/dev/null
  in_ns lan ethtool -K cp tx off tso off gso off gro off >/dev/null
}

# behind_gateway add|del PREFIX...: routes to the gateway's underlay address.
behind_gateway() {
  local verb=$1 prefix via
  shift
  for prefix in "$@"; do
    via=$GW_UNDERLAY4
    [[ $prefix != *:* ]] || via=$GW_UNDERLAY6
    printf 'route %s %s via %s dev eth0\n' "$verb" "$prefix" "$via"
  done
}

# node_routes add|del NODE
node_routes() {
  behind_gateway "$1" "$SERVICE_NET4" "$SERVICE_NET6" "$VIP_NET4" "$VIP_NET6" "$UPLINK_NET4" "$UPLINK_NET6" |
    ip -n "$(ns "node$2")" -force -batch - 2>/dev/null
}

# Gives the lab back as it was: what is gone already does not matter.
leave_lab() {
  local node device
  for ((node = 1; node <= CLUSTER_NODES; node++)); do
    [[ -e /run/netns/$(ns "node$node") ]] || continue
    node_routes del "$node" || true
    for device in cni0 flannel.1 flannel-v6.1; do
      ip -n "$(ns "node$node")" link del "$device" 2>/dev/null || true
    done
  done
  # Both ends of its cables go with it.
  [[ ! -e /run/netns/$(ns cp) ]] || ip netns delete "$(ns cp)"
}
