# shellcheck shell=bash
# The programs of a cluster, built from Go modules at the versions of the go.mod
# files beside this one, and manifests from there. They are kept outside the
# tree, in a folder for each go.mod and its content.

readonly TOOLS_CACHE=$SLUICE_CACHE/cluster
readonly MODULES=$SCRIPTS/lib/cluster

# NAME MODULE PACKAGE
tools() {
  cat <<'END'
etcd                    etcd       go.etcd.io/etcd/server/v3
kube-apiserver          kubernetes k8s.io/kubernetes/cmd/kube-apiserver
kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager
kube-scheduler          kubernetes k8s.io/kubernetes/cmd/kube-scheduler
kubectl                 kubernetes k8s.io/kubernetes/cmd/kubectl
kubelet                 kubernetes k8s.io/kubernetes/cmd/kubelet
agnhost                 kubernetes k8s.io/kubernetes/test/images/agnhost
pause                   kubernetes -
containerd              containerd github.com/containerd/containerd/v2/cmd/containerd
containerd-shim-runc-v2 containerd github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
ctr                     containerd github.com/containerd/containerd/v2/cmd/ctr
bridge                  plugins    github.com/containernetworking/plugins/plugins/main/bridge
host-local              plugins    github.com/containernetworking/plugins/plugins/ipam/host-local
loopback                plugins    github.com/containernetworking/plugins/plugins/main/loopback
flanneld                flannel    -
helm                    helm       helm.sh/helm/v4/cmd/helm
promtool                prometheus github.com/prometheus/prometheus/cmd/promtool
network-policy-crds     network-policy-api -
h2spec                  http       github.com/summerwind/h2spec/cmd/h2spec
grpc-health-probe       http       github.com/grpc-ecosystem/grpc-health-probe
END
}

readonly CONTROL_TOOLS=(etcd kube-apiserver kube-controller-manager kubectl)
readonly NODE_TOOLS=(kube-scheduler kubelet containerd containerd-shim-runc-v2 ctr
  bridge host-local loopback flanneld agnhost pause)

# tool_module NAME: the folder of its go.mod.
tool_module() {
  local module
  module=$(tools | awk -v name="$1" '$1 == name { print $2 }')
  [[ -n $module ]] || usage_error "unknown tool '$1'; expected one of: $(tools | awk '{ printf "%s ", $1 }')"
  printf '%s' "$module"
}

# module_version MODULE PATH: the version of a Go module in MODULE/go.mod.
module_version() { awk -v path="$2" '$1 == path { print $2; exit } $2 == path { print $3; exit }' "$MODULES/$1/go.mod"; }

# tool NAME: where its program is, or will be.
tool() {
  local module sum
  module=$(tool_module "$1")
  sum=$(cat "$MODULES/$module/go.mod" "$MODULES/$module/go.sum" | sha256sum)
  printf '%s/%s-%s/%s' "$TOOLS_CACHE" "$module" "${sum:0:12}" "$1"
}

# Sets MISSING to those of the tools that are not there.
find_missing() {
  local name
  MISSING=()
  for name in "$@"; do
    [[ -e $(tool "$name") ]] || MISSING+=("$name")
  done
}

# need_go NAME...: there is Go, if it takes one to build what is missing of these.
need_go() {
  find_missing "$@"
  ((${#MISSING[@]} == 0)) || find_go ||
    die "no Go here that can build ${MISSING[*]}: $GO_VERSION is wanted, or one from 1.21 on, which fetches it.
Install it with: scripts/setup"
}

# build_tools NAME...: builds those that are not there. One script at a time builds.
build_tools() {
  local name
  need_go "$@"
  ((${#MISSING[@]})) || return 0
  mkdir -p "$TOOLS_CACHE"
  exec {BUILD_LOCK}>"$TOOLS_CACHE/lock"
  flock "$BUILD_LOCK"
  for name in "${MISSING[@]}"; do
    # Another script may have built it meanwhile.
    [[ -e $(tool "$name") ]] || build_tool "$name"
  done
  exec {BUILD_LOCK}>&-
}

build_tool() {
  local name=$1 program began module package
  program=$(tool "$name") began=$(now_ms)
  read -r module package <<<"$(tools | awk -v name="$name" '$1 == name { print $2, $3 }')"
  note "  building $name"
  mkdir -p "$(dirname "$program")"
  case $name in
    pause) build_pause "$program.new" ;;
    flanneld) build_flanneld "$program.new" ;;
    network-policy-crds) build_network_policy_crds "$program.new" ;;
    *) go_build "$MODULES/$module" "$program.new" "$package" "$(version_flags "$module")" ;;
  esac || die "$name could not be built"
  mv "$program.new" "$program"
  ok "$name in $(span $(($(now_ms) - began)))"
}

# go_build FOLDER OUTPUT PACKAGE LDFLAGS
go_build() {
  (cd "$1" && GOFLAGS=-buildvcs=false CGO_ENABLED=0 \
    "$GO" build -trimpath -ldflags "-s -w $4" -o "$2" "$3")
}

# What a program says its version is, as its own makefile sets it.
version_flags() {
  local version
  case $1 in
    kubernetes)
      version=$(module_version kubernetes k8s.io/kubernetes)
      [[ $version =~ ^v([0-9]+)\.([0-9]+)\. ]]
      printf -- '-X k8s.io/component-base/version.%s ' \
        "gitVersion=$version" "gitMajor=${BASH_REMATCH[1]}" "gitMinor=${BASH_REMATCH[2]}" gitTreeState=clean
      ;;
    containerd)
      printf -- '-X github.com/containerd/containerd/v2/version.Version=%s' \
        "$(module_version containerd github.com/containerd/containerd/v2)"
      ;;
  esac
}

# source_of MODULE PATH: the folder of a Go module's source.
source_of() {
  (cd "$MODULES/$1" && GOFLAGS=-mod=mod "$GO" mod download "$2" && "$GO" list -m -f '{{.Dir}}' "$2")
}

# The one process of a pod's sandbox: C, in the source of Kubernetes.
build_pause() {
  local source
  source=$(source_of kubernetes k8s.io/kubernetes) &&
    cc -Os -Wall -static "-DVERSION=$(module_version kubernetes k8s.io/kubernetes)" \
      -o "$1" "$source/build/pause/linux/pause.c"
}

# No program: what an API server has to know of ClusterNetworkPolicies, with the
# fields that are still tried out.
build_network_policy_crds() {
  local source
  source=$(source_of network-policy-api sigs.k8s.io/network-policy-api) &&
    install -m 644 "$source"/config/crd/experimental/policy.networking.k8s.io_*.yaml "$1"
}

# flannel without two of its ways to join nodes: one needs cgo, the other a
# library that the module proxy does not have.
build_flanneld() {
  local source work status=0
  source=$(source_of flannel github.com/flannel-io/flannel) || return 1
  work=$(mktemp -d "$TOOLS_CACHE/flannel.XXXXXX")
  cp -r "$source/." "$work"
  chmod -R u+w "$work"
  sed -i -e '/pkg\/backend\/tencentvpc"/d' -e '/pkg\/backend\/udp"/d' "$work/main.go"
  go_build "$work" "$1" . \
    "-X github.com/flannel-io/flannel/pkg/version.Version=$(module_version flannel github.com/flannel-io/flannel)" || status=1
  rm -rf "$work"
  return "$status"
}
