# shellcheck shell=bash
# The steps of the demo. Each prints what it does and ends the demo if the
# result is not what it says.

readonly REQUESTS=40
readonly LOAD_REQUESTS_MAX=20000

sluice_ask() { timeout 10 "$SLUICE" "$@" --socket "$LAB_SOCKET"; }

picture() {
  cat <<'END'

   client ───── uplink [ Sluice ] cluster ═══ VXLAN ═══╦═══ node1: pod1a pod1b
                                                       ╚═══ node2: pod2a pod2b
END
}

step_start() {
  local began round
  step 'Start Sluice' 'The client and the nodes are plain Linux; only the gateway is not.'
  shown gw "sluice run --config $LAB_CONFIG"
  began=$(now_ms)
  process_start sluice ip netns exec "$LAB-gw" "$SLUICE" run --config "$LAB_CONFIG"
  for ((round = 0; round < 200; round++)); do
    process_alive sluice || step_failed 'Sluice ended instead of starting'
    if [[ $(in_ns gw curl -s -o /dev/null -w '%{http_code}' --max-time 1 "http://$LAB_METRICS/readyz") == 200 ]]; then
      result "ready after $(span $(($(now_ms) - began)))"
      return
    fi
    sleep 0.1
  done
  step_failed 'Sluice did not become ready within 20 seconds'
}

step_ping() {
  local address
  step 'Ping the Service addresses' 'Sluice answers ARP, neighbor discovery and echo for them.'
  for address in "$WEB4" "$WEB6"; do
    shown client "ping -c 3 $address"
    in_ns client ping -n -c 3 -i 0.2 -W 2 "$address" | tail -n 1 | indent ||
      step_failed "no answer from $address"
  done
}

# spread LABEL URL-HOST
spread() {
  local answers pods
  shown client "curl http://$2/   (x $REQUESTS)"
  answers=$(in_ns client curl -sS --max-time 20 -H 'Connection: close' "http://$2/?[1-$REQUESTS]") ||
    step_failed "curl over $1 failed"
  histogram <<<"$answers"
  pods=$(grep -o 'pod=[a-z0-9]*' <<<"$answers" | sort -u | wc -l)
  (($(wc -l <<<"$answers") == REQUESTS)) || step_failed "not every request was answered over $1"
  ((pods >= 3)) || step_failed "only $pods of 4 pods answered over $1"
  result "$1: $REQUESTS of $REQUESTS answered, by $pods pods"
}

step_load_balancer() {
  step 'A LoadBalancer address, spread over the pods' \
    'Each request is a connection of its own, through VXLAN to a pod on one of two nodes.'
  spread IPv4 "$WEB4"
  spread IPv6 "[$WEB6]"
}

step_cluster_ip() {
  local host answer
  step 'A ClusterIP, from inside a pod' \
    'The node routes the Service range to Sluice; the answer comes back the same way.'
  for host in "$WEB_CLUSTER4" "[$WEB_CLUSTER6]"; do
    shown pod2b "curl http://$host/"
    answer=$(in_ns pod2b curl -sS --max-time 5 "http://$host/") || step_failed "no answer from $host"
    indent <<<"$answer"
    [[ $answer == pod=* ]] || step_failed "unexpected answer from $host"
  done
  result 'both families; the pod saw an address of the gateway, so its reply came back through it'
}

step_udp() {
  local address answer
  step 'UDP' 'A datagram to port 53 of a Service reaches port 9053 of a pod.'
  for address in "$ECHO4" "$ECHO6"; do
    shown client "echo hello | nc -u -W 1 $address 53"
    answer=$(printf 'hello\n' | in_ns client nc -u -w 3 -W 1 "$address" 53) ||
      step_failed "no answer from $address"
    [[ $answer =~ ^pod[0-9][a-z]\ hello$ ]] || step_failed "unexpected answer from $address: '$answer'"
    result "$answer"
  done
}

step_iperf() {
  local address answer gigabits
  step 'Throughput' 'One TCP connection through NAT and VXLAN; client, gateway and pod share these cores.'
  for address in "$IPERF4" "$IPERF6"; do
    shown client "iperf3 -c $address -t 3"
    answer=$(in_ns client timeout 20 iperf3 -c "$address" -t 3 -J) ||
      step_failed "iperf3: $(jq -r '.error // "failed"' <<<"$answer")"
    gigabits=$(jq -r '.end.sum_received.bits_per_second / 1e7 | round / 100' <<<"$answer")
    [[ $gigabits != 0 ]] || step_failed 'iperf3 moved nothing'
    result "$gigabits Gb/s"
  done
}

# Requests one after another until the stop file appears, each a new
# connection; one line each: the answer, or FAILED with curl's reason.
load_loop() {
  local url=$1 stop=$2 count answer
  for ((count = 0; count < LOAD_REQUESTS_MAX; count++)); do
    [[ ! -e $stop ]] || break
    if answer=$(curl -sS --max-time 5 "$url" 2>&1); then
      printf '%s\n' "$answer"
    else
      printf 'FAILED %s\n' "$answer"
    fi
  done
}

# pods_since FILE LINE: the pods in the answers after that line.
pods_since() { tail -n "+$(($2 + 1))" "$1" | grep -o 'pod=[a-z0-9]*' | sort -u | cut -d= -f2 | tr '\n' ' '; }

step_change_under_load() {
  local work=$LAB_DIR/load pod held away=() line failed total family
  step 'Pods come and go under load' \
    'As Kubernetes does it: terminating, then gone, then its servers stop. Then back again.'
  mkdir "$work"
  in_ns client curl -sS --max-time 40 --limit-rate 5M -D "$work/headers" -o "$work/download" \
    "http://$WEB4/big/50000000" </dev/null &
  local download=$! loops=()
  for family in "4 http://$WEB4/" "6 http://[$WEB6]/"; do
    in_ns client bash -c "$(declare -f load_loop); LOAD_REQUESTS_MAX=$LOAD_REQUESTS_MAX
      load_loop '${family#* }' '$work/stop'" </dev/null >"$work/answers${family%% *}" 2>&1 &
    loops+=($!)
  done
  shown client "curl http://$WEB4/ and http://[$WEB6]/ in two endless loops, and a download"
  sleep 1
  held=$(sed -n 's/^X-Pod: \([a-z0-9]*\).*/\1/p' "$work/headers")
  [[ -n $held ]] || step_failed 'the download did not start'
  for pod in pod1a pod1b pod2a pod2b; do
    [[ $pod == "$held" ]] || ((${#away[@]} == 2)) || away+=("$pod")
  done

  for pod in "${away[@]}"; do
    shown lab "pod remove $pod"
    "$SCRIPTS/lab" pod remove "$pod" --name "$LAB"
  done
  line=$(wc -l <"$work/answers4")
  sleep 1
  result "now answering: $(pods_since "$work/answers4" "$line")"
  for pod in "${away[@]}"; do
    [[ " $(pods_since "$work/answers4" "$line")" != *" $pod "* ]] ||
      step_failed "$pod is gone, but still answers"
    shown lab "pod add $pod"
    "$SCRIPTS/lab" pod add "$pod" --name "$LAB"
  done
  sleep 1
  line=$(wc -l <"$work/answers4")
  sleep 1
  result "now answering: $(pods_since "$work/answers4" "$line")"
  for pod in "${away[@]}"; do
    [[ " $(pods_since "$work/answers4" "$line")" == *" $pod "* ]] ||
      step_failed "$pod is back, but gets no requests"
  done

  : >"$work/stop"
  wait "${loops[@]}"
  wait "$download" || step_failed 'the download broke off'
  (($(stat -c %s "$work/download") == 50000000)) || step_failed 'the download is not whole'
  failed=$(cat "$work"/answers? | grep -c -v '^pod=' || true)
  total=$(cat "$work"/answers? | wc -l)
  if ((failed > 0)); then
    grep -h -v '^pod=' "$work"/answers? | sort | uniq -c | indent >&2
    step_failed "$failed of $total requests failed"
  fi
  result "the download from $held, 50 MB, began before the changes and ended whole"
  result "${UI_BOLD}0 failed of $total${UI_OFF}"
}

step_look_inside() {
  step 'What Sluice says about itself'
  shown gw 'sluice status'
  sluice_ask status | indent || step_failed 'sluice status failed'
  shown gw 'sluice show flows | head'
  sluice_ask show flows >"$LAB_DIR/flows" || step_failed 'sluice show flows failed'
  head -n 8 "$LAB_DIR/flows" | cut -c "1-${COLUMNS:-110}" | indent
}
