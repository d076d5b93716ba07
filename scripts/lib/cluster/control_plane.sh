# shellcheck shell=bash
# etcd, API server, controller manager and scheduler: how each is started. A
# component that is stopped starts again with the same ports and data.

readonly READY_SECONDS=60

# Components of the control plane, in the order in which they start.
control_components() {
  printf 'etcd\napiserver\ncontroller-manager\n'
  ((CLUSTER_NODES == 0)) || printf 'scheduler\n'
}

# cp_start RECORD TOOL FLAG...
cp_start() {
  local record=$1 program
  program=$(tool "$2")
  shift 2
  if [[ -n $CLUSTER_LAB ]]; then
    process_start "$record" nsenter "--net=/run/netns/$CLUSTER_LAB-cp" "$program" "$@"
  else
    process_start "$record" "$program" "$@"
  fi
}

start_etcd() {
  cp_start etcd etcd --name etcd --data-dir "$CLUSTER_DATA" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$ETCD_PORT" \
    --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
    --listen-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" \
    --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" \
    --initial-cluster "etcd=http://127.0.0.1:$ETCD_PEER_PORT" \
    --quota-backend-bytes 8589934592 --log-level warn
}

start_apiserver() {
  local place
  if [[ -n $CLUSTER_LAB ]]; then
    # What the Service `kubernetes` leads to.
    place=(--bind-address=:: "--advertise-address=$CP_UNDERLAY4")
  else
    # An endpoint may not be a loopback address: that Service has none.
    place=(--bind-address=127.0.0.1 --advertise-address=192.0.2.1 --endpoint-reconciler-type=none)
  fi
  cp_start apiserver kube-apiserver "${place[@]}" --secure-port="$API_PORT" \
    --etcd-servers="http://127.0.0.1:$ETCD_PORT" \
    --service-cluster-ip-range="$CLUSTER_SERVICE_CIDRS" \
    --client-ca-file="$CLUSTER_DIR/tls/ca.crt" \
    --tls-cert-file="$CLUSTER_DIR/tls/apiserver.crt" \
    --tls-private-key-file="$CLUSTER_DIR/tls/apiserver.key" \
    --kubelet-certificate-authority="$CLUSTER_DIR/tls/ca.crt" \
    --kubelet-client-certificate="$CLUSTER_DIR/tls/kubelet-client.crt" \
    --kubelet-client-key="$CLUSTER_DIR/tls/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$CLUSTER_DIR/tls/service-account.key" \
    --service-account-signing-key-file="$CLUSTER_DIR/tls/service-account.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true --profiling=false ${API_FLAGS[@]+"${API_FLAGS[@]}"}
}

start_controller-manager() {
  local controllers='*'
  # Where no kubelet speaks for nodes and pods, they stay as a test makes them.
  ((CLUSTER_NODES > 0)) ||
    controllers='*,-node-lifecycle-controller,-taint-eviction-controller,-pod-garbage-collector-controller'
  cp_start controller-manager kube-controller-manager \
    --kubeconfig="$CLUSTER_DIR/tls/controller-manager.kubeconfig" \
    --controllers="$controllers" --leader-elect=false --secure-port=0 \
    --use-service-account-credentials=true \
    --service-account-private-key-file="$CLUSTER_DIR/tls/service-account.key" \
    --root-ca-file="$CLUSTER_DIR/tls/ca.crt" \
    --cluster-signing-cert-file="$CLUSTER_DIR/tls/ca.crt" \
    --cluster-signing-key-file="$CLUSTER_DIR/tls/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr="$CLUSTER_CIDRS" \
    --service-cluster-ip-range="$CLUSTER_SERVICE_CIDRS" \
    --node-cidr-mask-size-ipv4=24 --node-cidr-mask-size-ipv6=64 \
    --kube-api-qps=500 --kube-api-burst=1000
}

start_scheduler() {
  cp_start scheduler kube-scheduler --kubeconfig="$CLUSTER_DIR/tls/scheduler.kubeconfig" \
    --leader-elect=false --secure-port=0
}

etcd_ready() {
  process_alive etcd && cp_run curl -s --fail --max-time 5 "http://127.0.0.1:$ETCD_PORT/health"
}
apiserver_ready() { process_alive apiserver && cluster_get /readyz; }

# What every namespace gets from the controller manager: it works.
controllers_ready() { cluster_get /api/v1/namespaces/default/serviceaccounts/default; }

# component_start NAME: starts it, and waits until it serves.
component_start() {
  case $1 in
    node*) node_start "${1#node}" ;;
    *) "start_$1" ;;
  esac || true
  case $1 in
    etcd) wait_for "etcd's health" "$READY_SECONDS" etcd_ready ;;
    node*) node_join "${1#node}" ;;
    apiserver) wait_for 'readiness of the API server' "$READY_SECONDS" apiserver_ready ;;
    *) process_alive "$1" ;;
  esac || component_failed "$1"
}

component_failed() {
  tail -n 20 "$CLUSTER_DIR/log/$1" >&2
  die "$1 of cluster '$CLUSTER' does not work; the last lines of its log stand above"
}

control_plane_start() {
  local component
  for component in $(control_components); do
    component_start "$component"
  done
  wait_for 'the default service account' "$READY_SECONDS" controllers_ready ||
    component_failed controller-manager
}

# Forgets every revision but the last: who asks for older ones gets 410 Gone.
# The API server answers recent ones from its own memory until it restarts.
etcd_compact() {
  local revision url=http://127.0.0.1:$ETCD_PORT/v3/kv
  revision=$(cp_run curl -sS --fail -d '{"key":"AA=="}' "$url/range" | jq -r .header.revision)
  [[ $revision =~ ^[0-9]+$ ]] || die "etcd of cluster '$CLUSTER' does not tell its revision"
  cp_run curl -sS --fail -o /dev/null -d "{\"revision\":\"$revision\",\"physical\":true}" "$url/compaction"
  ok "etcd has forgotten what was before revision $revision"
}
