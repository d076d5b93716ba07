# shellcheck shell=bash
# What all parts share: what they need, measurements, huge pages.

MISSING=()
HUGE_PAGES_BEFORE=

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

# record PART ROW VALUE...: one measurement, and what of it the measured core was busy for,
# and packets in a turn of its loop.
record() {
  local part=$1 row=$2
  shift 2
  printf '%s %s\n' "$row" "$*" >>"$DIR/$part.rows"
  printf '  %-24s %s\n' "$row" "$*"
}

# report PART: what its measurements come to.
report() {
  say
  "$BIN/race" report "$1" --rows "$DIR/$1.rows" --json "$JSON"
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

clean_up_more() { huge_pages_back; }
