# shellcheck shell=bash
# A row on veth pairs: clients and a node at the far ends of the gateway's cables, and what is
# counted there.

# Until all flows have begun, and have been answered.
readonly FLOOD_BEGINS_SECONDS=60

needs_network() {
  need "$1" ip iproute2
  need "$1" ethtool ethtool
  need "$1" nft nftables
  need "$1" sysctl procps
  need "$1" setsid util-linux
}

# Built anew for each row: what a row has left in the kernel (hooks of iptables, learned
# addresses) is not for the next one.
race_network_up() {
  network_up v4 1500
  # What arrives is counted, sampled, and goes no further.
  in_ns lab nft -f - <<END
table netdev sink {
  chain ingress {
    type filter hook ingress device n0 priority 0
    udp dport { $VXLAN_PORT, $SERVICE_PORT, $TARGET_PORT } drop
  }
}
END
}

# flood PART ROW EXPECTED WORK [OPTION...]: floods, counts, checks and records the row; options
# are the generator's. WORK is a command that prints for how many nanoseconds the gateway has
# worked, for how many packets, and in how many turns of its loop; or `core`, for what the
# kernel says of its core.
flood() {
  local part=$1 row=$2 expected=$3 work=$4 before after packet_ns core_ns
  shift 4
  rm -f "$DIR/counting"
  begin ip netns exec "$(ns lab)" "$BIN/veth" flood --clients-device c0 --nodes-device n0 \
    --cpu "$GENERATOR_CPU" --gateway-cpu "$CPU" --flows "$FLOWS" --seconds "$SECONDS_EACH" \
    --expect "$expected" --counting "$DIR/counting" "$@" >"$DIR/flood"
  wait_until "$FLOOD_BEGINS_SECONDS" flood_counts || die "row $row does not begin"
  [[ $work == core ]] || read -r -a before < <("$work") || die "row $row: no counters"
  finish || die "row $row did not do what it should"
  read -r packet_ns core_ns _ <"$DIR/flood"
  if [[ $work == core ]]; then
    record "$part" "$row" "$packet_ns" "$core_ns"
    return
  fi
  read -r -a after < <("$work") || die "row $row: no counters"
  ((after[1] > before[1] && after[2] > before[2])) || die "row $row: its counters stand still"
  # shellcheck disable=SC2046 # two numbers
  record "$part" "$row" "$packet_ns" $(awk -v ns=$((after[0] - before[0])) \
    -v packets=$((after[1] - before[1])) -v turns=$((after[2] - before[2])) \
    'BEGIN { printf "%.1f %.1f", ns / packets, packets / turns }')
}

flood_counts() {
  kill -0 "$GROUP" 2>/dev/null || {
    finish || true
    die 'the flood has ended before it counts'
  }
  [[ -e $DIR/counting ]]
}
