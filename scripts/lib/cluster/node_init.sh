#!/usr/bin/env bash
# The first process of a node (`node.sh` starts it, in mount and process
# namespaces of its own). When it ends, or either of its two programs does, the
# node ends.

set -euo pipefail

# Memory of its own, gone when the node is.
readonly STORAGE=/dev/shm

# keep TARGET: a folder of the node's memory in place of the machine's.
keep() {
  mkdir -p "$STORAGE/content$1" "$1"
  mount --bind "$STORAGE/content$1" "$1"
}

# What the node writes stays with it. The machine's folders are seen below,
# unchanged.
make_storage() {
  local folder
  mount -t tmpfs node "$STORAGE"
  mkdir "$STORAGE/cluster"
  mount --bind "$NODE_KEEP" "$STORAGE/cluster"
  for folder in /run /var/lib /var/log /opt; do
    mkdir -p "$STORAGE/upper$folder" "$STORAGE/work$folder"
    mount -t overlay node \
      -o "lowerdir=$folder,upperdir=$STORAGE/upper$folder,workdir=$STORAGE/work$folder" "$folder"
  done
  # An overlay holds no layers of another: these are plain.
  for folder in /run/containerd /run/netns /var/lib/{containerd,kubelet,cni} /var/log/{pods,containers}; do
    keep "$folder"
  done
  # The cluster's files are the machine's own again.
  mkdir -p "$NODE_KEEP"
  mount --bind "$STORAGE/cluster" "$NODE_KEEP"
}

# kubelet sets these for the whole machine. Here it finds files.
hide_settings() {
  local setting file
  for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    file=$STORAGE/${setting//\//.}
    cat "/proc/sys/$setting" >"$file"
    mount --bind "$file" "/proc/sys/$setting"
  done
}

make_storage
hide_settings
cd /

containerd --config "$NODE_FOLDER/containerd.toml" >>"$NODE_KEEP/log/$NODE_NAME.containerd" 2>&1 &
for ((round = 0; round < 200; round++)); do
  ctr version >/dev/null 2>&1 && break
  sleep 0.1
done
for image in $NODE_IMAGES; do
  ctr --namespace k8s.io images import "$image"
done

kubelet --config "$NODE_FOLDER/kubelet.yaml" --kubeconfig "$NODE_KUBECONFIG" \
  --hostname-override "$NODE_NAME" --node-ip "$NODE_IPS" >>"$NODE_KEEP/log/$NODE_NAME.kubelet" 2>&1 &
wait -n
