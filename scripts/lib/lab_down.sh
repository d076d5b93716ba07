# shellcheck shell=bash
# Takes a lab down, whole or half built.

# Servers first, then namespaces (their devices go with them), then the folder.
# A process that somebody else runs in a namespace is named, not killed.
tear_down() {
  local records short remaining
  mapfile -t records < <(process_records)
  ((${#records[@]} == 0)) || process_stop "${records[@]}"
  for short in $(lab_namespaces); do
    remaining=$(ip netns pids "$(ns "$short")" | tr '\n' ' ')
    [[ -z $remaining ]] ||
      warn "still running in $(ns "$short"), which stays until they end: pid $remaining"
    ip netns delete "$(ns "$short")" || warn "cannot delete namespace $(ns "$short")"
  done
  rm -rf "$LAB_DIR"
}

# Takes back a lab that `up` could not finish.
undo() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  warn "lab '$LAB' was not finished: taking down what is there"
  tear_down
  exit "$status"
}
