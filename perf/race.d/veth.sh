# shellcheck shell=bash
# The parts `veth` and `plain`: requests of many flows to one Service with 10 endpoints, on
# veth pairs; each flow has been answered once before. The sender of a frame pays for its
# receiver there.

needs_veth() {
  local part=${1:-veth}
  needs_network "$part"
  need "$part" bridge iproute2
  need "$part" iptables-legacy-restore iptables
  need "$part" curl curl
  need "$part" taskset util-linux
  need_built "$part" sluice veth race
}

needs_plain() { needs_veth plain; }

# sluice_row PART EXPECTED [OPTION...]: options are of its configuration.
sluice_row() {
  local part=$1 expected=$2
  shift 2
  sluice_objects
  sluice_config "$@"
  race_network_up
  sluice_up "$DIR/gateway.yaml"
  flood "$part" sluice "$expected" sluice_work --answer
  sluice_down
  network_down
}

l2fwd_row() {
  rm -f "$DIR/work"
  race_network_up
  ip netns exec "$(ns gw)" "$BIN/veth" forward --from uplink --to cluster --cpu "$CPU" \
    --work "$DIR/work" &
  local forward=$!
  wait_until 10 l2fwd_works || die 'layer 2 forwarding does not begin'
  flood "$1" l2fwd request l2fwd_work
  stop "$forward"
  network_down
}

l2fwd_works() { [[ -s $DIR/work ]]; }
l2fwd_work() { cat "$DIR/work"; }

# kernel_row PART RULES OVERLAY EXPECTED
kernel_row() {
  race_network_up
  kernel_forwards "$3"
  kernel_rules "$2"
  flood "$1" "kernel-$2" "$4" core --answer
  kernel_answered "$2"
  network_down
}

part_veth() {
  part veth "Service NAT and VXLAN on veth pairs, ns a packet, and of the gateway's core"
  local round
  for ((round = 0; round < ROUNDS; round++)); do
    sluice_row veth service --overlay
    l2fwd_row veth
    kernel_row veth nftables vxlan service
    kernel_row veth iptables vxlan service
    race_network_up
    kernel_forwards vxlan
    flood veth kernel-vxlan routed core --answer
    network_down
  done
  report veth
}

part_plain() {
  part plain "Service NAT on veth pairs, no overlay, ns a packet, and of the gateway's core"
  local round
  for ((round = 0; round < ROUNDS; round++)); do
    sluice_row plain plain
    kernel_row plain nftables none plain
    kernel_row plain iptables none plain
  done
  report plain
}
