"""A HyperQueue server with workers of one core each, from the Python wheel: cluster.py SERVER_FOLDER WORKERS"""

import os
import signal
import sys
from pathlib import Path

from hyperqueue.cluster import LocalCluster, WorkerConfig

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
cluster = LocalCluster(server_dir=str(folder))
for _ in range(int(sys.argv[2])):
    cluster.start_worker(WorkerConfig(cores=1))
print("ready", cluster.client(), os.getpid(), flush=True)
signal.pause()
