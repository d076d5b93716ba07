# shellcheck shell=bash
# The part `program`: how long it takes until so many Services, of two endpoints each, are in
# force, when all of them come at once.

readonly PROGRAM_SIZES=(1 1000 10000 100000)
readonly PROGRAM_BACKENDS=2 PROGRAM_NODES=100
# After this a step is given up.
readonly PROGRAM_SECONDS=60
# Who has given up a size; larger ones are not begun.
declare -A PROGRAM_GIVEN_UP=()

needs_program() {
  needs_network program
  need program iptables-legacy-restore iptables
  need program taskset util-linux
  need_built program sluice veth race
}

part_program() {
  part program 'so many Services until they are in force, ms'
  local round size who
  for ((round = 0; round < ROUNDS; round++)); do
    for size in "${PROGRAM_SIZES[@]}"; do
      for who in sluice-folder sluice-objects nftables iptables; do
        program_row "$who" "$size"
      done
    done
  done
  report program
}

# program_row WHO SIZE
program_row() {
  local ms='' options=(--services "$2" --backends "$PROGRAM_BACKENDS" --nodes "$PROGRAM_NODES")
  if [[ -n ${PROGRAM_GIVEN_UP[$1]-} ]] && (($2 >= PROGRAM_GIVEN_UP[$1])); then
    record program "$1-$2" "- > ${PROGRAM_SECONDS} s (${PROGRAM_GIVEN_UP[$1]} took as long)"
    return
  fi
  rm -f "$DIR/ms"
  case $1 in
    sluice-folder) program_folder "$2" "${options[@]}" ;;
    sluice-objects) program_objects "${options[@]}" ;;
    *) program_rules "$1" "${options[@]}" ;;
  esac
  [[ ! -s $DIR/ms ]] || ms=$(<"$DIR/ms")
  if [[ -z $ms ]]; then
    PROGRAM_GIVEN_UP[$1]=$2
    ms="- > ${PROGRAM_SECONDS} s"
  fi
  record program "$1-$2" "$ms"
}

# took BEGAN ENDED: keeps the milliseconds between two times in microseconds.
took() { awk -v us=$(($2 - $1)) 'BEGIN { printf "%.1f\n", us / 1e3 }' >"$DIR/ms"; }

# limited COMMAND...: false if it is not done in time; everything else that fails ends the race.
limited() {
  local status=0
  run timeout --signal=KILL "$PROGRAM_SECONDS" "$@" 2>"$DIR/error" || status=$?
  ((status != 137 && status != 124)) || return 1
  ((status == 0)) || {
    cat "$DIR/error" >&2
    die "$1 fails"
  }
}

# program_rules MODE OPTION...: the whole table, into a namespace that has none.
program_rules() {
  local began mode=$1
  shift
  "$BIN/race" rules "$mode" "$@" >"$DIR/rules"
  ip netns add "$(ns gw)"
  began=${EPOCHREALTIME/./}
  case $mode in
    nftables) limited ip netns exec "$(ns gw)" nft -f "$DIR/rules" ;;
    iptables) limited ip netns exec "$(ns gw)" iptables-legacy-restore "$DIR/rules" ;;
  esac && took "$began" "${EPOCHREALTIME/./}"
  ip netns del "$(ns gw)"
}

# program_objects OPTION...: control and a worker as shipped, fed with typed objects.
program_objects() {
  limited taskset -c "$GENERATOR_CPU" "$BIN/race" objects --worker-cpu "$CPU" "$@" >"$DIR/ms" || : >"$DIR/ms"
}

# program_folder SIZE OPTION...: the whole program, with a file of manifests that appears in its
# folder, until a request for the last Service comes out at a node as it should.
program_folder() {
  local began ended probe services=$1 number
  shift
  rm -rf "$DIR/manifests"
  mkdir "$DIR/manifests"
  "$BIN/race" manifests "$@" >"$DIR/cluster.yaml"
  sluice_config --overlay
  race_network_up
  # The node's device has the addresses of all nodes.
  for ((number = 1; number < PROGRAM_NODES; number++)); do
    printf 'address add %s.%d/%d dev n0\n' "${NODE_IP%.*}" "$number" "$LINK_LEN"
  done | ip -n "$(ns lab)" -batch -
  sluice_up "$DIR/gateway.yaml"
  sleep 0.5
  ip netns exec "$(ns lab)" "$BIN/veth" probe --device c0 --services "$services" \
    --seconds $((PROGRAM_SECONDS + 5)) &
  probe=$!
  began=${EPOCHREALTIME/./}
  mv "$DIR/cluster.yaml" "$DIR/manifests/"
  run ip netns exec "$(ns lab)" "$BIN/veth" arrival --device n0 "$@" \
    --seconds "$PROGRAM_SECONDS" >"$DIR/arrival" 2>"$DIR/error" || true
  ended=$(<"$DIR/arrival")
  stop "$probe"
  sluice_down
  network_down
  if [[ -n $ended ]]; then
    took "$began" "$ended"
  else
    grep -q 'nothing arrives' "$DIR/error" || die "$(<"$DIR/error")"
  fi
}
