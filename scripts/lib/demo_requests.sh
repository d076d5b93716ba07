# shellcheck shell=bash
# The act of requests: an Ingress under load while everything behind it changes,
# then a route that is broken, found and mended.

readonly SHOP_HOST=shop.example SHOP4=203.0.113.80 SHOP6=2001:db8:f00::80

# Requests on one connection.
readonly SHOP_BATCH=20

# What Sluice is told of requests, before it starts.
requests_configure() {
  cat >>"$LAB_CONFIG" <<END

l7:
  ingress:
    addresses: [$SHOP4, "$SHOP6"]
END
}

# write_ingress SERVICE: all requests for the host go there.
write_ingress() {
  manifest ingress-shop.yaml <<END
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec:
  ingressClassName: sluice
  tls: [{hosts: [$SHOP_HOST], secretName: shop}]
  rules:
    - host: $SHOP_HOST
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: $1, port: {number: 80}}}}
END
}

# write_certificate: a new key and certificate for the host, in its Secret.
write_certificate() {
  local work=$LAB_DIR/shop
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 \
    -subj "/CN=$SHOP_HOST" -addext "subjectAltName=DNS:$SHOP_HOST" \
    -keyout "$work/tls.key" -out "$work/tls.crt" 2>"$work/openssl" ||
    step_failed "no certificate: $(tail -n 1 "$work/openssl")"
  {
    printf 'apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n'
    printf 'metadata: {name: shop, namespace: default}\nstringData:\n  tls.crt: |\n'
    sed 's/^/    /' "$work/tls.crt"
    printf '  tls.key: |\n'
    sed 's/^/    /' "$work/tls.key"
  } | manifest secret-shop.yaml
}

# fingerprint: how the certificate begins that a client is shown.
fingerprint() {
  in_ns client timeout 5 openssl s_client -connect "$SHOP4:443" -servername "$SHOP_HOST" \
    </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null |
    cut -d= -f2 | cut -c 1-11
}

shop_status() {
  in_ns client curl -sk -o /dev/null -w '%{http_code}' --max-time 2 \
    --resolve "$SHOP_HOST:443:$SHOP4" "https://$SHOP_HOST/" || true
}

# shop_until STATUS: waits until the host is answered so.
shop_until() {
  local round status
  for ((round = 0; round < 100; round++)); do
    status=$(shop_status)
    [[ $status != "$1" ]] || return 0
    sleep 0.1
  done
  step_failed "expected status $1 of https://$SHOP_HOST/, got $status"
}

# Batches of requests until the stop file appears, each on a connection of its
# own; a line a request: the answer, or FAILED with curl's reason.
request_loop() {
  local stop=$1 count
  shift
  for ((count = 0; count < LOAD_REQUESTS_MAX; count++)); do
    [[ ! -e $stop ]] || break
    curl -sSk --fail --fail-early --max-time 10 "$@" 2>&1 || printf 'FAILED after that\n'
  done
}

# answering FILE LINE: waits a moment and prints the pods of the answers then.
answering() {
  sleep 0.5
  local line
  line=$(wc -l <"$1")
  sleep 1
  pods_since "$1" "$line"
}

step_requests() {
  local work=$LAB_DIR/shop loops=() pods before after round failed total
  step 'HTTPS requests while everything behind them changes' \
    'TLS ends at the workers. Pods go and come, a route is edited, the certificate is replaced.'
  mkdir "$work"
  write_service canary 13 'pod: pod2b' \
    '    - {name: http, port: 80, protocol: TCP, targetPort: http}'
  manifest ingressclass.yaml <<'END'
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: sluice}
spec: {controller: sluice.dev/ingress}
END
  write_certificate
  write_ingress web
  shop_until 200
  shown client "curl https://$SHOP_HOST/ in two endless loops: HTTP/1.1 over IPv4, HTTP/2 over IPv6"
  local way
  for way in "4 --http1.1 $SHOP4" "6 --http2 [$SHOP6]"; do
    local family version address
    read -r family version address <<<"$way"
    in_ns client bash -c "$(declare -f request_loop); LOAD_REQUESTS_MAX=$LOAD_REQUESTS_MAX
      request_loop '$work/stop' $version --resolve '$SHOP_HOST:443:$address' \
        'https://$SHOP_HOST/?[1-$SHOP_BATCH]'" </dev/null >"$work/answers$family" 2>&1 &
    loops+=($!)
  done

  shown lab 'pod remove pod1b'
  "$SCRIPTS/lab" pod remove pod1b --name "$LAB"
  pods=$(answering "$work/answers4")
  [[ -n $pods && " $pods" != *' pod1b '* ]] || step_failed "answered after that: $pods"
  result "now answering: $pods"
  shown lab 'pod add pod1b'
  "$SCRIPTS/lab" pod add pod1b --name "$LAB"
  shown lab 'Ingress shop: / goes to Service canary'
  write_ingress canary
  pods=$(answering "$work/answers4")
  [[ $pods == 'pod2b ' ]] || step_failed "the canary is pod2b, but answered is by: $pods"
  result "now answering: $pods"
  before=$(fingerprint)
  shown lab 'Ingress shop: / goes to Service web again; Secret shop: another certificate'
  write_ingress web
  write_certificate
  for ((round = 0; round < 50; round++)); do
    after=$(fingerprint)
    [[ -z $after || $after == "$before" ]] || break
    sleep 0.1
  done
  [[ -n $after && $after != "$before" ]] || step_failed 'the new certificate is not shown'
  result "the certificate was $before..., and is $after..."
  pods=$(answering "$work/answers4")
  (($(wc -w <<<"$pods") == 4)) || step_failed "four pods are there, but answered is by: $pods"
  shown gw 'sluice show connections'
  sluice_ask show connections >"$work/connections" || step_failed 'sluice show connections failed'
  cut -c "1-${COLUMNS:-110}" "$work/connections" | head -n 4 | indent

  : >"$work/stop"
  wait "${loops[@]}"
  failed=$(cat "$work"/answers? | grep -c -v '^pod=' || true)
  total=$(cat "$work"/answers? | wc -l)
  if ((failed > 0)); then
    grep -h -v '^pod=' "$work"/answers? | sort | uniq -c | indent >&2
    step_failed "$failed of $total requests failed"
  fi
  ((total >= SHOP_BATCH)) || step_failed "only $total requests were made"
  result "${UI_BOLD}0 failed of $total${UI_OFF}"
}

step_broken_route() {
  local said=$LAB_DIR/shop/explained
  step 'A route that is broken, and why' 'Somebody has misspelt a Service.'
  write_ingress wbe
  shop_until 503
  shown client "curl https://$SHOP_HOST/"
  say "   $(shop_status)"
  shown gw "sluice explain https://$SHOP_HOST/"
  sluice_ask explain "https://$SHOP_HOST/" --from "$CLIENT4" >"$said" ||
    step_failed 'sluice explain failed'
  cut -c "1-${COLUMNS:-110}" "$said" | indent
  grep -q 'there is no Service default/wbe' "$said" || step_failed 'it does not say what is wrong'
  grep -q '^answer .*503 by the gateway: no_endpoint' "$said" ||
    step_failed 'it does not say what clients get'
  write_ingress web
  shop_until 200
  result 'mended: 200'
}
