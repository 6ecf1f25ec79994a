#!/usr/bin/env bash
# A Ray cluster for one sweep: a head here, a node on each machine of HOSTS, the sweep, and then the end of them all.
#
#   sweeps/ray_cluster.sh +experiment=patchcount -m size=paper                        # this machine alone
#   HOSTS="gpu1 gpu2" sweeps/ray_cluster.sh +experiment=patchcount -m size=paper      # these too, by ssh
#   sweeps/ray_cluster.sh +experiment=patchcount -m hydra.launcher.gpus_per_cell=0    # no GPU
#
# Every machine must see the present folder and the Python environment at the same paths (a shared file system).
# PYTHON: the interpreter, if not the first `python`. HEAD: this machine's name or address for the others. PORT: Ray's.
set -euo pipefail
PYTHON=${PYTHON:-$(command -v python)}
HEAD=${HEAD:-$(hostname -I | cut -d' ' -f1)}
PORT=${PORT:-6379}
HOSTS=${HOSTS:-}

token=$(mktemp "$PWD/.ray_token.XXXXXX")   # who has it may run code on the cluster: readable for its owner alone
"$PYTHON" -c 'import secrets; print(secrets.token_hex(32))' >"$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token"
nodes=()
finish() {
    kill -KILL "${nodes[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -f "$token"
}
trap finish EXIT

start=("$PYTHON" -m ray.scripts.scripts start --block --disable-usage-stats)
"${start[@]}" --head --port="$PORT" </dev/null >ray_head.log 2>&1 &
nodes+=($!)
until (: <"/dev/tcp/$HEAD/$PORT") 2>/dev/null; do
    kill -0 "${nodes[0]}" 2>/dev/null || { tail ray_head.log; exit 1; }
    sleep 1
done
for host in $HOSTS; do
    remote=(env RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token" "${start[@]}" --address="$HEAD:$PORT")
    ssh -tt "$host" "cd $(printf %q "$PWD") && exec $(printf '%q ' "${remote[@]}")" </dev/null >"ray_$host.log" 2>&1 &
    nodes+=($!)
done

"$PYTHON" -m slackoff "$@" hydra/launcher=ray hydra.launcher.ray.init.address="$HEAD:$PORT"
