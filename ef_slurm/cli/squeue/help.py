"""What ef-squeue says of itself below its options."""

from __future__ import annotations

EXAMPLES = """
\b
Examples:
  ef-squeue                        what is in the queue
  ef-squeue --me --watch           my jobs on the whole screen: / filter, s sort, l log, q quit
  ef-squeue --me -i 10             the same as a plain table, every ten seconds
  ef-squeue --explain 1234         the story of job 1234 in sentences
  ef-squeue -A nlp -t pending -S deadline
  ef-squeue -S -slack -t running   who has most time left, first
  ef-squeue -t all -o "%i %j %E %L %q"
  ef-squeue --history --me --since 7d
  ef-squeue --history --since 2026-01 --by user,month
  ef-squeue --json | jq '.jobs[] | {job_id, finish, slack}'
\b
Formats: %i job id, %j name, %u user, %a account, %P partition, %T state, %t the same in letters,
  %k kind, %b GPUs now, %m GPU type, %E deadline, %e (predicted) finish, %L slack, %p progress,
  %I iterations done, %n iterations, %v iterations/s, %q promise, %f whose fault, %V submitted,
  %S first start or, by the plan, the start to come, %M time since, %D nodes, %N node list,
  %R node list or reason, %r reason, %g starts, %x reshapes, %Z state directory, %B what it holds.
  %.10i is 10 characters wide, right-aligned.
\b
States: new, waitlisted, admitted, starting, running, stopping, paused, held; rejected,
  completed, failed, cancelled, lost; and Slurm's pending, running, all, PD, R, CD, CA, F; and
  measuring.
\b
Exit codes: 0 done, 1 Slurm, or a job, user or partition that is not known, 2 usage, 4 ef-schedd
  cannot be reached, 5 not allowed.
"""
