# shellcheck shell=bash
# Images without a registry: an OCI layout of one program, as a tar.
# https://github.com/opencontainers/image-spec/blob/main/image-layout.md

readonly IMAGE_AGNHOST=localhost/agnhost:test IMAGE_PAUSE=localhost/pause:test

# image_file TOOL: its image, kept beside the program.
image_file() { printf '%s.oci.tar' "$(tool "$1")"; }

# make_image TOOL NAME ENTRYPOINT: ENTRYPOINT is a JSON list.
make_image() {
  local file program work layer size config manifest
  file=$(image_file "$1") program=$(tool "$1")
  [[ ! -e $file ]] || return 0
  work=$(mktemp -d "$TOOLS_CACHE/image.XXXXXX")
  mkdir -p "$work/root/tmp" "$work/oci/blobs/sha256"
  chmod 1777 "$work/root/tmp"
  cp "$program" "$work/root/$1"
  tar --create --file "$work/layer" --directory "$work/root" --sort name --mtime @0 --owner 0 --group 0 .
  layer=$(sha256sum "$work/layer") size=$(stat -c %s "$work/layer")
  layer=sha256:${layer%% *}
  mv "$work/layer" "$work/oci/blobs/sha256/${layer#*:}"
  config=$(blob "$work/oci" <<END
{"architecture": "$("$(tool kubectl)" version --client -o json | jq -r '.clientVersion.platform | split("/")[1]')", "os": "linux",
 "config": {"Entrypoint": $3, "WorkingDir": "/"},
 "rootfs": {"type": "layers", "diff_ids": ["$layer"]}}
END
  )
  manifest=$(blob "$work/oci" <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.image.config.v1+json", $config},
 "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "$layer", "size": $size}]}
END
  )
  printf '{"imageLayoutVersion": "1.0.0"}' >"$work/oci/oci-layout"
  cat >"$work/oci/index.json" <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
 "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", $manifest,
  "annotations": {"io.containerd.image.name": "$2", "org.opencontainers.image.ref.name": "test"}}]}
END
  tar --create --file "$work/image" --directory "$work/oci" .
  mv "$work/image" "$file"
  rm -rf "$work"
}

# blob FOLDER: keeps standard input, and prints the fields that point to it.
blob() {
  local digest
  cat >"$1/blob"
  digest=$(sha256sum "$1/blob")
  printf '"digest": "sha256:%s", "size": %s' "${digest%% *}" "$(stat -c %s "$1/blob")"
  mv "$1/blob" "$1/blobs/sha256/${digest%% *}"
}

make_images() {
  make_image agnhost "$IMAGE_AGNHOST" '["/agnhost"]'
  make_image pause "$IMAGE_PAUSE" '["/pause"]'
}
