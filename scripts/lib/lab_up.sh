# shellcheck shell=bash
# Builds the lab's namespaces, devices, addresses, routes and tunnels.

# Namespaces in the order in which they are made.
planned_namespaces() {
  local node
  printf 'client\ngw\nlan\n'
  for ((node = 1; node <= LAB_NODES; node++)); do
    printf 'node%d\n' "$node"
  done
  each_pod pod_name_line
}

pod_name_line() { printf '%s\n' "$(pod_name "$1" "$2")"; }

# Settings that new devices of a namespace inherit: addresses usable at once, no
# router discovery, no reverse-path filter (which is about other things than this lab).
settings_common=(
  net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
  net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
  net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
)
settings_node=(net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1)
# No kernel address at all: whatever a device sends was sent by Sluice or bridged.
settings_silent=(net.ipv6.conf.default.disable_ipv6=1)

make_namespaces() {
  local short
  planned_namespaces | while read -r short; do
    ip netns add "$(ns "$short")"
    ip -n "$(ns "$short")" link set lo up
    case $short in
      gw | lan) in_ns "$short" sysctl -qw "${settings_common[@]}" "${settings_silent[@]}" ;;
      node*) in_ns "$short" sysctl -qw "${settings_common[@]}" "${settings_node[@]}" ;;
      *) in_ns "$short" sysctl -qw "${settings_common[@]}" ;;
    esac
  done
}

# veth NAMESPACE DEVICE MAC  NAMESPACE DEVICE MAC  MTU QUEUES: one cable.
# A veth sends from transmit queue q into receive queue q of its peer, so both
# ends have the same number.
veth() {
  local queues="numtxqueues $8 numrxqueues $8"
  # shellcheck disable=SC2086 # the queue options are words
  ip link add name "$2" netns "$(ns "$1")" address "$3" mtu "$7" $queues type veth \
    peer name "$5" netns "$(ns "$4")" address "$6" mtu "$7" $queues
}

make_cables() {
  local node
  veth gw uplink 02:00:c0:00:02:01 client eth0 02:00:c0:00:02:0a "$LAB_UPLINK_MTU" "$LAB_QUEUES"
  veth gw cluster 02:00:0a:0a:01:01 lan gw 02:00:0a:0a:02:01 "$LAB_UNDERLAY_MTU" "$LAB_QUEUES"
  for ((node = 1; node <= LAB_NODES; node++)); do
    veth "node$node" eth0 "02:00:0a:0a:01:1$node" \
      lan "node$node" "02:00:0a:0a:02:1$node" "$LAB_UNDERLAY_MTU" 1
  done
  each_pod make_pod_cable
}

make_pod_cable() {
  local name
  name=$(pod_name "$1" "$2")
  veth "$name" eth0 "02:00:0a:f4:0$1:$((10 + $2))" \
    "node$1" "$name" "02:00:0a:f5:0$1:$((10 + $2))" "$LAB_OVERLAY_MTU" 1
}

# Each end of a cable computes whole checksums and cuts its own segments: a
# packet that a veth hands over half done looks like a damaged one to Sluice.
turn_offloads_off() {
  local short
  planned_namespaces | while read -r short; do
    # shellcheck disable=SC2016 # expanded in the namespace
    in_ns "$short" bash -c '
      for path in /sys/class/net/*; do
        device=${path##*/}
        case $device in lo | br0 | cni0 | vxlan) continue ;; esac
        ethtool -K "$device" tx off tso off gso off gro off >/dev/null
        ethtool -K "$device" rxvlan off txvlan off >/dev/null 2>&1 || true
      done' </dev/null
  done
}

configure_client() {
  ip -n "$(ns client)" -batch - <<END
link set eth0 up
address add $CLIENT4/24 dev eth0
address add $CLIENT6/64 dev eth0 nodad
route add $VIP_NET4 via $UPLINK4
route add $POD_NET4 via $UPLINK4
route add $VIP_NET6 via $UPLINK6
route add $POD_NET6 via $UPLINK6
END
}

configure_gateway() {
  ip -n "$(ns gw)" -batch - <<END
link set uplink up
link set cluster up
END
}

configure_lan() {
  local node
  {
    printf 'link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n'
    printf 'link set br0 mtu %s up\n' "$LAB_UNDERLAY_MTU"
    printf 'link set gw master br0 up\n'
    for ((node = 1; node <= LAB_NODES; node++)); do
      printf 'link set node%d master br0 up\n' "$node"
    done
  } | ip -n "$(ns lan)" -batch -
}

configure_node() {
  ip -n "$(ns "node$1")" -batch - <<END
link set eth0 up
address add $(node_underlay4 "$1")/24 dev eth0
address add $(node_underlay6 "$1")/64 dev eth0 nodad
END
}

# A node as flannel leaves it: a bridge for its pods, and a vxlan device whose
# peers are written down (routes, neighbors and forwarding entries) instead of
# learned.
configure_overlay() {
  local node=$1 peer local_vtep
  if [[ $LAB_UNDERLAY == ipv6 ]]; then
    local_vtep=$(node_underlay6 "$node")
  else
    local_vtep=$(node_underlay4 "$node")
  fi
  ip -n "$(ns "node$node")" -batch - <<END
link add name cni0 mtu $LAB_OVERLAY_MTU type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set cni0 up
address add 10.244.$node.1/24 dev cni0
address add fd00:10:244:$node::1/64 dev cni0 nodad
link add name vxlan address $(node_vtep_mac "$node") mtu $LAB_OVERLAY_MTU type vxlan id $VNI dev eth0 local $local_vtep dstport $VXLAN_PORT nolearning noudp6zerocsumtx noudp6zerocsumrx
link set vxlan up
address add $(node_inner4 "$node")/32 dev vxlan
address add $(node_inner6 "$node")/128 dev vxlan nodad
END
  in_ns "node$node" ethtool -K vxlan tx off gso off gro off >/dev/null
  for ((peer = 1; peer <= LAB_NODES; peer++)); do
    if ((peer != node)); then
      tunnel "$node" "$(node_vtep_mac "$peer")" \
        "$(node_underlay4 "$peer")" "$(node_underlay6 "$peer")" \
        "$(node_inner4 "$peer")" "$(node_inner6 "$peer")" \
        "$(node_cidr4 "$peer")" "$(node_cidr6 "$peer")"
    fi
  done
  tunnel "$node" "$GW_VTEP_MAC" "$GW_UNDERLAY4" "$GW_UNDERLAY6" "$GW_INNER4" "$GW_INNER6" \
    "$SNAT_NET4" "$SNAT_NET6" "$SERVICE_NET4" "$SERVICE_NET6" \
    "$VIP_NET4" "$VIP_NET6" "$UPLINK_NET4" "$UPLINK_NET6"
}

# tunnel NODE MAC UNDERLAY4 UNDERLAY6 INNER4 INNER6 PREFIX...: what lies behind
# one peer of the node's vxlan device. The next hop needs no address on any
# device (onlink): its link-layer address is permanent.
tunnel() {
  local node=$1 mac=$2 underlay=$3 inner4=$5 inner6=$6 prefix
  [[ $LAB_UNDERLAY == ipv6 ]] && underlay=$4
  shift 6
  bridge -n "$(ns "node$node")" fdb add "$mac" dev vxlan dst "$underlay" self permanent
  {
    printf 'neighbor add %s lladdr %s dev vxlan nud permanent\n' "$inner4" "$mac" "$inner6" "$mac"
    for prefix in "$@"; do
      if [[ $prefix == *:* ]]; then
        printf 'route add %s via %s dev vxlan onlink\n' "$prefix" "$inner6"
      else
        printf 'route add %s via %s dev vxlan onlink\n' "$prefix" "$inner4"
      fi
    done
  } | ip -n "$(ns "node$node")" -batch -
}

configure_pod() {
  local node=$1 name
  name=$(pod_name "$1" "$2")
  ip -n "$(ns "node$node")" link set "$name" master cni0 up
  ip -n "$(ns "$name")" -batch - <<END
link set eth0 up
address add $(pod_address4 "$1" "$2")/24 dev eth0
address add $(pod_address6 "$1" "$2")/64 dev eth0 nodad
route add default via 10.244.$node.1
route add default via fd00:10:244:$node::1
END
}

# Everything of the network, in order. LAB_* options are set.
build_network() {
  local node
  make_namespaces
  make_cables
  configure_client
  configure_gateway
  configure_lan
  for ((node = 1; node <= LAB_NODES; node++)); do
    configure_node "$node"
    ((LAB_PODS == 0)) || configure_overlay "$node"
  done
  each_pod configure_pod
  turn_offloads_off
}
