# shellcheck shell=bash
# Where Go is. The programs of a cluster are built with one version of it: with
# 1.27 the API server of Kubernetes 1.36 answers 503 to /openapi/v2.

readonly GO_VERSION=1.26.8

SLUICE_CACHE=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
readonly GO_CACHED=$SLUICE_CACHE/go$GO_VERSION

# Sets GO, and GOTOOLCHAIN where that Go is to fetch the wanted version by
# itself (as every Go since 1.21 does).
find_go() {
  local candidate version
  for candidate in "$GO_CACHED/bin/go" "$(type -P go)" /usr/local/go/bin/go; do
    [[ -x $candidate ]] || continue
    version=$(GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null) || continue
    version=${version#go}
    [[ $version =~ ^1\.([0-9]+)(\.([0-9]+))? ]] || continue
    GO=$candidate
    if [[ ${BASH_REMATCH[1]} == 26 && ${BASH_REMATCH[3]:-0} -ge ${GO_VERSION##*.} ]]; then
      export GOTOOLCHAIN=local
      return 0
    elif ((BASH_REMATCH[1] >= 21)); then
      export GOTOOLCHAIN=go$GO_VERSION
      return 0
    fi
  done
  return 1
}

# fetch_go GO: an older Go, too old to change its version by itself, fetches the
# wanted one as the module that newer ones fetch, checked as every module is.
fetch_go() {
  local old=$1 found staged
  found=$(cd / && GOTOOLCHAIN=local "$old" mod download -json \
    "golang.org/toolchain@v0.0.1-go$GO_VERSION.$("$old" env GOOS)-$("$old" env GOARCH)" |
    sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  [[ -d $found ]] || return 1
  mkdir -p "$SLUICE_CACHE"
  staged=$(mktemp -d "$SLUICE_CACHE/go.XXXXXX")
  cp -r "$found/." "$staged"
  # Modules hold no programs: what is one is made one.
  chmod -R u+w,a+rX "$staged"
  find "$staged/bin" "$staged/pkg/tool" -type f -exec chmod a+x {} +
  rm -rf "$GO_CACHED"
  mv "$staged" "$GO_CACHED"
}
