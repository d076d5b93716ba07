# shellcheck shell=bash
readonly IMAGE_AGNHOST=localhost/agnhost:v1.36.2
