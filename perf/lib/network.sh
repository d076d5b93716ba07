# shellcheck shell=bash
# Two network namespaces on two cables: in `gw` the gateway, with `uplink` and `cluster`; in
# `lab` whoever plays clients and nodes at their other ends, `c0` and `n0`. The addresses are
# variables, as `lab addresses` and `race addresses` print them. Of more than one node, each of
# the others is at a device of its own on top of `n0`.

# network_up FAMILY UNDERLAY_MTU: one queue a device, checksums whole, nothing merged.
network_up() {
  local short place device address nodad=() node_ips=("${NODE_IPS[@]}")
  local router=$ROUTER_IP len=$LINK_LEN
  if [[ $1 == v6 ]]; then
    nodad=(nodad) node_ips=("${NODE_IPS6[@]}") router=$ROUTER_IP6 len=$LINK_LEN6
  fi
  for short in lab gw; do
    ip netns add "$(ns "$short")"
    in_ns "$short" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
      net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
    ip -n "$(ns "$short")" link set lo up
  done
  in_ns gw sysctl -qw net.ipv6.conf.default.disable_ipv6=1
  [[ $1 == v6 ]] || in_ns lab sysctl -qw net.ipv6.conf.default.disable_ipv6=1
  ip link add name uplink netns "$(ns gw)" address "$UPLINK_MAC" numtxqueues 1 numrxqueues 1 type veth \
    peer name c0 netns "$(ns lab)" address "$ROUTER_MAC" numtxqueues 1 numrxqueues 1
  ip link add name cluster netns "$(ns gw)" address "$CLUSTER_MAC" mtu "$2" \
    numtxqueues 1 numrxqueues 1 type veth \
    peer name n0 netns "$(ns lab)" address "$NODE_MAC" mtu "$2" numtxqueues 1 numrxqueues 1
  for place in lab:c0 gw:uplink gw:cluster lab:n0; do
    short=${place%:*} device=${place#*:}
    in_ns "$short" ethtool -K "$device" tx off tso off gso off gro off >/dev/null
    in_ns "$short" ethtool -K "$device" rxvlan off txvlan off >/dev/null 2>&1 || true
    ip -n "$(ns "$short")" link set "$device" up
  done
  ip -n "$(ns lab)" address add "$router/$len" dev c0 "${nodad[@]}"
  ip -n "$(ns lab)" address add "${node_ips[0]}/$len" dev n0 "${nodad[@]}"
  more_nodes "${node_ips[@]:1}"
}

# more_nodes ADDRESS...: each node has a MAC of its own, and so a device that answers for it,
# and nobody else does.
more_nodes() {
  local address number=0
  (($#)) || return 0
  in_ns lab sysctl -qw net.ipv4.conf.all.arp_ignore=1
  for address in "$@"; do
    number=$((number + 1))
    printf 'link add link n0 name n%d address %s:%02x:%02x type macvlan mode bridge\n' \
      "$number" "${NODE_MAC%:*:*}" $((number / 256)) $((number % 256))
    printf 'address add %s dev n%d nodad\n' "$address" "$number"
    printf 'link set n%d up\n' "$number"
  done | ip -n "$(ns lab)" -batch -
}

network_down() {
  local short
  for short in lab gw; do
    ip netns del "$(ns "$short")"
  done
}
