# shellcheck shell=bash
# The part `dpdk`: a `net_pcap` device plays requests over and over and takes what is sent;
# what comes out is counted by the program's own statistics. One core does it all.

# Flows, by the name of their rows.
readonly DPDK_FLOWS=(1:1 1k:1024 64k:65536)
# Huge pages for the larger of both: Sluice's pool, or Open vSwitch's 1 GiB and its rings.
readonly DPDK_HUGE_PAGES=600
# Room for all of a capture's frames, and those under way.
readonly DPDK_FRAMES=131072
# Frames that are checked of each program and job.
readonly DPDK_CHECKED=8192

needs_dpdk() {
  need dpdk ip iproute2
  need dpdk curl curl
  need dpdk dpdk-testpmd dpdk
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
      dpdk_config "$2" "$3" >"$DIR/gateway.yaml"
      sluice_up "$DIR/gateway.yaml"
      ;;
    ovs) ovs_up "$2" "$3" ;;
  esac
}

dpdk_down() {
  case $1 in
    sluice) stop "$SLUICE" ;;
    ovs) ovs_down ;;
  esac
  ip netns del "$(ns gw)"
}

# dpdk_count WHO: packets that it has sent.
dpdk_count() {
  case $1 in
    sluice) sluice_count tx ;;
    ovs) ovs_count ;;
  esac
}

# dpdk_row JOB FLOWS WHO
dpdk_row() {
  local before after began ended
  # What has more flows than its exact match cache has room is better off without.
  OVS_EMC=100
  (($(flows_of "$2") <= 8192)) || OVS_EMC=0
  dpdk_up "$3" "$1" "net_pcap0,rx_pcap=$(capture_of "$1" "$2"),infinite_rx=1"
  run sleep 1.5
  before=$(dpdk_count "$3") began=${EPOCHREALTIME/./}
  run sleep "$SECONDS_EACH"
  after=$(dpdk_count "$3") ended=${EPOCHREALTIME/./}
  dpdk_down "$3"
  ((after > before)) || die "row $1-$2-$3 has sent nothing"
  record dpdk "$1-$2-$3" "$(awk -v us=$((ended - began)) -v n=$((after - before)) \
    'BEGIN { printf "%.1f", us * 1e3 / n }')"
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
  local overlay=none snat="{addresses: [${SNAT_IP%.*}.0/24]}" addresses="$UPLINK_IP/$LINK_LEN, $CLUSTER_IP/$LINK_LEN" options=() family=v4
  if [[ $1 == vxlan ]]; then
    overlay=vxlan snat='{mode: preserve}'
  fi
  if [[ $1 == *-v6 ]]; then
    snat="{addresses: ['${SNAT_IP6%:*}:80/121']}"
    addresses="\"$UPLINK_IP6/$LINK_LEN6\", \"$CLUSTER_IP6/$LINK_LEN6\"" options=(--v6) family=v6
  fi
  mkdir -p "$DIR/manifests"
  "$BIN/race" manifests "${options[@]}" >"$DIR/manifests/cluster.yaml"
  cat <<END
ports:
  - name: trunk
    device: "$2"
    addresses: [$addresses]
io:
  backend: dpdk
  frames: $DPDK_FRAMES
  ring_len: 1024
  dpdk: {huge_pages: true}
snat: $snat
END
  sluice_common "$overlay" "$DIR/manifests" trunk "$family"
}

# dpdk_null FLOWS: packets that are received and sent untouched.
dpdk_null() {
  local device="net_pcap0,rx_pcap=$DIR/$1.pcap,infinite_rx=1" ns
  run timeout $((SECONDS_EACH + 3)) dpdk-testpmd --lcores="0@$MAIN_CPU,1@$CPU" --in-memory --no-pci \
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
  record dpdk "null-$1" "$ns"
}
