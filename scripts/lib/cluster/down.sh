# shellcheck shell=bash
# Takes a cluster down, whole or half built.

# Its processes at once (their data goes with them), then what they left.
tear_down() {
  local records
  mapfile -t records < <(process_records)
  ((${#records[@]} == 0)) || process_kill "${records[@]}"
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
