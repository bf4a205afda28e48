#!/bin/sh
# The embedded sweep through HyperQueue: server and worker from the Python wheel, a run killed at work, then the whole
# cluster. The wheel has no `hq` command; hq.py stands for `hq submit` and refuses options that it does not know.
. "$(dirname "$0")/common.sh"

python=${PYTHON:-python3}
environment=${ECQX_HYPERQUEUE_VENV:-$work/venv}
if [ ! -x "$environment/bin/python" ]; then
  say "installing the Python wheel hyperqueue"
  "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet hyperqueue
fi
"$environment/bin/python" -c 'import hyperqueue; print("HyperQueue", hyperqueue.get_version())'

cluster=
stop() {
  [ -z "$cluster" ] || kill -9 "$cluster" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
mkdir "$work/bin"
printf '#!/bin/sh\nexec "%s" "%s/hq.py" "$@"\n' "$environment/bin/python" "$here" > "$work/bin/hq"
chmod +x "$work/bin/hq"
PATH="$work/bin:$PATH"

# A server with two workers of one core each; they live in one process.
start_cluster() {
  export HQ_SERVER_DIR="$work/server-$1"
  "$environment/bin/python" "$here/cluster.py" "$HQ_SERVER_DIR" 2 >"$work/cluster-$1.log" 2>&1 &
  cluster=$!
  waited=0
  until grep -q ready "$work/cluster-$1.log"; do
    waited=$((waited + 1))
    if [ $waited -ge 60 ]; then cat "$work/cluster-$1.log"; exit 1; fi
    sleep 0.5
  done
}

# The workers' tasks are processes of ours, whose command is `ecqx exec` on this store.
idle() { sleep 3; ! pgrep -f "exec --store $work/store" >/dev/null; }

plain_sweep
start_cluster 1
say "ecqx submit --engine hyperqueue --print"
"$ecqx" submit "$here/sweep.yaml" --engine hyperqueue --resources cpus=1,time=30m --store "$work/store" --print |
  sed "s|$work|WORK|g; s|$here|HERE|g"
say "ecqx submit --engine hyperqueue --resources cpus=1,time=30m"
"$ecqx" submit "$here/sweep.yaml" --engine hyperqueue --resources cpus=1,time=30m --store "$work/store"
kill_a_run "$work/store"
wait_for "$work/store" 3
say "$(finished "$work/store") of $runs runs are done; now the whole cluster is killed at work"
kill -9 "$cluster"
idle || { sleep 10; idle; } || { echo "a task outlived its worker"; pgrep -af "exec --store $work/store"; }
say "$(finished "$work/store") of $runs runs are done; a new cluster gets what is missing"
start_cluster 2
"$ecqx" submit "$here/sweep.yaml" --engine hyperqueue --resources cpus=1,time=30m --store "$work/store"
wait_for "$work/store" "$runs"
compare_tables "$work/store"
