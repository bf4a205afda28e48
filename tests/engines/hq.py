"""Stands for `hq submit` in the tests, over the Python client: the wheel on the package index holds no command.

Takes the options that ecqx gives, by the meaning they have in HyperQueue's manual, and refuses all others.
"""

import argparse
import json
import os
import re
import sys
from datetime import timedelta

# The client's progress bar is not for logs; tqdm reads this when it is imported.
os.environ["TQDM_DISABLE"] = "1"

from hyperqueue import Client, Job
from hyperqueue.ffi.protocol import ResourceRequest
from hyperqueue.output import StdioDef


def stdio(text, task):
    if text == "none":
        return None
    path, _, mode = text.partition(":")
    return StdioDef(path=path.replace("%{TASK_ID}", str(task)), on_close=mode or "none")


def seconds(text):
    return timedelta(seconds=int(re.fullmatch(r"(\d+)s", text)[1]))


def main():
    if sys.argv[1:2] != ["submit"]:
        sys.exit(f"hq.py knows only 'submit', not {sys.argv[1:2]}")
    parser = argparse.ArgumentParser("hq submit", allow_abbrev=False)
    parser.add_argument("--name", required=True)
    parser.add_argument("--from-json", required=True)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--resource", action="append", default=[])
    parser.add_argument("--time-request", type=seconds)
    # The client has no time limit per task; what is asked for is only checked.
    parser.add_argument("--time-limit", type=seconds)
    parser.add_argument("--cwd", required=True)
    parser.add_argument("--stdout", required=True)
    parser.add_argument("--stderr", required=True)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(sys.argv[2:])
    job = Job(name=options.name, max_fails=None)
    request = ResourceRequest(
        cpus=options.cpus,
        resources=dict(resource.split("=", 1) for resource in options.resource),
        min_time=options.time_request,
    )
    with open(options.from_json) as file:
        entries = json.load(file)
    for task, entry in enumerate(entries):
        job.program(
            options.command,
            env={"HQ_ENTRY": json.dumps(entry)},
            cwd=options.cwd,
            stdout=stdio(options.stdout, task),
            stderr=stdio(options.stderr, task),
            resources=request,
        )
    client = Client(os.environ["HQ_SERVER_DIR"])
    submitted = client.submit(job)
    print(f"Job submitted successfully, job ID: {submitted.id}")
    if options.wait and not client.wait_for_jobs([submitted], raise_on_error=False):
        sys.exit(1)


main()
