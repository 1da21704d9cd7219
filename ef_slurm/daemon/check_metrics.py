"""`ef-schedd check`, where the metrics are."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from pathlib import Path

from ef_slurm.daemon.findings import Finding, Level

_SECONDS = 3.0
_OURS = b"ef_slurm_info"


def check_metrics(port: int, socket: Path, *, here: bool) -> Finding:
    """Where the metrics are, and whether Prometheus gets them.

    Args:
        port: [metrics] port; 0 for none.
        socket: the daemon's UNIX socket.
        here: whether this is the daemon's host.
    """
    if not port:
        asked = f"curl --unix-socket {socket} http://localhost/metrics"
        return Finding(Level.OK, "metrics", f"{asked} (for Prometheus: [metrics] port)")
    address = f"http://127.0.0.1:{port}/metrics"
    if not here:
        return Finding(Level.OK, "metrics", f"{address}, on the daemon's host")
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        found = connection.getresponse().read()
    except (OSError, HTTPException) as error:
        started = "it reads [metrics] when it starts: systemctl restart ef-schedd"
        return Finding(Level.WARNING, "metrics", f"{address}: no ef-schedd: {error}; {started}")
    finally:
        connection.close()
    if _OURS not in found:
        text = f"{address}: another program answers: under [metrics] write another port"
        return Finding(Level.WARNING, "metrics", text)
    return Finding(Level.OK, "metrics", f"{address} answers")
