# shellcheck shell=bash
# What `lab` and `race` share: complaints, children that end with us, namespaces of our own,
# and that nothing stays. Whoever sources it has NAME (of this run) and DIR (its folder).

# The group of processes that `begin` has begun.
GROUP=

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 2
}

# begin COMMAND...: as a child, in a group of its own with all that it begins.
begin() {
  setsid "$@" &
  GROUP=$!
}

# Waits for what `begin` has begun. Signals do not wait for its end.
finish() {
  local status=0
  wait "$GROUP" || status=$?
  GROUP=
  return "$status"
}

run() {
  begin "$@"
  finish
}

# Ends what `begin` has begun, and whatever that has begun, at once.
end_group() {
  local try
  [[ -n $GROUP ]] || return 0
  kill -TERM -- "-$GROUP" 2>/dev/null
  for ((try = 0; try < 20; try++)); do
    kill -0 -- "-$GROUP" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL -- "-$GROUP" 2>/dev/null
  GROUP=
}

# stop PID: ends a program of ours, and waits for it.
stop() {
  kill -TERM "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# wait_until SECONDS COMMAND...: false if it has not come true by then.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

# ns SHORT: the whole name of a namespace of ours.
ns() { printf '%s-%s' "$NAME" "$1"; }

in_ns() {
  local short=$1
  shift
  ip netns exec "$(ns "$short")" "$@"
}

# core NAME VALUE: prints the number of a core that is there.
core() {
  [[ $2 =~ ^[0-9]{1,4}$ && -d /sys/devices/system/cpu/cpu$((10#$2)) ]] ||
    die "$1 '$2': there is no such core"
  printf '%d' "$((10#$2))"
}

# core_mask CORE: the mask with that core alone, as a number of base 16.
core_mask() {
  local zeros
  printf -v zeros '%*s' "$(($1 / 4))" ''
  printf '%x%s' "$((1 << $1 % 4))" "${zeros// /0}"
}

# From here on everything goes when we go.
leave_nothing() {
  DIR=$(mktemp -d)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

clean_up() {
  local status=$? left space
  trap - EXIT
  # The signal that has brought us here may come again.
  trap '' INT TERM HUP
  set +e
  end_group
  mapfile -t left < <(jobs -p)
  ((${#left[@]} == 0)) || kill "${left[@]}" 2>/dev/null
  wait
  while read -r space; do
    ip netns del "$space"
  done < <(ip netns list | awk -v name="$NAME-" 'index($1, name) == 1 { print $1 }')
  # What only one of the scripts has.
  if declare -F clean_up_more >/dev/null; then
    clean_up_more
  fi
  # What DPDK leaves of each process.
  rm -rf "$DIR" /run/dpdk/"$NAME"*
  exit "$status"
}
