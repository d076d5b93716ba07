# shellcheck shell=bash
# Open vSwitch with DPDK, in a namespace and a folder of its own: never the system's.

readonly OVS_SWITCHD=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
readonly OVS_SCHEMA=/usr/share/openvswitch/vswitch.ovsschema
readonly OVS_PORT=trunk OVS_BRIDGE=br0
# One in so many packets that find no entry there makes one in the exact match cache; 0: none.
OVS_EMC=100

needs_ovs() {
  need "$1" "$OVS_SWITCHD" openvswitch-switch-dpdk
  need "$1" ovsdb-server openvswitch-switch
  need "$1" ovs-ofctl openvswitch-switch
}

ovs_vsctl() { in_ns gw ovs-vsctl --timeout=30 --db="unix:$OVS/db.sock" "$@"; }
ovs_appctl() { in_ns gw ovs-appctl --timeout=10 --target="$OVS/switchd.ctl" "$@"; }
ovs_ofctl() { in_ns gw ovs-ofctl -O OpenFlow15 "$@"; }

# ovs_up JOB DEVICE: starts it with one port, which plays a capture. The job is `nat`, `nat-v6`
# or `vxlan`.
ovs_up() {
  OVS=$DIR/ovs
  rm -rf "$OVS"
  mkdir "$OVS"
  export OVS_RUNDIR=$OVS OVS_LOGDIR=$OVS OVS_DBDIR=$OVS OVS_SYSCONFDIR=$OVS
  ovsdb-tool create "$OVS/db" "$OVS_SCHEMA"
  ip netns exec "$(ns gw)" ovsdb-server "$OVS/db" --remote="punix:$OVS/db.sock" \
    --unixctl="$OVS/db.ctl" --log-file="$OVS/db.log" >"$OVS/db.out" 2>&1 &
  OVS_DB=$!
  wait_until 10 ovs_has "$OVS_DB" "$OVS/db.sock" || ovs_failed 'ovsdb-server does not start'
  ovs_vsctl --no-wait init
  ovs_options
  ip netns exec "$(ns gw)" "$OVS_SWITCHD" "unix:$OVS/db.sock" --pidfile="$OVS/switchd.pid" \
    --unixctl="$OVS/switchd.ctl" --log-file="$OVS/switchd.log" >"$OVS/switchd.out" 2>&1 &
  OVS_SWITCH=$!
  wait_until 20 ovs_has "$OVS_SWITCH" "$OVS/switchd.ctl" || ovs_failed 'ovs-vswitchd does not start'
  ovs_vsctl add-br "$OVS_BRIDGE" -- set bridge "$OVS_BRIDGE" datapath_type=netdev \
    protocols=OpenFlow15 fail-mode=secure "other-config:hwaddr=\"$DEVICE_MAC\"" || ovs_failed 'no bridge'
  if [[ $1 == vxlan ]]; then
    ovs_tunnel
  fi
  ovs_rules "$1"
  # Last, when all else is there: it plays at once.
  ovs_vsctl add-port "$OVS_BRIDGE" "$OVS_PORT" -- set interface "$OVS_PORT" type=dpdk ofport_request=1 \
    options:dpdk-devargs="\"$2\"" || ovs_failed 'no port'
  [[ $(ovs_vsctl get interface "$OVS_PORT" error) == '[]' ]] || ovs_failed 'the device cannot be used'
}

ovs_has() {
  kill -0 "$1" 2>/dev/null || ovs_failed 'Open vSwitch has ended'
  [[ -S $2 ]]
}

ovs_failed() {
  tail -n 20 "$OVS"/*.out "$OVS"/*.log >&2
  die "$1"
}

# What peers/ovs.options says, with masks of cores and what EAL is told.
ovs_options() {
  local line options=()
  while read -r line; do
    [[ -z $line || $line == '#'* ]] || options+=("other_config:$line")
  done < <(fill "$PERF/peers/ovs.options" MAIN_MASK="0x$(core_mask "$GENERATOR_CPU")" \
    PMD_MASK="0x$(core_mask "$CPU")" EMC="$OVS_EMC" EAL="--in-memory --no-pci --no-telemetry --file-prefix=$NAME")
  ovs_vsctl --no-wait set Open_vSwitch . "${options[@]}"
}

# The tunnel: its outer headers are made by the addresses of the bridge's own device.
ovs_tunnel() {
  in_ns gw ip address add "$CLUSTER_IP/$LINK_LEN" dev "$OVS_BRIDGE"
  in_ns gw ip link set "$OVS_BRIDGE" up
  ovs_vsctl add-port "$OVS_BRIDGE" vxlan -- set interface vxlan type=vxlan ofport_request=2 \
    options:remote_ip="$NODE_IP" options:key="$VNI" options:dst_port="$VXLAN_PORT"
  ovs_appctl tnl/egress_port_range 49152 65535 >/dev/null
  ovs_appctl tnl/neigh/set "$OVS_BRIDGE" "$NODE_IP" "$NODE_MAC" >/dev/null
}

# ovs_rules JOB: the flows of peers/ovs.flows, and a group with a bucket for each pod.
ovs_rules() {
  local pod group='group_id=1,type=select,selection_method=dp_hash' values
  local udp=udp dst=ip_dst vip=$VIP pods=("${PODS[@]}")
  if [[ $1 == *-v6 ]]; then
    udp=udp6 dst=ipv6_dst vip=$VIP6 pods=("${PODS6[@]/#/[}") pods=("${pods[@]/%/]}")
  fi
  values=(UDP="$udp" DST="$dst" VIP="$vip" PORT="$SERVICE_PORT")
  case $1 in
    vxlan) values+=(SRC_MAC="$OVERLAY_MAC" DST_MAC="$VTEP_MAC" OUT=output:2) ;;
    *) values+=(SRC_MAC="$DEVICE_MAC" DST_MAC="$NODE_MAC" OUT=in_port) ;;
  esac
  for pod in "${pods[@]}"; do
    group+=",bucket=actions=ct(commit,zone=1,nat(dst=$pod:$TARGET_PORT),table=2)"
  done
  ovs_ofctl add-group "$OVS_BRIDGE" "$group"
  fill "$PERF/peers/ovs.flows" "${values[@]}" >"$OVS/flows"
  ovs_ofctl add-flows "$OVS_BRIDGE" "$OVS/flows"
}

# Packets that were received by the device and sent by it, by its own statistics, and dropped
# by anyone, and when that was. An answer of ARP or ND is for nobody here: the rules drop it,
# and that does not count.
ovs_counts() {
  local port now dropped
  port=$(ovs_appctl dpctl/show -s netdev@ovs-netdev)
  now=${EPOCHREALTIME/./}
  dropped=$(ovs_appctl coverage/show | awk '/^datapath_drop_/ { sum += $NF } END { printf "%d", sum }')
  awk -v port="$OVS_PORT" -v dropped="$dropped" -v now="$now" '
    $1 == "port" { mine = $3 == port }
    mine && /packets:/ {
      for (i = 2; i <= NF; i++) {
        split($i, pair, ":")
        count[$1 pair[1]] = pair[2]
      }
    }
    END {
      dropped += count["RXerrors"] + count["RXdropped"] + count["TXerrors"] + count["TXdropped"]
      printf "%.0f %.0f %.0f %.0f\n", count["RXpackets"], count["TXpackets"], dropped, now
    }' <<<"$port"
}

ovs_down() {
  stop "$OVS_SWITCH"
  stop "$OVS_DB"
}

# fill FILE NAME=VALUE...: prints a file with values in the place of @NAME@.
fill() {
  local text pair
  text=$(<"$1")
  shift
  for pair in "$@"; do
    text=${text//@"${pair%%=*}"@/${pair#*=}}
  done
  printf '%s\n' "$text"
}
