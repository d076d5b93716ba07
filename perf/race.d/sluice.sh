# shellcheck shell=bash
# Sluice's configuration, and what its metrics say.

# sluice_config OPTION...: of a gateway whose objects are in the folder `manifests`.
sluice_config() {
  "$BIN/race" config --cpu "$CPU" --manifests "$DIR/manifests" --socket "$DIR/sluice.sock" "$@" \
    >"$DIR/gateway.yaml"
}

# sluice_objects OPTION...: in that folder, and nothing else.
sluice_objects() {
  rm -rf "$DIR/manifests"
  mkdir "$DIR/manifests"
  "$BIN/race" manifests "$@" >"$DIR/manifests/cluster.yaml"
}

# Metrics are asked for by the generator's core.
sluice_metrics() {
  in_ns gw taskset -c "$GENERATOR_CPU" \
    curl -sS --max-time 5 http://127.0.0.1:9090/metrics >"$DIR/metrics"
}

# sluice_sum METRIC [LABEL]: the sum of a metric over all that has a label.
sluice_sum() {
  awk -v metric="$1" -v label="${2-}" '
    index($0, metric "{") == 1 && index($0, label) { sum += $NF }
    END { printf "%.9f", sum }' "$DIR/metrics"
}

# Nanoseconds in turns of the worker's loop that found work, packets that were sent, and those
# turns.
sluice_work() {
  local seconds packets turns
  sluice_metrics
  seconds=$(sluice_sum sluice_worker_busy_seconds_total)
  packets=$(sluice_sum sluice_port_packets_total 'direction="tx"')
  turns=$(sluice_sum sluice_worker_loops_busy_total)
  awk -v seconds="$seconds" -v packets="$packets" -v turns="$turns" \
    'BEGIN { printf "%.0f %.0f %.0f\n", seconds * 1e9, packets, turns }'
}

# Packets that were received, sent, and dropped by anyone, and when that was.
sluice_counts() {
  local received sent dropped kernel now
  sluice_metrics
  now=${EPOCHREALTIME/./}
  received=$(sluice_sum sluice_port_packets_total 'direction="rx"')
  sent=$(sluice_sum sluice_port_packets_total 'direction="tx"')
  dropped=$(sluice_sum sluice_drops_total)
  kernel=$(sluice_sum sluice_port_kernel_drops_total)
  awk -v received="$received" -v sent="$sent" -v dropped="$dropped" -v kernel="$kernel" -v now="$now" \
    'BEGIN { printf "%.0f %.0f %.0f %.0f\n", received, sent, dropped + kernel, now }'
}
