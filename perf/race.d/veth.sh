# shellcheck shell=bash
# The parts `veth` and `plain`: requests of many flows to one Service with 10 endpoints, on
# veth pairs. The sender of a frame pays for its receiver there.

needs_veth() {
  local part=${1:-veth}
  needs_network "$part"
  need "$part" bridge iproute2
  need "$part" iptables-legacy-restore iptables
  need_built "$part" sluice veth race
}

needs_plain() { needs_veth plain; }

# sluice_row PART OVERLAY EXPECTED
sluice_row() {
  mkdir -p "$DIR/manifests"
  "$BIN/race" manifests >"$DIR/manifests/cluster.yaml"
  sluice_config "$2" "$DIR/manifests" >"$DIR/gateway.yaml"
  network_up
  sluice_up "$DIR/gateway.yaml"
  sleep 1
  flood "$1" sluice "$3"
  stop "$SLUICE"
  network_down
}

l2fwd_row() {
  network_up
  ip netns exec "$(ns gw)" "$BIN/veth" forward --from uplink --to cluster --cpu "$CPU" \
    --seconds $((SECONDS_EACH + 8)) &
  local forward=$!
  sleep 1
  flood "$1" l2fwd request
  stop "$forward"
  network_down
}

# kernel_row PART RULES OVERLAY EXPECTED
kernel_row() {
  network_up
  kernel_forwards "$3"
  kernel_rules "$2"
  flood "$1" "kernel-$2" "$4"
  network_down
}

part_veth() {
  part veth 'Service NAT and VXLAN on veth pairs, ns a packet'
  local round
  for ((round = 0; round < ROUNDS; round++)); do
    sluice_row veth vxlan service
    l2fwd_row veth
    kernel_row veth nftables vxlan service
    kernel_row veth iptables vxlan service
    network_up
    kernel_forwards vxlan
    flood veth kernel-vxlan routed --direct
    network_down
  done
  report veth
}

part_plain() {
  part plain 'Service NAT on veth pairs, no overlay, ns a packet'
  local round
  for ((round = 0; round < ROUNDS; round++)); do
    sluice_row plain none plain
    kernel_row plain nftables none plain
    kernel_row plain iptables none plain
  done
  report plain
}
