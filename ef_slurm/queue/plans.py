"""The plans that were made: the last one is in force, the ones before tell how it came about."""

from __future__ import annotations

import math

from ef_slurm.model import FOREVER, Decision, Plan, PromiseState, queue_id
from ef_slurm.queue import codec
from ef_slurm.queue.database import Database
from ef_slurm.queue.rows import StoredDecision, StoredPlan


class Plans:
    """The tables of plans and decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, plan: Plan) -> int:
        """Write a plan, and each decision into its job's row as the plan in hand.

        Returns:
            The plan's id. The jobs have new revisions: read them again before saving.
        """
        with self._database.transaction():
            plan_id = self.begin(plan)
            for decision in plan.decisions:
                self.decide(plan_id, decision)
            return plan_id

    def begin(self, plan: Plan) -> int:
        """Write a plan without its decisions; returns its id."""
        next_change = plan.next_change if math.isfinite(plan.next_change) else None
        return self._database.insert("plans", {"made_at": plan.now, "next_change": next_change})

    def decide(self, plan_id: int, decision: Decision) -> None:
        """Write one decision of a plan, and into its job's row as the plan in hand."""
        with self._database.transaction():
            values = {
                "plan_id": plan_id,
                "job_id": queue_id(decision.job_id),
                "block": codec.dump_block(decision.block),
                "schedule": codec.dump_schedule(decision.schedule),
                "finish": decision.finish,
                "promise": decision.promise.value,
                "reason": codec.dump_reason(decision.reason),
            }
            self._database.insert("decisions", values)
            self._database.execute(
                "UPDATE jobs SET plan = :schedule, finish = :finish, promise = :promise,"
                " reason = :reason, revision = revision + 1 WHERE id = :job_id",
                values,
            )

    def last(self) -> StoredPlan | None:
        """The plan in force, or None if none was made yet."""
        row = self._database.one("SELECT * FROM plans ORDER BY id DESC LIMIT 1")
        if row is None:
            return None
        decisions = self._database.query(
            "SELECT * FROM decisions WHERE plan_id = ? ORDER BY job_id", (row["id"],)
        )
        return StoredPlan(
            id=row["id"],
            made_at=row["made_at"],
            next_change=FOREVER if row["next_change"] is None else row["next_change"],
            decisions=tuple(
                StoredDecision(
                    job_id=decision["job_id"],
                    block=codec.load_block(decision["block"]),
                    schedule=codec.load_schedule(decision["schedule"]),
                    finish=decision["finish"],
                    promise=PromiseState(decision["promise"]),
                    reason=codec.load_reason(decision["reason"]),
                )
                for decision in decisions
            ),
        )

    def prune(self, keep: int) -> int:
        """Forget all but the last `keep` plans (1 or more); returns how many were forgotten."""
        if keep < 1:
            raise ValueError(f"keep: {keep}: the plan in force must stay")
        return self._database.execute(
            "DELETE FROM plans WHERE id <= (SELECT max(id) FROM plans) - ?", (keep,)
        )
