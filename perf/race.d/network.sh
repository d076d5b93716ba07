# shellcheck shell=bash
# A client, the gateway and a node in network namespaces, on two cables.

needs_network() {
  need "$1" ip iproute2
  need "$1" ethtool ethtool
  need "$1" nft nftables
  need "$1" sysctl procps
}

# Built anew for each row: what a row has left in the kernel (hooks of iptables, learned
# addresses) is not for the next one.
network_up() {
  local short place device
  for short in client gw node; do
    ip netns add "$(ns "$short")"
    in_ns "$short" sysctl -qw net.ipv6.conf.default.disable_ipv6=1 \
      net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    ip -n "$(ns "$short")" link set lo up
  done
  ip link add name uplink netns "$(ns gw)" address "$UPLINK_MAC" numtxqueues 1 numrxqueues 1 type veth \
    peer name c0 netns "$(ns client)" address "$ROUTER_MAC" numtxqueues 1 numrxqueues 1
  ip link add name cluster netns "$(ns gw)" address "$CLUSTER_MAC" numtxqueues 1 numrxqueues 1 type veth \
    peer name n0 netns "$(ns node)" address "$NODE_MAC" numtxqueues 1 numrxqueues 1
  for place in client:c0 gw:uplink gw:cluster node:n0; do
    short=${place%:*} device=${place#*:}
    in_ns "$short" ethtool -K "$device" tx off tso off gso off gro off >/dev/null
    in_ns "$short" ethtool -K "$device" rxvlan off txvlan off >/dev/null 2>&1 || true
    ip -n "$(ns "$short")" link set "$device" up
  done
  ip -n "$(ns client)" address add "$ROUTER_IP/$LINK_LEN" dev c0
  ip -n "$(ns node)" address add "$NODE_IP/$LINK_LEN" dev n0
  # What arrives is counted, sampled, and goes no further.
  in_ns node nft -f - <<END
table netdev sink {
  chain ingress {
    type filter hook ingress device n0 priority 0
    udp dport { $VXLAN_PORT, $SERVICE_PORT, $TARGET_PORT } drop
  }
}
END
}

network_down() {
  local short
  for short in client gw node; do
    ip netns del "$(ns "$short")"
  done
}

# flood PART ROW EXPECTED [OPTION...]: floods, counts, checks and records the row; options
# are the generator's.
flood() {
  local part=$1 row=$2 expected=$3 generator rate
  shift 3
  ip netns exec "$(ns client)" "$BIN/veth" generate --device c0 --cpu "$MAIN_CPU" --flows "$FLOWS" \
    --seconds $((SECONDS_EACH + 4)) "$@" >/dev/null &
  generator=$!
  run ip netns exec "$(ns node)" "$BIN/veth" sink --device n0 --expect "$expected" \
    --seconds "$SECONDS_EACH" >"$DIR/sink" || die "row $row did not do what it should"
  wait "$generator"
  rate=$(sed -n 's/.*"packets_per_second": \([0-9]*\).*/\1/p' "$DIR/sink")
  ((rate > 0)) || die "row $row has sent nothing"
  record "$part" "$row" "$(awk -v rate="$rate" 'BEGIN { printf "%.1f", 1e9 / rate }')"
}
