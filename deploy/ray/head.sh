#!/bin/sh
# Begin a Ray cluster on this machine.   sh head.sh OWN-ADDRESS [CORES]
# RAY_AUTH_TOKEN is the cluster's password, the same on every machine: openssl rand -hex 32
set -eu
: "${RAY_AUTH_TOKEN:?set it: openssl rand -hex 32}"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
exec ray start --head --node-ip-address="$1" --port=6379 --include-dashboard=false ${2:+--num-cpus="$2"}
