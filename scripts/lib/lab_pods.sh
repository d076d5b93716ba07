# shellcheck shell=bash
# The servers of the pods, and taking a pod away and adding it as Kubernetes does.

# The Python to run: a version manager's shim would start a shell for each pod.
python_path() { python3 -c 'import sys; print(sys.executable)'; }

pod_start() {
  local node=$1 name
  name=$(pod_name "$1" "$2")
  process_start "$name.web" ip netns exec "$LAB-$name" \
    "$LAB_PYTHON" "$SCRIPTS/lib/pod_server.py" --pod "$name" --node "node$node"
  process_start "$name.iperf" ip netns exec "$LAB-$name" iperf3 --server
}

# Waits until all servers of the pod listen, ten seconds at most.
pod_wait() {
  local name round
  name=$(pod_name "$1" "$2")
  for ((round = 0; round < 200; round++)); do
    if pod_listens "$name"; then
      return 0
    fi
    process_alive "$name.web" || break
    process_alive "$name.iperf" || break
    sleep 0.05
  done
  fail "the servers of $name did not start; their output:"
  cat "$LAB_DIR/log/$name".* >&2
  return 1
}

pod_listens() {
  local found
  found=$(ip netns exec "$LAB-$1" ss -Hltun '( sport = :8080 or sport = :9053 or sport = :5201 )')
  (($(wc -l <<<"$found") >= 3))
}

# Sets NODE and INDEX from a pod's name.
pod_parse() {
  [[ $1 =~ ^pod([0-9])([a-z])$ ]] || usage_error "pod '$1': expected a name such as pod1a"
  NODE=${BASH_REMATCH[1]}
  INDEX=$(($(printf '%d' "'${BASH_REMATCH[2]}") - 97))
  ((NODE >= 1 && NODE <= LAB_NODES && INDEX < LAB_PODS)) ||
    usage_error "pod '$1': lab '$LAB' has $LAB_PODS on each of $LAB_NODES nodes, from pod1a on"
}

# The end of a pod in three steps: it is terminating (new connections go
# elsewhere), after the grace time its object is gone, then its servers.
pod_remove() {
  local name=$1 grace=$2
  pod_parse "$name"
  [[ -e $LAB_DIR/manifests/pod-$name.yaml ]] || die "pod '$name' is not there"
  write_pod "$NODE" "$INDEX" terminating
  sleep "$grace"
  rm -f "$LAB_DIR/manifests/pod-$name.yaml"
  sleep "$grace"
  process_stop "$name.web" "$name.iperf"
}

pod_add() {
  local name=$1
  pod_parse "$name"
  LAB_PYTHON=$(python_path)
  process_alive "$name.web" || pod_start "$NODE" "$INDEX"
  pod_wait "$NODE" "$INDEX"
  write_pod "$NODE" "$INDEX"
}
