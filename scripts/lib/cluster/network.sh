# shellcheck shell=bash
# Where a cluster meets a lab.

# The lab must be up, and its nodes bare: pods and overlay are the cluster's.
need_lab() {
  is_root || die 'a cluster in a lab needs root: run this with sudo'
  lab_use "$CLUSTER_LAB"
  lab_load
  cluster_use "$CLUSTER"
  ((LAB_PODS == 0)) ||
    die "lab '$CLUSTER_LAB' has pods of its own; bring it up with: scripts/lab up --name $CLUSTER_LAB --pods 0"
  [[ ! -e /run/netns/$CLUSTER_LAB-cp ]] ||
    die "lab '$CLUSTER_LAB' has a control plane already (namespace $CLUSTER_LAB-cp)"
}
