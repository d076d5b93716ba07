# shellcheck shell=bash
# The metrics that the demo shows, and what each proves.

# NAME|LABELS|MEANING: the sum over the series of that name with these labels
# (separated by blanks).
readonly DEMO_METRICS=(
  'sluice_port_packets_total|port="uplink" direction="rx"|frames from the client'
  'sluice_port_packets_total|port="cluster" direction="tx"|frames to the nodes, in VXLAN'
  'sluice_port_packets_total|port="cluster" direction="rx"|frames from the nodes, in VXLAN'
  'sluice_port_packets_total|port="uplink" direction="tx"|frames to the client'
  'sluice_flows_created_total||connections tracked'
  'sluice_flows||of them still known'
  'sluice_service_packets_total|service="default/web"|packets of the Service web'
  'sluice_updates_total||changes of the cluster published to the workers'
)
readonly DEMO_DROPS=sluice_drops_total

# metric_sum FILE NAME LABELS: prints the sum, or nothing if there is no such series.
metric_sum() {
  awk -v name="$2" -v labels="$3" '
    BEGIN { wanted = split(labels, want, " ") }
    {
      series = $0
      sub(/[{ ].*/, "", series)
      if (series != name) next
      for (i = 1; i <= wanted; i++) if (index($0, want[i]) == 0) next
      sum += $NF
      found = 1
    }
    END { if (found) printf "%.0f", sum }' "$1"
}

step_metrics() {
  local metrics=$LAB_DIR/metrics row name labels meaning value
  step 'The metrics that prove it'
  shown gw "curl http://$LAB_METRICS/metrics"
  in_ns gw curl -sS --max-time 5 "http://$LAB_METRICS/metrics" >"$metrics" ||
    step_failed 'no metrics'
  for row in "${DEMO_METRICS[@]}"; do
    IFS='|' read -r name labels meaning <<<"$row"
    value=$(metric_sum "$metrics" "$name" "$labels")
    [[ -n $value ]] || step_failed "no metric $name{$labels}"
    printf '   %10s  %-46s %s%s%s\n' "$value" "$meaning" \
      "$UI_DIM" "$name${labels:+{${labels// /,}\}}" "$UI_OFF"
  done
  say '   dropped, by reason:'
  { grep "^$DEMO_DROPS{" "$metrics" || true; } | sed 's/.*reason="\([^"]*\)".* \([0-9.e+]*\)$/\1 \2/' |
    awk '$2 > 0 { sum[$1] += $2 } END { for (r in sum) printf "   %10d  %s\n", sum[r], r }' | sort -rn
}
