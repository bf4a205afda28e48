#!/bin/sh
# The embedded sweep through Slurm: a cluster of one node from Debian's packages, started by hand in a temporary folder,
# a run killed at work, arrays longer than the site allows. Needs root for apt-get and the daemons.
. "$(dirname "$0")/common.sh"

if ! command -v sbatch >/dev/null || ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  say "installing slurm-wlm and munge"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
fi

say "a cluster of one node"
daemons=
stop() {
  for pid in $daemons; do kill "$pid" 2>/dev/null || true; done
  sleep 1
  for pid in $daemons; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop EXIT
# munged insists that nobody else can write where its socket lies.
chmod 755 "$work"
mkdir -m 755 "$work/munge" "$work/state" "$work/spool"
(umask 077; head -c 1024 /dev/urandom > "$work/munge/key")
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
  --log-file="$work/munge/log" --seed-file="$work/munge/seed" >"$work/munge/out" 2>&1 &
daemons="$daemons $!"
host=$(hostname -s)
cat > "$work/slurm.conf" <<CONFIGURATION
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$work/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2
MaxArraySize=4
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONFIGURATION
export SLURM_CONF="$work/slurm.conf"
sleep 1
slurmctld -D -f "$SLURM_CONF" >"$work/slurmctld.out" 2>&1 &
daemons="$daemons $!"
slurmd -D -f "$SLURM_CONF" >"$work/slurmd.out" 2>&1 &
daemons="$daemons $!"
waited=0
until sinfo -h -o %T 2>/dev/null | grep -q idle; do
  waited=$((waited + 1))
  if [ $waited -ge 60 ]; then tail -n 20 "$work"/*.out "$work"/*.log "$work/munge/out"; exit 1; fi
  sleep 1
done
sbatch --version
sinfo
scontrol show config | grep MaxArraySize

idle() { [ -z "$(squeue -h)" ]; }

plain_sweep
say "ecqx submit --engine slurm --print"
"$ecqx" submit "$here/sweep.yaml" --engine slurm --resources cpus=1,memory=500M,time=30m --store "$work/store" --print |
  sed "s|$work|WORK|g; s|$here|HERE|g"
say "ecqx submit --engine slurm --resources cpus=1,memory=500M,time=30m"
"$ecqx" submit "$here/sweep.yaml" --engine slurm --resources cpus=1,memory=500M,time=30m --store "$work/store"
squeue -o '%.14i %.16j %.3t %.40E'
kill_a_run "$work/store"
wait_for "$work/store" "$runs"
say "$(finished "$work/store") of $runs runs are done; submitting again what is missing"
"$ecqx" submit "$here/sweep.yaml" --engine slurm --resources cpus=1,memory=500M,time=30m --store "$work/store"
squeue -o '%.14i %.16j %.3t %.40E'
wait_for "$work/store" "$runs"
compare_tables "$work/store"
