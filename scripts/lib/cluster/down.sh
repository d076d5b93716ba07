# shellcheck shell=bash
# Takes a cluster down, whole or half built.

# Its processes at once (their data goes with them), then what they left.
tear_down() {
  local records node
  mapfile -t records < <(process_records)
  ((${#records[@]} == 0)) || process_kill "${records[@]}"
  if [[ -f $CLUSTER_DIR/options ]]; then
    cluster_load
    for ((node = 1; node <= CLUSTER_NODES; node++)); do
      node_cgroup_remove "$node"
    done
    [[ -z $CLUSTER_LAB ]] || leave_lab
  fi
  rm -rf "$CLUSTER_DATA" "$CLUSTER_DIR"
}

# Takes back a cluster that `up` could not finish.
undo() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  warn "cluster '$CLUSTER' was not finished: taking down what is there"
  tear_down
  exit "$status"
}
