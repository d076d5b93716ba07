# shellcheck shell=bash
# Keys, certificates and kubeconfigs. One authority signs all; a certificate's
# common name is the user, its organization the group.

readonly CERTIFICATE_DAYS=30

# private_key NAME
private_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$CLUSTER_DIR/tls/$1.key"; }

make_authority() {
  private_key ca
  openssl req -x509 -new -key "$CLUSTER_DIR/tls/ca.key" -subj "/CN=sluice-cluster-$CLUSTER" \
    -days "$CERTIFICATE_DAYS" -out "$CLUSTER_DIR/tls/ca.crt" 2>/dev/null
}

# certificate NAME SUBJECT [ALTERNATIVE NAMES]: NAME.key and NAME.crt, good for
# clients, and for servers of those names.
certificate() {
  local file=$CLUSTER_DIR/tls/$1 extensions
  extensions='extendedKeyUsage=clientAuth'
  [[ -z ${3:-} ]] || extensions=$'extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName='$3
  private_key "$1"
  openssl req -new -key "$file.key" -subj "$2" -out "$file.csr"
  openssl x509 -req -in "$file.csr" -CA "$CLUSTER_DIR/tls/ca.crt" -CAkey "$CLUSTER_DIR/tls/ca.key" \
    -set_serial "0x$(openssl rand -hex 8)" -days "$CERTIFICATE_DAYS" \
    -extfile <(printf '%s\n' "$extensions") -out "$file.crt" 2>/dev/null
  rm "$file.csr"
}

# Names under which the API server is reached; the Service's first addresses too.
api_names() {
  local address
  printf 'DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local'
  for address in 127.0.0.1 ::1 10.96.0.1 fd00:10:96::1 "$CP_UNDERLAY4" "$CP_UNDERLAY6" \
    "$CP_MANAGEMENT4" "$CP_MANAGEMENT6"; do
    printf ',IP:%s' "$address"
  done
}

# kubeconfig FILE SERVER USER-FIELD...: fields such as `token: ...`.
kubeconfig() {
  local file=$1 server=$2 user
  shift 2
  user=$(printf '\n      %s' "$@")
  (
    umask 077
    cat >"$file.new" <<END
apiVersion: v1
kind: Config
clusters:
  - name: $CLUSTER
    cluster:
      server: $server
      certificate-authority-data: $(base64 -w0 "$CLUSTER_DIR/tls/ca.crt")
users:
  - name: user
    user:$user
contexts:
  - name: $CLUSTER
    context:
      cluster: $CLUSTER
      user: user
current-context: $CLUSTER
END
  )
  mv "$file.new" "$file"
}

# client_kubeconfig FILE SERVER CERTIFICATE
client_kubeconfig() {
  kubeconfig "$1" "$2" \
    "client-certificate-data: $(base64 -w0 "$CLUSTER_DIR/tls/$3.crt")" \
    "client-key-data: $(base64 -w0 "$CLUSTER_DIR/tls/$3.key")"
}

make_credentials() {
  mkdir -m 700 "$CLUSTER_DIR/tls"
  make_authority
  certificate apiserver /CN=kube-apiserver "$(api_names)"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate admin /O=system:masters/CN=admin
  certificate controller-manager /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  private_key service-account
  client_kubeconfig "$CLUSTER_DIR/kubeconfig" "$(api_url)" admin
  client_kubeconfig "$CLUSTER_DIR/tls/controller-manager.kubeconfig" "$(api_url)" controller-manager
  client_kubeconfig "$CLUSTER_DIR/tls/scheduler.kubeconfig" "$(api_url)" scheduler
}
