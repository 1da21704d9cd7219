"""The words of ef-slurm as immutable values, one file per concept.

Everything here is data: no clock, no I/O, nothing of ours imported. Wrong values are refused when
an object is made, with a `ModelError` that names the field and the value, so that the rooms behind
this boundary need not check again. Begin with `job`, `plan` and `queued_job`.

Units: times are UTC epoch seconds (a simulator uses its trace's own clock), durations are seconds,
rates are iterations per second, shares are whole GPUs.
"""

from ef_slurm.model.array import ArrayMember
from ef_slurm.model.arrival import MOST_ARRIVALS, Arrival, Arrivals
from ef_slurm.model.bar import Bar
from ef_slurm.model.block import Block, active_part, same_place
from ef_slurm.model.bounds import (
    LONGEST_OVERHEAD,
    MOST_ITERATIONS,
    check_request,
    check_script,
)
from ef_slurm.model.budget import Budget, Charge
from ef_slurm.model.change import ChangeOutcome, JobAction, JobChange, changed, is_looser
from ef_slurm.model.checks import is_power_of_two
from ef_slurm.model.cluster import FOREVER, Cluster, Node, NodeGroup, Outage
from ef_slurm.model.companion import COMPANION_TRANSITIONS, Companion, CompanionState
from ef_slurm.model.curve import ThroughputCurve, check_steps
from ef_slurm.model.deadline import TOLERANCE_SECONDS, is_in_time, slack_seconds
from ef_slurm.model.dependency import Condition, Dependency, DependencyKind, Gate, GateState
from ef_slurm.model.errors import ModelError
from ef_slurm.model.event import ACTOR, PUT_BACK, Event, EventKind, Json
from ef_slurm.model.history import EndedJob, HistoryMark, HistoryPage
from ef_slurm.model.intent import Intent, IntentAction, IntentState
from ef_slurm.model.job import NEWCOMER, IfInfeasible, Job, JobKind, Standing
from ef_slurm.model.job_record import RECORD_VERSION, JobRecord, lasting
from ef_slurm.model.job_state import (
    ACTIVE,
    FINAL,
    LOST_WINDOW_SECONDS,
    HeldBy,
    JobState,
    standing,
)
from ef_slurm.model.job_view import (
    CompanionView,
    JobDetail,
    JobList,
    JobView,
    OtherJob,
    Story,
    named_queue_ids,
    view,
)
from ef_slurm.model.launch import (
    ContainerRuntime,
    Launcher,
    LaunchSettings,
    StopSignal,
    check_text,
)
from ef_slurm.model.measuring import OBSERVE_SECONDS, Measuring
from ef_slurm.model.notice import (
    Notice,
    NoticeKind,
    NoticeState,
    check_mail_user,
    is_address,
)
from ef_slurm.model.overhead import (
    OVERHEAD_FIELDS,
    OVERHEAD_KINDS,
    ChangeKind,
    Overhead,
    change_kind,
    classify_change,
    doublings_of,
    overhead_field,
)
from ef_slurm.model.per_gpu import PerGpu, footprint
from ef_slurm.model.plan import Decision, Outcome, Plan, PromiseState, Reason, ReasonCode, Verdict
from ef_slurm.model.policy import (
    DEFAULT_ACCOUNT_HOURS,
    DEFAULT_USER_HOURS,
    Admission,
    Limit,
    Policy,
    PromiseLimit,
    QueueLimits,
    RiskOrder,
    Weight,
)
from ef_slurm.model.profile import (
    FASTEST,
    LONGEST_NAME,
    LONGEST_SOURCE,
    MOST_SAMPLES,
    SLOWEST,
    UNSPECIFIED,
    KnownCurve,
    MeasuredRate,
    ProfileKey,
    ProfileLevel,
    check_name,
)
from ef_slurm.model.promise import (
    Fault,
    Promise,
    PromiseOutcome,
    Settlement,
    StoredVerdict,
)
from ef_slurm.model.queued_job import QueueJob, SlurmSettings, newcomer, planner_id, queue_id
from ef_slurm.model.request import BatchScript, JobRequest
from ef_slurm.model.reservation import Reservation, Running, Schedule
from ef_slurm.model.time_limit import time_needed

__all__ = [
    "ACTIVE",
    "ACTOR",
    "COMPANION_TRANSITIONS",
    "DEFAULT_ACCOUNT_HOURS",
    "DEFAULT_USER_HOURS",
    "FASTEST",
    "FINAL",
    "FOREVER",
    "LONGEST_NAME",
    "LONGEST_OVERHEAD",
    "LONGEST_SOURCE",
    "LOST_WINDOW_SECONDS",
    "MOST_ARRIVALS",
    "MOST_ITERATIONS",
    "MOST_SAMPLES",
    "NEWCOMER",
    "OBSERVE_SECONDS",
    "OVERHEAD_FIELDS",
    "OVERHEAD_KINDS",
    "PUT_BACK",
    "RECORD_VERSION",
    "SLOWEST",
    "TOLERANCE_SECONDS",
    "UNSPECIFIED",
    "Admission",
    "ArrayMember",
    "Arrival",
    "Arrivals",
    "Bar",
    "BatchScript",
    "Block",
    "Budget",
    "ChangeKind",
    "ChangeOutcome",
    "Charge",
    "Cluster",
    "Companion",
    "CompanionState",
    "CompanionView",
    "Condition",
    "ContainerRuntime",
    "Decision",
    "Dependency",
    "DependencyKind",
    "EndedJob",
    "Event",
    "EventKind",
    "Fault",
    "Gate",
    "GateState",
    "HeldBy",
    "HistoryMark",
    "HistoryPage",
    "IfInfeasible",
    "Intent",
    "IntentAction",
    "IntentState",
    "Job",
    "JobAction",
    "JobChange",
    "JobDetail",
    "JobKind",
    "JobList",
    "JobRecord",
    "JobRequest",
    "JobState",
    "JobView",
    "Json",
    "KnownCurve",
    "LaunchSettings",
    "Launcher",
    "Limit",
    "MeasuredRate",
    "Measuring",
    "ModelError",
    "Node",
    "NodeGroup",
    "Notice",
    "NoticeKind",
    "NoticeState",
    "OtherJob",
    "Outage",
    "Outcome",
    "Overhead",
    "PerGpu",
    "Plan",
    "Policy",
    "ProfileKey",
    "ProfileLevel",
    "Promise",
    "PromiseLimit",
    "PromiseOutcome",
    "PromiseState",
    "QueueJob",
    "QueueLimits",
    "Reason",
    "ReasonCode",
    "Reservation",
    "RiskOrder",
    "Running",
    "Schedule",
    "Settlement",
    "SlurmSettings",
    "Standing",
    "StopSignal",
    "StoredVerdict",
    "Story",
    "ThroughputCurve",
    "Verdict",
    "Weight",
    "active_part",
    "change_kind",
    "changed",
    "check_mail_user",
    "check_name",
    "check_request",
    "check_script",
    "check_steps",
    "check_text",
    "classify_change",
    "doublings_of",
    "footprint",
    "is_address",
    "is_in_time",
    "is_looser",
    "is_power_of_two",
    "lasting",
    "named_queue_ids",
    "newcomer",
    "overhead_field",
    "planner_id",
    "queue_id",
    "same_place",
    "slack_seconds",
    "standing",
    "time_needed",
    "view",
]
