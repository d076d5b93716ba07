# shellcheck shell=bash
# Processes that the scripts start and end. A record under PROCESS_DIR/pids holds
# the pid and its start time, so that a reused pid is never signaled.

# process_start_time PID: fails for a process that has ended, also when nobody
# has asked for its exit status yet.
process_start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in parentheses may hold blanks; the start time is field 22.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] || return 1
  printf '%s' "${fields[19]}"
}

# process_start RECORD COMMAND...: runs it in the background, apart from the
# terminal, with its output in PROCESS_DIR/log/RECORD. The process writes its
# own record, so that it has one even if this script is killed now.
process_start() {
  local record=$PROCESS_DIR/pids/$1 log=$PROCESS_DIR/log/$1
  shift
  rm -f "$record"
  (
    local pid=$BASHPID fd
    printf '%s %s\n' "$pid" "$(process_start_time "$pid")" >"$record.new"
    mv "$record.new" "$record"
    # What the caller has open, such as a lock, is not for it.
    for fd in "/proc/$pid/fd"/*; do
      fd=${fd##*/}
      ((fd < 3 || fd > 250)) || eval "exec $fd>&-"
    done
    exec setsid "$@"
  ) </dev/null >>"$log" 2>&1 &
  local child=$!
  # Its end is no news for the shell.
  disown "$child"
  until [[ -e $record ]]; do
    kill -0 "$child" 2>/dev/null || return 1
    sleep 0.01
  done
}

process_alive() {
  local pid started
  read -r pid started 2>/dev/null <"$PROCESS_DIR/pids/$1" || return 1
  [[ -n $started && $(process_start_time "$pid") == "$started" ]]
}

# process_signal SIGNAL RECORD...
process_signal() {
  local signal=$1 record pid started
  shift
  for record in "$@"; do
    if process_alive "$record"; then
      read -r pid started <"$PROCESS_DIR/pids/$record"
      kill -s "$signal" "$pid" 2>/dev/null || true
    fi
  done
}

# process_stop RECORD...: asks them all, waits up to two seconds, then insists.
process_stop() {
  local record
  process_signal TERM "$@"
  process_gone "$@" || process_kill "$@"
  for record in "$@"; do
    rm -f "$PROCESS_DIR/pids/$record"
  done
}

# process_kill RECORD...: ends them without asking and waits until they are gone.
process_kill() {
  process_signal KILL "$@"
  process_gone "$@" || warn "still there after a kill: $*"
}

# process_gone RECORD...: waits for their end, two seconds at most.
process_gone() {
  local round
  for ((round = 0; round < 40; round++)); do
    any_alive "$@" || return 0
    sleep 0.05
  done
  return 1
}

any_alive() {
  local record
  for record in "$@"; do
    process_alive "$record" && return 0
  done
  return 1
}

process_records() {
  [[ -d $PROCESS_DIR/pids ]] || return 0
  find "$PROCESS_DIR/pids" -type f ! -name '*.new' -printf '%f\n' | sort
}
