# shellcheck shell=bash
# Names, addresses and the runtime folder of a cluster. Everything that it leaves
# on the machine is found again from its name: the folders CLUSTER_DIR and
# CLUSTER_DATA, and in a lab the namespace `<lab>-cp`.

if [[ -n ${XDG_RUNTIME_DIR:-} ]]; then
  readonly CLUSTER_BASE=$XDG_RUNTIME_DIR/sluice-cluster
elif is_root; then
  readonly CLUSTER_BASE=/run/sluice-cluster
else
  readonly CLUSTER_BASE=/tmp/sluice-cluster-$EUID
fi

# The pods' and the Services' ranges, those of the lab.
readonly CLUSTER_CIDRS=$POD_NET4,$POD_NET6
readonly CLUSTER_SERVICE_CIDRS=$SERVICE_NET4,$SERVICE_NET6

# In a lab the control plane is a machine of the underlay. The gateway's NICs
# are not its kernel's: a cable of its own leads from there to the API server.
readonly CP_UNDERLAY4=10.10.0.5 CP_UNDERLAY6=fd00:10:10::5
readonly CP_MANAGEMENT4=10.11.0.1 CP_MANAGEMENT6=fd00:10:11::1
readonly GW_MANAGEMENT4=10.11.0.2 GW_MANAGEMENT6=fd00:10:11::2

# Ports of a cluster on the machine's loopback, below those that the kernel
# gives to outgoing connections: an API server that is away keeps its port.
readonly PORT_FIRST=20000 PORT_LAST=32000

# Sets CLUSTER and what follows from it.
cluster_use() {
  CLUSTER=$1
  [[ $CLUSTER =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] ||
    usage_error "cluster name '$CLUSTER': expected 1 to 31 of a-z, 0-9 and -, not starting with -"
  CLUSTER_DIR=$CLUSTER_BASE/$CLUSTER
  # etcd's files are in memory where there is such a folder.
  CLUSTER_DATA=$CLUSTER_DIR/data
  [[ ! -d /dev/shm || ! -w /dev/shm ]] || CLUSTER_DATA=/dev/shm/sluice-cluster-$EUID-$CLUSTER
  PROCESS_DIR=$CLUSTER_DIR
}

cluster_names() {
  [[ ! -d $CLUSTER_BASE ]] || find "$CLUSTER_BASE" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort
}

# Reads what `up` has set, from the cluster's options file.
cluster_load() {
  [[ -f $CLUSTER_DIR/options ]] ||
    die "no cluster '$CLUSTER' is up; start it with: scripts/cluster up --name $CLUSTER"
  # shellcheck source=/dev/null
  . "$CLUSTER_DIR/options"
  LAB=$CLUSTER_LAB
}

write_options() {
  local variable
  for variable in CLUSTER_LAB CLUSTER_NODES API_PORT ETCD_PORT ETCD_PEER_PORT; do
    printf '%s=%q\n' "$variable" "${!variable}"
  done >"$CLUSTER_DIR/options.new"
  # An array: one word for each flag.
  printf 'API_FLAGS=(%s)\n' "${API_FLAGS[*]@Q}" >>"$CLUSTER_DIR/options.new"
  mv "$CLUSTER_DIR/options.new" "$CLUSTER_DIR/options"
}

# cp_run COMMAND...: runs it where the control plane is.
cp_run() {
  if [[ -n $CLUSTER_LAB ]]; then
    nsenter "--net=/run/netns/$CLUSTER_LAB-cp" "$@"
  else
    "$@"
  fi
}

# The addresses of the API server: for this machine or the gateway, and for nodes.
api_address() { if [[ -n $CLUSTER_LAB ]]; then printf '%s' "$CP_MANAGEMENT4"; else printf 127.0.0.1; fi; }
api_url() { printf 'https://%s:%s' "$(api_address)" "$API_PORT"; }

# Sets the ports. A cluster in a namespace has all of them for itself. The
# caller holds the lock of CLUSTER_BASE until the options are written.
choose_ports() {
  local used port chosen=()
  if [[ -n $CLUSTER_LAB ]]; then
    API_PORT=6443 ETCD_PORT=2379 ETCD_PEER_PORT=2380
    return
  fi
  used=" $({
    cat "$CLUSTER_BASE"/*/options 2>/dev/null | sed -n 's/^[A-Z_]*PORT=//p'
    ss -Htnl | awk '{ sub(/.*:/, "", $4); print $4 }'
  } | tr '\n' ' ') "
  while ((${#chosen[@]} < 3)); do
    port=$((PORT_FIRST + (RANDOM * 32768 + RANDOM) % (PORT_LAST - PORT_FIRST)))
    [[ $used == *" $port "* ]] && continue
    used+="$port "
    chosen+=("$port")
  done
  API_PORT=${chosen[0]} ETCD_PORT=${chosen[1]} ETCD_PEER_PORT=${chosen[2]}
}

# kubectl, as the administrator.
cluster_kubectl() { cp_run "$(tool kubectl)" --kubeconfig "$CLUSTER_DIR/kubeconfig" "$@"; }

# cluster_get PATH: a GET of the API server as the administrator.
cluster_get() {
  cp_run curl -sS --fail --max-time 5 --cacert "$CLUSTER_DIR/tls/ca.crt" \
    --cert "$CLUSTER_DIR/tls/admin.crt" --key "$CLUSTER_DIR/tls/admin.key" "$(api_url)$1"
}

# wait_for WHAT SECONDS COMMAND...: until it succeeds.
wait_for() {
  local what=$1 until=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= until)); then
      fail "never came: $what"
      return 1
    fi
    sleep 0.1
  done
}

# What tests and people use of it, for `. env`.
write_env() {
  local netns=''
  [[ -z $CLUSTER_LAB ]] || netns=$CLUSTER_LAB-cp
  {
    printf '# Cluster %s. To use it: . %s/env\n' "$CLUSTER" "$CLUSTER_DIR"
    printf 'export %s=%q\n' \
      CLUSTER "$CLUSTER" \
      CLUSTER_DIR "$CLUSTER_DIR" \
      CLUSTER_LAB "$CLUSTER_LAB" \
      CLUSTER_NETNS "$netns" \
      CLUSTER_SERVER "$(api_url)" \
      CLUSTER_CA "$CLUSTER_DIR/tls/ca.crt" \
      CLUSTER_ETCD "http://127.0.0.1:$ETCD_PORT" \
      AGNHOST_IMAGE "$IMAGE_AGNHOST" \
      KUBECONFIG "$CLUSTER_DIR/kubeconfig"
  } >"$CLUSTER_DIR/env.new"
  mv "$CLUSTER_DIR/env.new" "$CLUSTER_DIR/env"
}
