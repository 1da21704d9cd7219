"""Property 2: promises hold, whatever arrives, ends or passes, as long as capacity is as foreseen.

Every plan that the planner makes is checked by `world` when it is made (property 1), and every
promised job when it ends.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ef_slurm.model import Arrivals, Cluster, Limit, NodeGroup, Policy
from tests.unit.planner.strategies import JobDraft, clusters, drafts, pasts, policies
from tests.unit.planner.world import World


class PromisesHold(RuleBasedStateMachine):
    """Arrivals, departures, time passing, idle questions and capacity that comes back early."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Cluster.uniform(1, 1))
        self.count = 0

    @initialize(
        cluster=clusters(max_types=1), policy=policies(), limit=st.integers(0, 9), past=pasts()
    )
    def begin(self, cluster: Cluster, policy: Policy, limit: int, past: Arrivals) -> None:
        if limit >= 8:
            policy = with_limit(policy, limit)
        self.world = World(cluster, policy)
        self.world.arrivals = past

    def _submit(self, *wanted: JobDraft) -> None:
        jobs = []
        for draft in wanted:
            self.count += 1
            jobs.append(draft.submitted_at(self.world.now, f"j{self.count:03}"))
        self.world.submit(*jobs)

    @rule(draft=drafts())
    def arrive(self, draft: JobDraft) -> None:
        self._submit(draft)

    @rule(wanted=st.lists(drafts(), min_size=2, max_size=4))
    def arrive_together(self, wanted: list[JobDraft]) -> None:
        self._submit(*wanted)

    @rule(seconds=st.sampled_from([0.5, 7.0, 60.0, 333.3, 1500.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.advance(self.world.now + seconds)

    @rule()
    def until_the_next_change(self) -> None:
        if self.world.next_change < self.world.now + 10_000:
            self.world.advance(self.world.next_change)

    @rule()
    def ask_again(self) -> None:
        self.world.replan()

    @precondition(lambda self: self.world.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(sorted(self.world.jobs))))

    @precondition(lambda self: any(n.outages for n in self.world.cluster.groups[0].nodes))
    @rule(data=st.data())
    def lift_an_outage(self, data: st.DataObject) -> None:
        group = self.world.cluster.groups[0]
        nodes = list(group.nodes)
        index = data.draw(st.sampled_from([i for i, n in enumerate(nodes) if n.outages]))
        node = nodes[index]
        nodes[index] = type(node)(node.name, node.outages[1:])
        changed = NodeGroup(group.gpu_type, group.gpus_per_node, tuple(nodes))
        self.world.cluster = Cluster((changed,))
        self.world.replan()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert self.world.promised <= set(self.world.jobs)

    def teardown(self) -> None:
        """Let everything that was promised end."""
        for _ in range(200):
            if not self.world.promised:
                return
            ends = [self.world.jobs[i].deadline or 0.0 for i in self.world.promised]
            self.world.advance(max(ends) + 700.0)


def with_limit(policy: Policy, most: int) -> Policy:
    """The policy with a limit for one owner and one for all."""
    fields = {name: getattr(policy, name) for name in policy.__dataclass_fields__}
    limits = (Limit(max(1, most - 6), owner="ann"), Limit(most))
    return Policy(**{**fields, "limits": limits})


TestPromisesHold = PromisesHold.TestCase
