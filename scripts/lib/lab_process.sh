# shellcheck shell=bash
# Processes that the lab starts and ends. A record under LAB_DIR/pids holds the
# pid and its start time, so that a reused pid is never signaled.

process_start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in parentheses may hold blanks; the start time is field 22.
  read -ra fields <<<"${stat##*) }"
  printf '%s' "${fields[19]}"
}

# process_start RECORD NAMESPACE COMMAND...: runs it in the background, apart
# from the terminal, with its output in LAB_DIR/log/RECORD.
process_start() {
  local record=$1 namespace=$2
  shift 2
  setsid ip netns exec "$LAB-$namespace" "$@" </dev/null >>"$LAB_DIR/log/$record" 2>&1 &
  local pid=$!
  printf '%s %s\n' "$pid" "$(process_start_time "$pid")" >"$LAB_DIR/pids/$record"
}

process_alive() {
  local pid started
  read -r pid started 2>/dev/null <"$LAB_DIR/pids/$1" || return 1
  [[ -n $started && $(process_start_time "$pid") == "$started" ]]
}

# process_stop RECORD...: asks them all, waits up to two seconds, then insists.
process_stop() {
  local record pid started round signal
  for signal in TERM KILL; do
    for record in "$@"; do
      if process_alive "$record"; then
        read -r pid started <"$LAB_DIR/pids/$record"
        kill -s "$signal" "$pid" 2>/dev/null || true
      fi
    done
    for ((round = 0; round < 40; round++)); do
      any_alive "$@" || break 2
      sleep 0.05
    done
  done
  for record in "$@"; do
    rm -f "$LAB_DIR/pids/$record"
  done
}

any_alive() {
  local record
  for record in "$@"; do
    process_alive "$record" && return 0
  done
  return 1
}

process_records() {
  [[ -d $LAB_DIR/pids ]] || return 0
  find "$LAB_DIR/pids" -type f -printf '%f\n' | sort
}
