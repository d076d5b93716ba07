# shellcheck shell=bash
# What the scripts say and how: colors on a terminal only, one line per fact.

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
  UI_BOLD=$'\e[1m' UI_DIM=$'\e[2m' UI_RED=$'\e[31m' UI_GREEN=$'\e[32m'
  UI_YELLOW=$'\e[33m' UI_CYAN=$'\e[36m' UI_OFF=$'\e[0m'
else
  UI_BOLD='' UI_DIM='' UI_RED='' UI_GREEN='' UI_YELLOW='' UI_CYAN='' UI_OFF=''
fi

say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$UI_DIM" "$*" "$UI_OFF"; }
title() { printf '\n%s%s%s\n' "$UI_BOLD$UI_CYAN" "$*" "$UI_OFF"; }
ok() { printf '%s  ok%s  %s\n' "$UI_GREEN" "$UI_OFF" "$*"; }
warn() { printf '%swarning:%s %s\n' "$UI_YELLOW" "$UI_OFF" "$*" >&2; }
fail() { printf '%serror:%s %s\n' "$UI_RED" "$UI_OFF" "$*" >&2; }

# Says why and ends the script with status 1.
die() {
  fail "$*"
  exit 1
}

# Wrong usage: says why and ends the script with status 2.
usage_error() {
  fail "$*"
  exit 2
}

# Milliseconds since the epoch, for differences only.
now_ms() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# Prints a span in milliseconds as a person reads it: `0.4 s`, `1 min 12 s`.
span() {
  local ms=$1
  if ((ms < 60000)); then
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
  else
    printf '%d min %d s' $((ms / 60000)) $((ms % 60000 / 1000))
  fi
}

is_root() { ((EUID == 0)); }
