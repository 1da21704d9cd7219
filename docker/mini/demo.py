"""`minislurm demo`: real training processes on two nodes, started through plain sbatch."""

import time

from mini import lifecycle
from mini.process import say
from mini.settings import DOCKER_DIR, Cluster, UserError

USER = "user1"
TIMEOUT_S = 300.0


def demo(wanted: Cluster, *, keep: bool) -> int:
    cluster = lifecycle.up(wanted)
    try:
        return run_job(cluster)
    finally:
        if keep:
            say(
                f"{cluster.name} stays up; end it with: docker/minislurm down --name {cluster.name}"
            )
        else:
            lifecycle.down(cluster)


def run_job(cluster: Cluster) -> int:
    for script in ("allreduce.py", "allreduce.sbatch"):
        text = (DOCKER_DIR / "demo" / script).read_text()
        on_login(cluster, f"cat > {script}", text)
    submit = f"sbatch --gres=gpu:{cluster.gpus_per_node} --parsable allreduce.sbatch allreduce.py"
    print(f"{USER}@login$ {submit}")
    job = on_login(cluster, submit).strip()
    print(job)
    deadline = time.monotonic() + TIMEOUT_S
    while on_login(cluster, f"squeue -h -j {job} -o %T 2>/dev/null || true").strip():
        if time.monotonic() > deadline:
            raise UserError(f"job {job} did not end within {TIMEOUT_S:g} s")
        time.sleep(0.5)
    print(f"{USER}@login$ cat slurm-{job}.out")
    print(on_login(cluster, f"cat slurm-{job}.out"), end="")
    state = on_login(cluster, f"scontrol show job {job} | grep -o 'JobState=[A-Z]*'").strip()
    print(state)
    return 0 if state == "JobState=COMPLETED" else 1


def on_login(cluster: Cluster, command: str, stdin: str | None = None) -> str:
    invocation = lifecycle.invocation_on(
        cluster, "login", USER, ["bash", "-c", command], terminal=False
    )
    result = lifecycle.execute(invocation, capture=True, stdin=stdin)
    if result.returncode:
        raise UserError(f"{command}: {result.stderr.strip()}")
    return result.stdout
