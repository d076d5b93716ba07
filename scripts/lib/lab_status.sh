# shellcheck shell=bash
# What `lab status` prints, and the probe of the overlay.

status_row() { printf '  %-8s %-10s %-18s %s\n' "$@"; }

status_pod() {
  local name state=servers-down manifest=absent
  name=$(pod_name "$1" "$2")
  any_alive "$name.web" && any_alive "$name.iperf" && state=serving
  if [[ -e $LAB_DIR/manifests/pod-$name.yaml ]]; then
    manifest=ready
    grep -q deletionTimestamp "$LAB_DIR/manifests/pod-$name.yaml" && manifest=terminating
  fi
  status_row "$name" "$state" "$(pod_address4 "$1" "$2")" "$(pod_address6 "$1" "$2")  ($manifest)"
}

# reach WHAT FROM ADDRESS: one echo through kernel devices alone.
reach() {
  if in_ns "$2" ping -n -q -c 1 -W 2 "$3" >/dev/null 2>&1; then
    ok "$1: $2 -> $3"
  else
    fail "$1: $2 gets no answer from $3"
    return 1
  fi
}

# Nodes to each other on the underlay, pods to each other through the kernels'
# vxlan devices. Sluice has no part in it.
probe_overlay() {
  local failed=0
  reach 'underlay IPv4' node1 "$(node_underlay4 2)" || failed=1
  reach 'underlay IPv6' node1 "$(node_underlay6 2)" || failed=1
  ((LAB_PODS)) || return "$failed"
  reach 'overlay IPv4 ' pod1a "$(pod_address4 2 0)" || failed=1
  reach 'overlay IPv6 ' pod1a "$(pod_address6 2 0)" || failed=1
  return "$failed"
}

lab_status() {
  local node
  title "Lab $LAB"
  note "  $LAB_PODS pods a node, $LAB_QUEUES queue(s), $LAB_UNDERLAY underlay," \
    "MTU uplink $LAB_UPLINK_MTU, underlay $LAB_UNDERLAY_MTU, overlay $LAB_OVERLAY_MTU"
  note "  $LAB_DIR"
  status_row client - "$CLIENT4" "$CLIENT6"
  status_row gw uplink "$UPLINK4" "$UPLINK6  (Sluice's, not the kernel's)"
  status_row gw cluster "$GW_UNDERLAY4" "$GW_UNDERLAY6  (Sluice's, not the kernel's)"
  for ((node = 1; node <= LAB_NODES; node++)); do
    status_row "node$node" underlay "$(node_underlay4 "$node")" "$(node_underlay6 "$node")"
  done
  each_pod status_pod
  title 'Reachability without Sluice'
  probe_overlay
}
