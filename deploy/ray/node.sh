#!/bin/sh
# Let this machine join a Ray cluster.   sh node.sh HEAD-ADDRESS OWN-ADDRESS [CORES]
set -eu
: "${RAY_AUTH_TOKEN:?set it to the token of the head}"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
exec ray start --address="$1:6379" --node-ip-address="$2" ${3:+--num-cpus="$3"}
