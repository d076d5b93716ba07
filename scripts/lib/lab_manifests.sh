# shellcheck shell=bash
# Writes what Sluice reads: gateway.yaml and the folder manifests/.

# manifest FILE: writes standard input there in one step, so that a reader of
# the folder sees the old file or the new one, never a part.
manifest() {
  local staged=$LAB_DIR/staged.$BASHPID
  cat >"$staged"
  mv "$staged" "$LAB_DIR/manifests/$1"
}

# gateway_device NUMBER DEVICE: the device as gateway.yaml has it.
gateway_device() {
  local queues=
  case $LAB_IO in
    af_xdp) printf '%s' "$2" && return ;;
    net_af_packet) queues=qpairs=$LAB_QUEUES,framecnt=1024 ;;
    net_af_xdp) queues=start_queue=0,queue_count=$LAB_QUEUES ;;
  esac
  printf '%s%d,iface=%s,%s' "$LAB_IO" "$1" "$2" "$queues"
}

write_gateway_config() {
  local vtep=$GW_UNDERLAY4 io='attach: auto
  copy: auto'
  [[ $LAB_IO == af_xdp ]] || io='backend: dpdk
  dpdk: {huge_pages: false}'
  [[ $LAB_UNDERLAY == ipv6 ]] && vtep=$GW_UNDERLAY6
  cat >"$LAB_DIR/gateway.yaml" <<END
ports:
  - name: uplink
    device: $(gateway_device 0 uplink)
    addresses: [$UPLINK4/24, "$UPLINK6/64"]
  - name: cluster
    device: $(gateway_device 1 cluster)
    addresses: [$GW_UNDERLAY4/24, "$GW_UNDERLAY6/64"]

workers:
  count: $LAB_QUEUES
  idle:
    mode: adaptive

io:
  $io
  frames: 32768
  ring_len: 2048

overlay:
  vxlan:
    vni: $VNI
    udp_port: $VXLAN_PORT
    port: cluster
    addresses: ["$vtep"]
    mac: "$GW_VTEP_MAC"

routes:
  - to: 0.0.0.0/0
    via: $CLIENT4
  - to: "::/0"
    via: "$CLIENT6"

snat:
  addresses: [10.244.255.0/28, "fd00:10:244:ff::/124"]

cluster:
  pod_cidrs: [$POD_NET4, "$POD_NET6"]
  service_cidrs: [$SERVICE_NET4, "$SERVICE_NET6"]

source:
  manifests:
    path: $LAB_DIR/manifests

metrics:
  listen: "127.0.0.1:9090"

admin:
  socket: $LAB_DIR/sluice.sock
END
}

write_node() {
  local node=$1 first second
  first=$(node_underlay4 "$node") second=$(node_underlay6 "$node")
  [[ $LAB_UNDERLAY == ipv6 ]] && first=$(node_underlay6 "$node") second=$(node_underlay4 "$node")
  manifest "node-node$node.yaml" <<END
apiVersion: v1
kind: Node
metadata:
  name: node$node
  annotations:
    sluice.dev/vtep-mac: "$(node_vtep_mac "$node")"
spec:
  podCIDR: $(node_cidr4 "$node")
  podCIDRs: [$(node_cidr4 "$node"), "$(node_cidr6 "$node")"]
status:
  addresses:
    - type: InternalIP
      address: "$first"
    - type: InternalIP
      address: "$second"
    - type: Hostname
      address: node$node
  conditions:
    - type: Ready
      status: "True"
END
}

# write_pod NODE INDEX [terminating]: a ready pod, or one that Kubernetes is
# ending: still there for its connections, not for new ones.
write_pod() {
  local node=$1 index=$2 ready='"True"' ending='' name
  name=$(pod_name "$node" "$index")
  if [[ ${3:-} == terminating ]]; then
    ready='"False"'
    ending="
  deletionGracePeriodSeconds: 30
  deletionTimestamp: \"$(date -u -d '+30 seconds' +%Y-%m-%dT%H:%M:%SZ)\""
  fi
  manifest "pod-$name.yaml" <<END
apiVersion: v1
kind: Pod
metadata:
  name: $name
  namespace: default
  labels:
    app: web
    pod: $name$ending
spec:
  nodeName: node$node
  containers:
    - name: server
      image: lab/pod-server
      ports:
        - {name: http, containerPort: 8080, protocol: TCP}
        - {name: echo, containerPort: 9053, protocol: UDP}
        - {name: iperf-tcp, containerPort: 5201, protocol: TCP}
        - {name: iperf-udp, containerPort: 5201, protocol: UDP}
status:
  phase: Running
  podIP: $(pod_address4 "$node" "$index")
  podIPs:
    - ip: $(pod_address4 "$node" "$index")
    - ip: "$(pod_address6 "$node" "$index")"
  conditions:
    - type: Ready
      status: $ready
END
}

# write_service NAME LAST SELECTOR PORTS: a dual-stack LoadBalancer Service
# whose addresses all end in LAST.
write_service() {
  local name=$1 last=$2 selector=$3 ports=$4
  manifest "service-$name.yaml" <<END
apiVersion: v1
kind: Service
metadata:
  name: $name
  namespace: default
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.$last
  clusterIPs: [10.96.0.$last, "fd00:10:96::$last"]
  selector: {$selector}
  ports:
$ports
status:
  loadBalancer:
    ingress:
      - ip: 203.0.113.$last
      - ip: "2001:db8:f00::$last"
END
}

write_manifests() {
  local node
  manifest namespace-default.yaml <<END
apiVersion: v1
kind: Namespace
metadata:
  name: default
END
  for ((node = 1; node <= LAB_NODES; node++)); do
    write_node "$node"
  done
  each_pod write_pod
  write_service web 10 'app: web' \
    '    - {name: http, port: 80, protocol: TCP, targetPort: http}'
  write_service dns-echo 11 'app: web' \
    '    - {name: dns, port: 53, protocol: UDP, targetPort: 9053}'
  # iperf3 opens two connections that must meet at one server: one pod.
  write_service iperf 12 'pod: pod1a' \
    '    - {name: iperf-tcp, port: 5201, protocol: TCP, targetPort: iperf-tcp}
    - {name: iperf-udp, port: 5201, protocol: UDP, targetPort: iperf-udp}'
}

# The lab's options and addresses as shell variables, for `. env`.
write_env() {
  local variable
  {
    printf '# Lab %s. To use it: . %s/env\n' "$LAB" "$LAB_DIR"
    for variable in LAB LAB_DIR LAB_QUEUES LAB_PODS LAB_UNDERLAY \
      LAB_UPLINK_MTU LAB_UNDERLAY_MTU LAB_OVERLAY_MTU; do
      printf '%s=%q\n' "$variable" "${!variable}"
    done
    printf 'LAB_CONFIG=%q\nLAB_SOCKET=%q\nLAB_METRICS=127.0.0.1:9090\n' \
      "$LAB_DIR/gateway.yaml" "$LAB_DIR/sluice.sock"
    printf 'NS_CLIENT=%s\nNS_GW=%s\n' "$(ns client)" "$(ns gw)"
    printf 'WEB4=203.0.113.10\nWEB6=2001:db8:f00::10\n'
    printf 'WEB_CLUSTER4=10.96.0.10\nWEB_CLUSTER6=fd00:10:96::10\n'
    printf 'ECHO4=203.0.113.11\nECHO6=2001:db8:f00::11\n'
    printf 'IPERF4=203.0.113.12\nIPERF6=2001:db8:f00::12\n'
  } >"$LAB_DIR/env"
}
