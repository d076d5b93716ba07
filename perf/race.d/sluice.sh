# shellcheck shell=bash
# Sluice in the gateway's namespace.

# sluice_config OVERLAY FOLDER: on veth pairs; the overlay is `vxlan` or `none`.
sluice_config() {
  cat <<END
ports:
  - name: uplink
    device: uplink
    addresses: [$UPLINK_IP/$LINK_LEN]
  - name: cluster
    device: cluster
    addresses: [$CLUSTER_IP/$LINK_LEN]
snat:
  addresses: [${SNAT_IP%.*}.0/24]
END
  sluice_common "$1" "$2" cluster
}

# sluice_common OVERLAY FOLDER PORT [v6]: what goes by all devices; the port is the cluster's.
sluice_common() {
  local routes any=0.0.0.0/0 router=$ROUTER_IP pods=$POD_NET/$POD_LEN node=$NODE_IP
  if [[ ${4-} == v6 ]]; then
    any=::/0 router=$ROUTER_IP6 pods=$POD_NET6/$POD_LEN6 node=$NODE_IP6
  fi
  if [[ $1 == vxlan ]]; then
    routes="[{to: '$any', via: '$router'}]"
    cat <<END
overlay:
  vxlan:
    vni: $VNI
    udp_port: $VXLAN_PORT
    port: $3
    addresses: [$CLUSTER_IP]
    mac: "$OVERLAY_MAC"
END
  else
    routes="[{to: '$any', via: '$router'}, {to: '$pods', via: '$node'}]"
  fi
  cat <<END
routes: $routes
workers:
  count: 1
  cores: [$CPU]
  idle: {mode: busy_poll}
cluster:
  pod_cidrs: [10.0.0.0/9, "2001:db8:8000::/33"]
  service_cidrs: [172.20.0.0/15, "2001:db8:3::/108"]
source:
  manifests: {path: $2}
admin:
  socket: $DIR/sluice.sock
logging: {level: warn}
END
}

# sluice_up CONFIG: starts it; SLUICE is its process.
sluice_up() {
  rm -f "$DIR/sluice.sock"
  # The program itself, not a shell round it, is what gets the signal.
  ip netns exec "$(ns gw)" "$BIN/sluice" run --config "$1" >"$DIR/sluice.log" 2>&1 &
  SLUICE=$!
  wait_until 15 sluice_answers || sluice_failed 'Sluice does not start'
}

sluice_answers() {
  kill -0 "$SLUICE" 2>/dev/null || sluice_failed 'Sluice has ended'
  [[ -S $DIR/sluice.sock ]]
}

sluice_failed() {
  cat "$DIR/sluice.log" >&2
  die "$1"
}

# sluice_count DIRECTION: packets of all ports, by its own metrics.
sluice_count() {
  in_ns gw curl -sS --max-time 5 http://127.0.0.1:9090/metrics |
    awk -v direction="direction=\"$1\"" '
      index($0, "sluice_port_packets_total{") == 1 && index($0, direction) { sum += $NF }
      END { printf "%.0f", sum }'
}
