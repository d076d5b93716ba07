# shellcheck shell=bash
# Sluice in the gateway's namespace, as SLUICE_PROGRAM; its admin socket is in DIR.

# sluice_up CONFIG: starts it; SLUICE is its process.
sluice_up() {
  rm -f "$DIR/sluice.sock"
  # The program itself, not a shell round it, is what gets the signal.
  ip netns exec "$(ns gw)" "$SLUICE_PROGRAM" run --config "$1" >"$DIR/sluice.log" 2>&1 &
  SLUICE=$!
  wait_until 30 sluice_answers || sluice_failed 'Sluice does not start'
}

sluice_down() { stop "$SLUICE"; }

sluice_answers() {
  kill -0 "$SLUICE" 2>/dev/null || sluice_failed 'Sluice has ended'
  [[ -S $DIR/sluice.sock ]]
}

sluice_failed() {
  cat "$DIR/sluice.log" >&2
  die "$1"
}
