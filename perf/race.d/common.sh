# shellcheck shell=bash
# What all parts share: complaints, measurements, and that nothing stays.

MISSING=()
HUGE_PAGES_BEFORE=

say() { printf '%s\n' "$*"; }

die() {
  printf 'race: %s\n' "$1" >&2
  exit 2
}

# need PART PATH_OR_COMMAND PACKAGE: notes what is not there.
need() {
  command -v "$2" >/dev/null || MISSING+=("part $1 needs $2 ($3)")
}

# need_built PART PROGRAM...: notes what is not built.
need_built() {
  local part=$1 program
  shift
  for program in "$@"; do
    [[ -x $BIN/$program ]] || MISSING+=("part $part needs $BIN/$program (see --help for how to build it)")
  done
}

end_if_missing() {
  ((${#MISSING[@]})) || return 0
  printf 'race: %s\n' "${MISSING[@]}" >&2
  exit 2
}

# part NAME WHAT: begins a part.
part() {
  say
  say "== $1: $2"
  : >"$DIR/$1.rows"
}

# record PART ROW VALUE: one measurement.
record() {
  printf '%s %s\n' "$2" "$3" >>"$DIR/$1.rows"
  printf '  %-24s %s\n' "$2" "$3"
}

# report PART: what its measurements come to.
report() {
  say
  "$BIN/race" report "$1" --rows "$DIR/$1.rows" --json "$JSON"
}

# Runs a command so that signals do not wait for its end.
run() {
  "$@" &
  wait "$!"
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

# huge_pages N: has N free huge pages of 2 MiB, and notes how many there were.
huge_pages() {
  local all free try path=/sys/kernel/mm/hugepages/hugepages-2048kB
  [[ -d $path ]] || die 'this kernel has no huge pages of 2 MiB'
  all=$(<"$path/nr_hugepages") free=$(<"$path/free_hugepages")
  ((free < $1)) || return 0
  HUGE_PAGES_BEFORE=${HUGE_PAGES_BEFORE:-$all}
  all=$((all + $1 - free))
  # What lies in pieces is put together between tries, and files that are kept in memory
  # make room.
  for ((try = 0; try < 5; try++)); do
    printf '%s' "$all" >"$path/nr_hugepages"
    free=$(<"$path/free_hugepages")
    ((free < $1)) || return 0
    printf 1 >/proc/sys/vm/drop_caches
    printf 1 >/proc/sys/vm/compact_memory
  done
  die "of $1 huge pages of 2 MiB only $free could be had: memory is short or in pieces"
}

huge_pages_back() {
  [[ -n $HUGE_PAGES_BEFORE ]] || return 0
  printf '%s' "$HUGE_PAGES_BEFORE" >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
  HUGE_PAGES_BEFORE=
}

clean_up() {
  local status=$? left space
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  mapfile -t left < <(jobs -p)
  ((${#left[@]} == 0)) || kill "${left[@]}" 2>/dev/null
  wait
  while read -r space; do
    ip netns del "$space"
  done < <(ip netns list | awk -v name="$NAME-" 'index($1, name) == 1 { print $1 }')
  huge_pages_back
  # What DPDK leaves of each process.
  rm -rf "$DIR" /run/dpdk/"$NAME"*
  exit "$status"
}
