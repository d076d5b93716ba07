# shellcheck shell=bash
# The job in the kernel: routes or a vxlan device as flannel makes it, and rules as kube-proxy
# writes them for the same Service (peers/kube-proxy.*), but for the ports of masquerade, which
# are bounded as Sluice's are, so that one check fits both.

# kernel_forwards OVERLAY: `vxlan` or `none`.
kernel_forwards() {
  in_ns gw sysctl -qw net.ipv4.ip_forward=1
  # Forwarding runs on the core that the others have, not on the generator's.
  kernel_mask "$CPU" | in_ns gw tee /sys/class/net/uplink/queues/rx-0/rps_cpus >/dev/null
  ip -n "$(ns gw)" -batch - <<END
address add $UPLINK_IP/$LINK_LEN dev uplink
address add $CLUSTER_IP/$LINK_LEN dev cluster
route add default via $ROUTER_IP
END
  if [[ $1 == none ]]; then
    ip -n "$(ns gw)" route add "$POD_NET/$POD_LEN" via "$NODE_IP"
    return
  fi
  ip -n "$(ns gw)" -batch - <<END
link add name vxlan address $OVERLAY_MAC mtu 1450 type vxlan id $VNI dev cluster local $CLUSTER_IP dstport $VXLAN_PORT srcport 49152 65535 df set nolearning
link set vxlan up
address add $SNAT_IP/32 dev vxlan
neighbor add $POD_NET lladdr $VTEP_MAC dev vxlan nud permanent
route add $POD_NET/$POD_LEN via $POD_NET dev vxlan onlink
END
  in_ns gw ethtool -K vxlan tx off gso off gro off >/dev/null
  bridge -n "$(ns gw)" fdb add "$VTEP_MAC" dev vxlan dst "$NODE_IP" self permanent
}

# kernel_mask CORE: a mask as sysfs takes it, with a comma before each eight digits.
kernel_mask() { core_mask "$1" | sed -E ':again; s/^([0-9a-f]+)([0-9a-f]{8})/\1,\2/; t again'; }

# kernel_answered RULES: every flow is there, and was answered, by the connections that the
# kernel tracks. (Each packet of the tunnel's is one for it, too, which nobody answers.)
kernel_answered() {
  local flows unreplied
  read -r flows unreplied < <(in_ns gw awk -v port="dport=$SERVICE_PORT " '
    index($0, port) { flows++; unreplied += /UNREPLIED/ }
    END { print flows + 0, unreplied + 0 }' /proc/net/nf_conntrack)
  ((flows == FLOWS && unreplied == 0)) ||
    die "$1 tracks $flows flows of $FLOWS, $unreplied of them unanswered"
}

# kernel_rules MODE: nftables or iptables.
kernel_rules() {
  "$BIN/race" rules "$1" >"$DIR/rules"
  case $1 in
    nftables) in_ns gw nft -f "$DIR/rules" ;;
    iptables) in_ns gw iptables-legacy-restore "$DIR/rules" ;;
  esac
}
