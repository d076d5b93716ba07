# shellcheck shell=bash
# How the demo tells its story: numbered steps, the command of each as a person
# would type it, and a checked result.

STEP=0

# step TITLE WHY
step() {
  STEP=$((STEP + 1))
  title "$STEP. $1"
  [[ -z ${2:-} ]] || note "   $2"
}

# shown PLACE COMMAND...: prints the command as if typed there.
shown() {
  local place=$1
  shift
  printf '   %s%s$%s %s\n' "$UI_BOLD" "$place" "$UI_OFF" "$*"
}

result() { printf '   %s✓%s %s\n' "$UI_GREEN" "$UI_OFF" "$*"; }

# A step that did not do what it says: the reason, what Sluice said, and the end.
step_failed() {
  fail "step $STEP: $*"
  if [[ -s $LAB_DIR/log/sluice ]]; then
    printf '%s\n' "the last lines of Sluice's log:" >&2
    tail -n 30 "$LAB_DIR/log/sluice" | sed 's/^/   /' >&2
  fi
  exit 1
}

indent() { sed 's/^/   /'; }

# histogram: counts the pods in lines with `pod=NAME` and draws a bar for each.
histogram() {
  local count pod bar
  sed -n 's/.*pod=\([a-z0-9]*\).*/\1/p' | sort | uniq -c | while read -r count pod; do
    printf -v bar '%*s' "$count" ''
    printf '   %s  %s%s%s %d\n' "$pod" "$UI_CYAN" "${bar// /▪}" "$UI_OFF" "$count"
  done
}
