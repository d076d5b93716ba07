# shellcheck shell=bash
node_components() { :; }
nodes_start() { :; }
