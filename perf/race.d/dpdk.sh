# shellcheck shell=bash
# The part `dpdk`: a `net_pcap` device plays requests over and over and takes what is sent;
# what comes out is counted by the program's own statistics. One core does it all.

# Flows, by the name of their rows.
readonly DPDK_FLOWS=(1:1 1k:1024 64k:65536)
# Huge pages for the larger of both: Sluice's pool, or Open vSwitch's 1 GiB and its rings.
readonly DPDK_HUGE_PAGES=600
# Room for all of a capture's frames, and those under way.
readonly DPDK_FRAMES=131072
# A capture has at least as many requests for each answer of ARP or ND in it.
readonly DPDK_REQUESTS_MIN=2048
# Frames in a driver's hands, and those that come between the reading of two counters.
readonly DPDK_UNDER_WAY=16384
# Frames that are checked of each program and job.
readonly DPDK_CHECKED=8192

needs_dpdk() {
  need dpdk ip iproute2
  need dpdk curl curl
  need dpdk taskset util-linux
  need dpdk dpdk-testpmd dpdk-dev
  needs_ovs dpdk
  need_built dpdk sluice veth race
  sluice_has_dpdk || MISSING+=('part dpdk needs a sluice with DPDK (see --help for how to build it)')
}

# Whether it is built with DPDK: it then is linked with it.
sluice_has_dpdk() { [[ ! -x $BIN/sluice || $(ldd "$BIN/sluice") == *librte_eal* ]]; }

part_dpdk() {
  part dpdk "NAT on DPDK's virtual devices, ns a packet"
  local round job flows
  huge_pages "$DPDK_HUGE_PAGES"
  for flows in "${DPDK_FLOWS[@]}"; do
    "$BIN/race" capture --flows "${flows#*:}" --to "$DIR/${flows%:*}.pcap"
    "$BIN/race" capture --flows "${flows#*:}" --to "$DIR/${flows%:*}-v6.pcap" --v6
  done
  for job in nat vxlan nat-v6; do
    dpdk_check "$job" sluice
    dpdk_check "$job" ovs
  done
  for ((round = 0; round < ROUNDS; round++)); do
    for flows in "${DPDK_FLOWS[@]}"; do
      flows=${flows%:*}
      dpdk_null "$flows"
      for job in nat vxlan nat-v6; do
        dpdk_row "$job" "$flows" sluice
        dpdk_row "$job" "$flows" ovs
      done
    done
  done
  huge_pages_back
  report dpdk
}

# flows_of NAME: how many that is.
flows_of() {
  local flows
  for flows in "${DPDK_FLOWS[@]}"; do
    [[ ${flows%:*} != "$1" ]] || printf '%s' "${flows#*:}"
  done
}

# capture_of JOB FLOWS: the file that the device plays.
capture_of() {
  case $1 in
    *-v6) printf '%s/%s-v6.pcap' "$DIR" "$2" ;;
    *) printf '%s/%s.pcap' "$DIR" "$2" ;;
  esac
}

# dpdk_up WHO JOB DEVICE: in a namespace of its own.
dpdk_up() {
  ip netns add "$(ns gw)"
  in_ns gw sysctl -qw net.ipv6.conf.default.disable_ipv6=1
  in_ns gw ip link set lo up
  case $1 in
    sluice)
      dpdk_config "$2" "$3"
      sluice_up "$DIR/gateway.yaml"
      ;;
    ovs) ovs_up "$2" "$3" ;;
  esac
}

dpdk_down() {
  case $1 in
    sluice) sluice_down ;;
    ovs) ovs_down ;;
  esac
  ip netns del "$(ns gw)"
}

# dpdk_counts WHO: packets that it has received, sent, and dropped, and when that was, in
# microseconds.
dpdk_counts() {
  case $1 in
    sluice) sluice_counts ;;
    ovs) ovs_counts ;;
  esac
}

# dpdk_row JOB FLOWS WHO
dpdk_row() {
  local before after row=$1-$2-$3
  # What has more flows than its exact match cache has room is better off without.
  OVS_EMC=100
  (($(flows_of "$2") <= 8192)) || OVS_EMC=0
  dpdk_up "$3" "$1" "net_pcap0,rx_pcap=$(capture_of "$1" "$2"),infinite_rx=1"
  run sleep 1.5
  read -r -a before < <(dpdk_counts "$3") || die "row $row: $3 tells nothing"
  run sleep "$SECONDS_EACH"
  read -r -a after < <(dpdk_counts "$3") || die "row $row: $3 tells nothing"
  dpdk_down "$3"
  nothing_lost "$row" $((after[0] - before[0])) $((after[1] - before[1])) $((after[2] - before[2]))
  record dpdk "$row" "$(awk -v us=$((after[3] - before[3])) -v n=$((after[1] - before[1])) \
    'BEGIN { printf "%.1f", us * 1e3 / n }')"
}

# nothing_lost ROW RECEIVED SENT DROPPED: all that was received was sent, but for the answer of
# ARP or ND in each turn of the capture, and what is under way while counters are read.
nothing_lost() {
  (($3 > 0)) || die "row $1 has sent nothing"
  (($4 == 0)) || die "row $1 has dropped $4 packets of $2"
  (($2 - $3 <= $2 / DPDK_REQUESTS_MIN + DPDK_UNDER_WAY && $3 - $2 <= DPDK_UNDER_WAY)) ||
    die "row $1 has received $2 packets and sent $3"
}

# dpdk_check JOB WHO: what it sends goes to a pipe, and the check reads it.
dpdk_check() {
  local expected checker options=()
  case $1-$2 in
    vxlan-*) expected=kept-vxlan ;;
    *-sluice) expected=plain ;;
    *) expected=kept ;;
  esac
  [[ $1 != *-v6 ]] || options=(--v6)
  # Requests that are translated in IPv6 have no room for a number.
  [[ $1-$expected == *-v6-plain ]] || options+=(--flows-seen "$(flows_of 1k)")
  rm -f "$DIR/sent" "$DIR/checked"
  mkfifo "$DIR/sent"
  "$BIN/race" check --from "$DIR/sent" --expect "$expected" --frames "$DPDK_CHECKED" \
    --done "$DIR/checked" "${options[@]}" >"$DIR/check" 2>&1 &
  checker=$!
  dpdk_up "$2" "$1" "net_pcap0,rx_pcap=$(capture_of "$1" 1k),infinite_rx=1,tx_pcap=$DIR/sent"
  wait_until 20 dpdk_checked "$checker" || die "$2 does not send what it should, $1"
  dpdk_down "$2"
  wait "$checker" || true
  say "  $1, $2: $(head -n 1 "$DIR/check")"
}

dpdk_checked() {
  kill -0 "$1" 2>/dev/null || {
    cat "$DIR/check" >&2
    die 'what was sent is wrong'
  }
  [[ -e $DIR/checked ]]
}

# dpdk_config JOB DEVICE: a gateway on one port for both sides. Without an overlay Sluice
# translates clients, too.
dpdk_config() {
  local options=(--trunk "$2" --frames "$DPDK_FRAMES") family=()
  [[ $1 != vxlan ]] || options+=(--overlay --keep-clients)
  [[ $1 != *-v6 ]] || family=(--v6)
  sluice_objects "${family[@]}"
  sluice_config "${options[@]}" "${family[@]}"
}

# dpdk_null FLOWS: packets that are received and sent untouched.
dpdk_null() {
  local device="net_pcap0,rx_pcap=$DIR/$1.pcap,infinite_rx=1" ns received sent dropped
  run timeout $((SECONDS_EACH + 3)) dpdk-testpmd --lcores="0@$GENERATOR_CPU,1@$CPU" --in-memory --no-pci \
    --no-telemetry --file-prefix="$NAME-null" --vdev="$device" -- --forward-mode=io \
    --port-topology=loop --nb-cores=1 --stats-period=1 --total-num-mbufs="$DPDK_FRAMES" \
    </dev/null >"$DIR/null" 2>&1 || true
  # The last whole second counts.
  ns=$(awk '$1 == "Tx-pps:" { rates[++n] = $2 }
    END { if (n > 1 && rates[n - 1] > 0) printf "%.1f", 1e9 / rates[n - 1] }' "$DIR/null")
  [[ -n $ns ]] || {
    tail -n 20 "$DIR/null" >&2
    die 'dpdk-testpmd has sent nothing'
  }
  # Its last statistics: RX-packets: N RX-missed: N, RX-errors: N, TX-packets: N TX-errors: N.
  read -r received sent dropped < <(awk '
    { for (i = 1; i < NF; i++) last[$i] = $(i + 1) }
    END {
      dropped = last["RX-missed:"] + last["RX-errors:"] + last["TX-errors:"]
      printf "%d %d %d\n", last["RX-packets:"], last["TX-packets:"], dropped
    }' "$DIR/null")
  nothing_lost "null-$1" "$received" "$sent" "$dropped"
  record dpdk "null-$1" "$ns"
}
