"""The job of `ef-schedd check --try`: ten iterations of a second, for any node's shell."""

from __future__ import annotations

from ef_slurm.contract.records import VERSION, Phase

ITERATIONS = 10
NAME = "ef-schedd-check"

# Reports as a training does (docs/protocol.md): one key a line, each file replaced whole. It is not
# elastic, and need not be: it has one GPU, for some seconds.
COMMAND = f"""
began=$(date +%s)
report() {{
    cat >"$EF_STATE_DIR/.progress.$$" <<END || exit 1
{{
 "version": {VERSION},
 "generation": $EF_GENERATION,
 "phase": "$1",
 "world_size": 1,
 "iteration": $2,
 "updated_at": $(date +%s),
 "started_at": $began,
 "first_iteration_at": $((began + 1)),
 "iterations_per_second": 1.0,
 "checkpoint_iteration": $2,
 "exit_code": $3
}}
END
    mv -f "$EF_STATE_DIR/.progress.$$" "$EF_STATE_DIR/progress.json" || exit 1
}}
done=0
while [ "$done" -lt {ITERATIONS} ]; do
    sleep 1
    done=$((done + 1))
    report {Phase.RUNNING.value} "$done" null
done
report {Phase.FINISHED.value} "$done" 0
"""


def options(gpu_type: str) -> tuple[str, ...]:
    """ef-sbatch's options for it.

    Args:
        gpu_type: the one that it runs on.
    """
    return (
        f"--job-name={NAME}",
        "--deadline=+1h",
        f"--iterations={ITERATIONS}",
        "--global-batch-size=1",
        f"--gpu-type={gpu_type}",
        f"--throughput={gpu_type}=1:1",
        "--max-gpus=1",
        "--overhead=30",
        "--time=10",
        "--output=/dev/null",
        f"--wrap={COMMAND}",
    )
