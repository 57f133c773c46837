#!/bin/sh
# Try a cluster of two nodes on one Linux machine, as root: each node is a network namespace.
#   sh try-here.sh headstart compare photos/ --executor ray:10.77.0.1:6379
set -eu
here=$(dirname "$0") a=hs-a-$$ b=hs-b-$$
RAY_TMPDIR=$(mktemp -d /tmp/hsrXXXX) RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_TMPDIR RAY_AUTH_MODE RAY_AUTH_TOKEN
end() {
    for node in $a $b; do
        ip netns pids "$node" 2>/dev/null | xargs -r kill -9
        ip netns del "$node" 2>/dev/null || true
    done
    rm -rf "$RAY_TMPDIR"
}
trap end EXIT
ip netns add "$a" && ip netns add "$b"
ip link add va type veth peer name vb && ip link set va netns "$a" && ip link set vb netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev va && ip -n "$b" addr add 10.77.0.2/24 dev vb
for card in "$a va" "$a lo" "$b vb" "$b lo"; do ip -n "${card% *}" link set "${card#* }" up; done
ip -n "$a" route add default dev va && ip -n "$b" route add default dev vb  # Ray asks by which card the world is reached
ip netns exec "$a" sh "$here/head.sh" 10.77.0.1 1 >/dev/null
ip netns exec "$b" sh "$here/node.sh" 10.77.0.1 10.77.0.2 1 >/dev/null
ip netns exec "$a" "$@"
