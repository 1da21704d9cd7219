"""What a hostile user tries: messages, changes of a held job, names."""

from __future__ import annotations

from typing import Any

NEVER = 1e300
BIG = 2**63 - 1
LONG = "x" * 100_000
FIELDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deadline", {"kind": "deadline", "deadline": NEVER}),
    ("deadline", {"kind": "deadline", "deadline": -NEVER}),
    ("deadline", {"kind": "deadline", "deadline": "inf"}),
    ("deadline", {"kind": "deadline", "deadline": -0.0}),
    ("deadline", {"kind": "deadline", "deadline": 1.0}),
    ("deadline", {"kind": "deadline", "deadline": None}),
    ("grace", {"kind": "soft-deadline", "deadline": 2e9, "grace": NEVER}),
    ("iterations", {"iterations": 0}),
    ("iterations", {"iterations": -1}),
    ("iterations", {"iterations": BIG}),
    ("iterations", {"iterations": 10**30}),
    ("iterations", {"iterations": 1.5}),
    ("global batch size", {"global_batch_size": 0}),
    ("throughput", {"curves": [["gpu", {"points": [[1, NEVER]]}]]}),
    ("curves", {"curves": [["gpu", {"points": [[1, -1.0]]}]]}),
    ("curves", {"curves": [["gpu", {"points": [[3, 1.0]]}]]}),
    ("curves", {"curves": [[f"type{number}", {"points": [[1, 1.0]]}] for number in range(100)]}),
    ("GPU type", {"curves": [[LONG, {"points": [[1, 1.0]]}]]}),
    ("name", {"name": LONG}),
    ("name", {"name": "a\0b"}),
    ("name", {"name": 7}),
    ("state directory", {"state_dir": "/tmp/a\0b"}),
    ("state directory", {"state_dir": "relative"}),
    ("state directory", {"state_dir": "/" + LONG}),
    ("time limit", {"max_time": NEVER}),
    ("max GPUs", {"max_gpus": 0}),
    ("overhead", {"overhead": {"start": NEVER}}),
    ("model name", {"model_name": "\x1b[2J"}),
    ("kind", {"kind": LONG}),
)

SCRIPTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("script", {"text": "x" * 1_000_000 + "\0"}),
    ("options", {"text": "#!/bin/sh", "options": ["x"] * 10_000}),
    ("arguments", {"text": "#!/bin/sh", "arguments": ["a\0b"]}),
    ("directory", {"text": "#!/bin/sh", "directory": "relative"}),
)


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


BODIES = {
    "60,000 brackets": _nested(60_000),
    "bytes that are no UTF-8": "\udcff\udcfe",
    "a number of 400 digits": '{"job": {"iterations": 1' + "0" * 400 + "}}",
    "NaN": '{"job": {"deadline": NaN}}',
    "not JSON": "{" * 1000,
    "nothing of it": "[]",
    "a text": '"job"',
    "a million keys": "{" + ",".join(f'"k{n}":1' for n in range(90_000)) + "}",
}

HEADS = {
    "a 1 MB request line": "GET /" + "x" * 1_000_000 + " HTTP/1.1\r\n\r\n",
    "no end of fields": "GET /v1/ping HTTP/1.1\r\n" + "A: b\r\n" * 100_000,
    "a negative length": "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    "a huge length": (
        f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**30}\r\n\r\n"
    ),
    "a frame of before": "\x00\x00\x00\x10" + '{"kind": "ping"}',
    "only zeros": "\0" * 10_000,
    "two lengths": (
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
    ),
    "an unknown path": "GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
}

CHANGES = (
    "MinMemoryNode=500",
    "MinMemoryCPU=500",
    "MemPerTres=gres/gpu:5",
    "Account=acct1",
    "Dependency=afterany:1",
    "Switches=1@00:10",
    "WorkDir=/tmp",
    "StdOut=/tmp/hostile.out",
    "StdErr=/tmp/hostile.err",
    "Features=x",
    "TimeLimit=5",
    # What Slurm marks narrower fields with that are not given.
    "TimeLimit=254",
    "TimeLimit=65534",
    "MinMemoryNode=254",
    "NumTasks=65534",
    "Priority=0 TimeLimit=9999 NumNodes=3",
    "Partition=batch",
    "QOS=normal",
    "ReqNodeList=n4",
    "TresPerNode=gres:gpu:4",
    "NumNodes=4",
    "CpusPerTRES=gres/gpu:16",
    "MinTmpDiskNode=1",
    "StartTime=now+1hour",
    "Requeue=0",
    "OverSubscribe=YES",
    "ExcNodeList=n1",
    "Priority=5",
    "DelayBoot=5",
)

NAMES = {
    "escape": "\x1b[2J\x1b[Hgone",
    "title": "\x1b]0;pwned\x07",
    "newline": "mine\n 9999 root root RUNNING",
    "return": "mine\r 9999 root",
    "bidi": "\u202egnp.exe",
    "separator": "mine\u2028 9999 root",
    "long": "x" * 900,
}

_CHANGED = """python3 -c '
import json
launch = json.load(open("launch.json"))
json.dump({{**launch, **{}}}, open("new", "w"))' && mv new launch.json"""
_MADE = """python3 -c '
import json, time
now = time.time()
json.dump({{"version": 1, "generation": 1, "phase": "running", "world_size": 1, "iteration": 5,
    "updated_at": now, "started_at": now, **{}}}, open("new", "w"))' && mv new progress.json"""

REPORTS = {
    "no UTF-8": "printf '\\377\\376\\000' > progress.json",
    "30,000 brackets": 'python3 -c \'print("[" * 30000 + "]" * 30000)\' > progress.json',
    "400 digits": 'python3 -c \'print("{\\"iteration\\": 1" + "0" * 400 + "}")\' > progress.json',
    "a terabyte": "rm -f progress.json; truncate -s 1T progress.json",
    "a pipe": "rm -f progress.json; mkfifo progress.json",
    "a directory": "rm -rf progress.json; mkdir progress.json",
    "a link to passwd": "rm -rf progress.json; ln -s /etc/passwd progress.json",
    "a link to itself": "rm -rf progress.json; ln -s progress.json progress.json",
    "a device": "rm -rf progress.json; ln -s /dev/zero progress.json",
    "iteration -5": _MADE.format('{"iteration": -5}'),
    "iteration 10^400": _MADE.format('{"iteration": 10**400}'),
    "infinity": _MADE.format('{"iterations_per_second": float("inf")}'),
    "not a number": _MADE.format('{"iterations_per_second": float("nan")}'),
    "begun in 5450": _MADE.format('{"first_iteration_at": 1.1e11, "started_at": 1.1e11}'),
    "begun before time": _MADE.format('{"first_iteration_at": -1e9}'),
    "done": _MADE.format('{"iteration": 10**12, "phase": "finished"}'),
    "generation 10^30": _CHANGED.format('{"generation": 10**30}'),
    "generation 2^31": _CHANGED.format('{"generation": 2**31}'),
    "finished": _CHANGED.format('{"state": "finished"}'),
    "restarts -1": _CHANGED.format('{"restart_count": -1}'),
    "another job's": _CHANGED.format('{"slurm_job_id": 1}'),
    "no launch": "rm -f launch.json; mkfifo launch.json",
}
"""What the owner of a job puts into its state directory, by a shell command there."""

_SOCKETS = """
import socket, sys, time
def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(3.0)
    stream.connect(sys.argv[1])
    return stream
streams = []
for _ in range({count}):
    try:
        stream = connect()
        stream.sendall({first!r})
        streams.append(stream)
    except OSError:
        break
for _ in range({rounds}):
    time.sleep(0.5)
    for stream in streams:
        try:
            stream.sendall({then!r})
        except OSError:
            pass
"""
_ASKED = b"GET /v1/jobs?all=true HTTP/1.1\r\nHost: localhost\r\n\r\n"

FLOODS = {
    "300 connections that drip": _SOCKETS.format(count=300, first=b"G", rounds=8, then=b"E"),
    "300 connections that say nothing": _SOCKETS.format(count=300, first=b"", rounds=8, then=b""),
    "200 askers who do not read": _SOCKETS.format(count=200, first=_ASKED, rounds=6, then=_ASKED),
    "as fast as can be": _SOCKETS.format(count=1, first=_ASKED, rounds=6, then=_ASKED * 200),
}
"""What the attacker does to the socket for some seconds."""
