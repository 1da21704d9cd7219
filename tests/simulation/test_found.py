"""What seeds have found, each shortened to the events that it takes.

The names say what went wrong before it was mended: in the daemon, or where the comment says so in
the simulation, which then blamed the daemon for it.
"""

from __future__ import annotations

import pytest

from tests.simulation.faults import ACTS
from tests.simulation.life import play
from tests.simulation.story import Behaviour, Event, Live, Story, Submitted, What

FOUND: dict[str, Story] = {
    # Of the simulation: the daemon died between the queue and the record of a job that nothing was
    # promised to, and nobody had been told of, and then the queue was lost.
    "an unpromised job was lost with its queue before its record": Story(
        events=(
            Event(26.6, What.KILLED_AT_ORDER, number=2),
            Event(48.2, What.KILLED_AT_PROMISE, number=2, amount=1.0),
            Event(59.1, What.KILLED_AT_WRITE, number=11, amount=1.0),
            Event(80.1, What.KILLED_AT_COMMAND, number=13),
            Event(83.8, What.SUBMIT, during=5, job=Submitted(iterations=6800, deadline=340.0)),
            Event(86.3, What.SUBMIT, during=3, job=Submitted(user=2, iterations=14800, members=2)),
            Event(97.4, What.LOSES_QUEUE, amount=43.1522774639176),
        )
    ),
    # What was refused while it was measured was still in Slurm: its GPUs counted as somebody's for
    # as long as that may run, and for ten seconds nobody looked whether they had come free.
    "who was refused kept its GPUs from a promise": Story(
        events=(
            Event(0.1, What.SUBMIT, job=Submitted(iterations=2400, known=False)),
            Event(
                21.1, What.SUBMIT, during=3, job=Submitted(user=2, iterations=4200, deadline=347.3)
            ),
            Event(
                152.6,
                What.SUBMIT,
                during=1,
                job=Submitted(user=2, iterations=800, deadline=99.3, known=False, members=3),
            ),
            Event(
                185.9,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=1400, deadline=99.8, waits=True, known=False),
            ),
        ),
        nodes=1,
        resubmits=True,
        min_job_age=1000000000.0,
    ),
    # slurmctld came back with a job that had been refused and cancelled meanwhile.
    "who was refused came back with an older slurmctld": Story(
        events=(
            Event(89.4, What.DRAIN, number=5),
            Event(183.3, What.SUBMIT, job=Submitted(user=2, iterations=1100, deadline=20.0)),
            Event(202.3, What.SLURM_OLDER, amount=18.0),
        ),
        nodes=2,
    ),
    # Refused for its deadline while it started, with the release still written down as under way.
    "an ended job had something on its way": Story(
        events=(
            Event(
                46.1,
                What.SUBMIT,
                job=Submitted(iterations=2700, deadline=151.8, told=False, begin=114.4),
            ),
        )
    ),
    # All its iterations done, and its curve not known: no plan could be made with it.
    "who says that it is done could not be measured": Story(
        events=(
            Event(
                181.7,
                What.SUBMIT,
                job=Submitted(
                    iterations=2500,
                    deadline=271.3,
                    known=False,
                    behaviour=Behaviour.SAYS_DONE,
                ),
            ),
        ),
        gpus_per_node=1,
    ),
    # Its order could not be written, was tried again at once, and again.
    "the daemon tried without a pause what the disk refused": Story(
        events=(
            Event(58.9, What.ORDERS_FAIL, number=6, amount=118.5),
            Event(59.0, What.SUBMIT, job=Submitted(iterations=1600, known=False, members=2)),
            Event(64.8, What.SUBMIT, job=Submitted(iterations=3600, deadline=279.0)),
            Event(76.8, What.CHANGES_ITERATIONS, number=4, amount=0.5),
        ),
        nodes=2,
        types=2,
    ),
    # The daemon's clock was 1.5 s before Slurm's: what it had submitted just before it died was by
    # its time older than that, and it submitted the job a second time.
    "a job was submitted twice by a daemon with another clock": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=300, begin=200.0)),
            Event(10.0, What.CLOCK, amount=1.5),
            Event(20.0, What.KILLED_AT_ACT, number=sorted(ACTS).index("submit"), amount=1.0),
            Event(20.0, What.SLURM_FORGETS),
        ),
        nodes=1,
        resubmits=True,
    ),
    # Measured on a part of the GPUs that it held, it was promised as if it trained on all of them
    # already; its launch on all of them took what the promise had not counted on.
    "who had been measured was promised without its relaunch": Story(
        events=(
            Event(
                30.4,
                What.SUBMIT,
                during=3,
                job=Submitted(iterations=1600, deadline=93.6, known=False),
            ),
            Event(111.2, What.SUBMIT, job=Submitted(iterations=600, deadline=48.0)),
        )
    ),
    # Measured on the whole cluster, it was to train on half of it, and another job on the rest: the
    # plan in which that made room for it counted a start, which costs less than a restart.
    "who had been measured was moved for the cost of a start": Story(
        events=(
            Event(134.5, What.SUBMIT, job=Submitted(iterations=3200, deadline=197.2, known=False)),
            Event(178.2, What.SUBMIT, job=Submitted(iterations=2500, deadline=314.9)),
        ),
        nodes=2,
        gpus_per_node=2,
    ),
    # An operator held a job that trained. Released, it was to be in time after all, on GPUs where
    # the next one trained by then: an earlier job of the same deadline, it came first.
    "who was released took the GPUs of another promise": Story(
        events=(
            Event(28.4, What.SUBMIT, during=5, job=Submitted(iterations=3400, deadline=188.2)),
            Event(79.5, What.SUBMIT, job=Submitted(iterations=3600, deadline=232.3, members=3)),
            Event(184.8, What.OPERATOR_HOLDS, number=2),
        ),
        gpus_per_node=2,
    ),
    # Requeued by its owner, a job was in time still, and the one after it was not.
    "an owner's requeue cost another one's promise": Story(
        events=(
            Event(0.7, What.RELEASE, number=1, during=2),
            Event(9.5, What.SUBMIT, during=1, job=Submitted(iterations=4600)),
            Event(23.1, What.SUBMIT, during=2, job=Submitted(iterations=3300, deadline=198.4)),
            Event(33.2, What.SUBMIT, job=Submitted(iterations=4100, deadline=289.4, told=False)),
            Event(152.7, What.SUBMIT, job=Submitted(iterations=1100, deadline=152.1)),
            Event(173.2, What.SUBMIT, job=Submitted(iterations=3400, deadline=239.4, told=False)),
            Event(222.9, What.REQUEUE, number=3, during=5),
        ),
        nodes=2,
        gpus_per_node=2,
    ),
    # All that had started so far had found free GPUs. Those of this one had to be left first, which
    # took longer than a tenth of a start.
    "who started when others had left was promised what free GPUs had cost": Story(
        events=(
            Event(
                96.0, What.SUBMIT, during=3, job=Submitted(iterations=4200, known=False, members=3)
            ),
            Event(116.6, What.SUBMIT, during=2, job=Submitted(iterations=1200, deadline=58.5)),
        ),
        gpus_per_node=2,
    ),
    # Nobody could submit the lost job again, and who was to begin after it waited for it for ever.
    "who waited for a lost job was never judged": Story(
        events=(
            Event(5.6, What.SUBMIT, job=Submitted(user=1, iterations=1600, deadline=127.5)),
            Event(17.6, What.SLURM_OLDER, amount=15.2),
            Event(122.1, What.SUBMIT, job=Submitted(user=1, iterations=5100, after=0)),
        ),
        nodes=2,
    ),
    # The simulation's: told to do fewer iterations than it had done, it went back to them.
    "who had done more than was wanted lost its checkpoint": Story(
        events=(
            Event(0.6, What.SUBMIT, job=Submitted(iterations=2900, deadline=84.2)),
            Event(
                75.6,
                What.SUBMIT,
                job=Submitted(user=1, iterations=900, deadline=126.1, known=False, members=3),
            ),
            Event(133.3, What.STRANGER, number=7, amount=25.9),
            Event(137.8, What.CHANGES_ITERATIONS, number=3, amount=0.5),
        ),
        nodes=2,
    ),
    # The simulation's: the number of a job that Slurm had forgotten was given to a stranger's.
    "a stranger's job with the number of one that is lost was taken for it": Story(
        events=(
            Event(192.8, What.SLURM_OLDER, number=2, amount=16.8, during=2),
            Event(197.5, What.SUBMIT, job=Submitted(iterations=3700, deadline=250.9)),
            Event(367.8, What.STRANGER, number=3, amount=164.8),
        ),
        gpus_per_node=2,
    ),
    # What was submitted again was released by its owner before the daemon had heard of it.
    "what its owner had released meanwhile was submitted once more": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=9200, begin=127.8)),
            Event(67.5, What.RELEASE, during=5),
            Event(67.8, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(67.8, What.SLURM_FORGETS),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
    ),
    # What was submitted again had got the number of another owner's job, which Slurm had forgotten.
    "what had another one's number was submitted once more": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=800, begin=200.7)),
            Event(
                121.8, What.SUBMIT, during=3, job=Submitted(user=1, iterations=3000, deadline=227.5)
            ),
            Event(135.6, What.SLURM_OLDER, number=2, amount=23.6, during=5),
            Event(140.7, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(140.7, What.SLURM_FORGETS),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
    ),
    # It had ended more than a minute before, while the daemon could not write.
    "what Slurm refused to cancel of a refused job was left for ever": Story(
        events=(
            Event(
                107.9,
                What.SUBMIT,
                during=2,
                job=Submitted(iterations=5600, deadline=177.7, begin=80.1),
            ),
            Event(116.6, What.SUBMIT, job=Submitted(deadline=137.3)),
            Event(125.0, What.DISK_FULL, amount=108.9),
            Event(159.7, What.ACT_FAULT, amount=2.0),
        ),
        nodes=2,
    ),
    # To four times its size it was two doublings, each of which cost what one was to cost in all.
    "who had not the time for two doublings was late": Story(
        events=(
            Event(5.0, What.SUBMIT, job=Submitted(iterations=16000, deadline=1096.0)),
            Event(117.6, What.SUBMIT, job=Submitted(iterations=2100, deadline=135.0, members=3)),
            Event(
                138.5,
                What.SUBMIT,
                job=Submitted(iterations=12800, deadline=462.8, told=False, live=Live.WILLING),
            ),
            Event(150.1, What.SUBMIT, job=Submitted(iterations=4400, deadline=317.3, waits=True)),
        ),
        gpus_per_node=2,
    ),
    # The simulation's: a training that stood still from then on lost what it had done beyond.
    "who stood still lost its checkpoint": Story(
        events=(
            Event(
                124.6,
                What.SUBMIT,
                job=Submitted(iterations=5200, deadline=191.1, behaviour=Behaviour.SAYS_DONE),
            ),
            Event(309.8, What.DRAIN, number=3),
            Event(323.0, What.MISBEHAVES, amount=5.0),
        ),
        nodes=2,
    ),
    # Slurm did not take the job back, and the daemon died as it had submitted it again. The next
    # one asked for the requeue anew, gave up the submission for that, and submitted a second time.
    "a job was submitted twice since its requeue was asked for again": Story(
        events=(
            Event(
                85.4,
                What.SUBMIT,
                job=Submitted(iterations=5200, behaviour=Behaviour.NEVER_ENDS),
            ),
            Event(343.0, What.KILLED_AT_WRITE, number=9),
            Event(346.7, What.SCRIPT_DIES, number=3),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
    ),
    # Submitted, not written down, and the job before it was purged from Slurm meanwhile: with its
    # end as lost the submission was taken for one that was not to be.
    "a lost job was submitted twice": Story(
        events=(
            Event(
                85.4,
                What.SUBMIT,
                job=Submitted(iterations=5200, behaviour=Behaviour.NEVER_ENDS),
            ),
            Event(343.0, What.KILLED_AT_WRITE, number=9),
            Event(346.7, What.SCRIPT_DIES, number=3),
            Event(347.0, What.RESTART, amount=30.0),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
        min_job_age=1.0,
    ),
    # Slurm was asked about one job, and its answer could not be read: that was taken for "gone".
    "a job of which Slurm spoke in riddles was lost": Story(
        events=(
            Event(53.3, What.SUBMIT, job=Submitted(user=2, iterations=3800)),
            Event(84.9, What.COMMAND_FAULT, number=2, amount=5.0, during=3),
            Event(100.8, What.SUBMIT, during=3, job=Submitted(user=2, iterations=3200, after=0)),
            Event(111.5, What.HOLD, number=2),
        ),
        gpus_per_node=1,
    ),
    # The same, where the daemon may submit it again: it was in Slurm twice.
    "a job of which Slurm spoke in riddles was submitted twice": Story(
        events=(
            Event(20.5, What.COMMAND_FAULT, number=7, amount=5.0),
            Event(51.0, What.SUBMIT, job=Submitted(deadline=98.6, members=3)),
        ),
        resubmits=True,
    ),
    # slurmctld came back with a job that had completed meanwhile, and held: nobody cancelled it.
    "who was complete came back with an older slurmctld, and held": Story(
        events=(
            Event(59.0, What.SUBMIT, during=2, job=Submitted(iterations=4900, deadline=280.2)),
            Event(107.3, What.SUBMIT, job=Submitted(iterations=300, deadline=79.6)),
            Event(151.4, What.SLURM_OLDER, number=2, amount=29.1),
        ),
    ),
    # Refused while Slurm was silent: cancelled when it answered, and not looked at again.
    "nobody saw the end of a job that was refused while Slurm was silent": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=1600, begin=208.3)),
            Event(
                107.6,
                What.SUBMIT,
                during=2,
                job=Submitted(iterations=5400, deadline=359.3, known=False),
            ),
            Event(148.3, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(148.3, What.SLURM_FORGETS),
            Event(166.7, What.SUBMIT, job=Submitted(iterations=1100, deadline=211.3)),
            Event(192.7, What.SLURM_SILENT, number=2, amount=110.7),
        ),
        gpus_per_node=1,
        resubmits=True,
    ),
    # Not the daemon's: a training that says nothing was done, and its Slurm job was purged, while
    # the daemon was down. Nobody can know that it is done.
    "a silent training that was done while nobody looked": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=1500)),
            Event(32.9, What.MISBEHAVES, number=1, amount=2.0),
            Event(56.8, What.RESTART, number=5, amount=105.2),
        ),
        gpus_per_node=1,
        resubmits=True,
        min_job_age=60.0,
    ),
    # slurmctld came back as it was before the job's first run, held as ef-sbatch had submitted it.
    # Its release in the second run told nothing of the first: its owner was taken for the holder.
    "who had been submitted held came back so after two runs": Story(
        events=(
            Event(
                38.5,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=300, deadline=46.3, waits=True),
            ),
            Event(
                67.2,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=4000, deadline=130.9, behaviour=Behaviour.SAYS_DONE),
            ),
            Event(
                69.3,
                What.SUBMIT,
                job=Submitted(iterations=4600, deadline=281.2, waits=True, told=False),
            ),
            Event(91.0, What.SLURM_OLDER, number=5, amount=24.0, during=2),
        )
    ),
    # The simulation's: what only the scheduler's thread does was done in the midst of its tick.
    "a job was held in the midst of the plan that started it": Story(
        events=(
            Event(
                23.3,
                What.SUBMIT,
                job=Submitted(
                    iterations=1500, deadline=94.6, told=False, behaviour=Behaviour.SILENT
                ),
            ),
            Event(47.3, What.HOSTILE, number=627604, amount=3.0, during=5),
            Event(47.4, What.SUBMIT, job=Submitted(user=1, iterations=4800, deadline=188.7)),
            Event(88.4, What.SUBMIT, job=Submitted(iterations=300)),
        ),
        gpus_per_node=2,
    ),
    # The simulation's: its script died when its owner held it, and nobody released it in the end.
    "who was held when its script died was never released": Story(
        events=(
            Event(119.9, What.SUBMIT, job=Submitted(iterations=1300, deadline=143.6)),
            Event(174.8, What.ASKS_HOLD),
            Event(174.8, What.SCRIPT_DIES),
        ),
        nodes=1,
        gpus_per_node=2,
        min_job_age=1000000000.0,
    ),
    # The simulation's: a node that was to be drained in the midst of a tick, and of which a daemon
    # that was down made none, was drained after all that had been taken was given back.
    "what a daemon that was down did not see was never given back": Story(
        events=(
            Event(39.7, What.SUBMIT, job=Submitted(iterations=5600, deadline=9000.0, begin=500.0)),
            Event(365.9, What.RESTART, amount=114.5),
            Event(385.4, What.DRAIN, during=2),
        ),
        nodes=1,
    ),
    # The simulation's: while the records' disk is full nothing is promised, and who asks for no
    # promise runs all the same. The queue was lost then, with the only word of that job.
    "who was promised nothing was wanted of records that could not be written": Story(
        events=(
            Event(1.0, What.ORDERS_FAIL, amount=100.0),
            Event(5.0, What.SUBMIT, job=Submitted(iterations=400)),
            Event(30.0, What.LOSES_QUEUE, amount=10.0),
        )
    ),
    # It was put back twice within five seconds, the second time by less than a start takes, and so
    # counted as one that was only slow to start.
    "who was put back took the GPUs of another promise": Story(
        events=(
            Event(
                0.5,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=5200, deadline=185.1, waits=True, members=3),
            ),
            Event(81.1, What.REQUEUE, during=3),
        ),
        gpus_per_node=2,
    ),
    # The simulation's: seed 726832.
    "who waits for a job that its owner holds is late without any fault": Story(
        events=(
            Event(4.5, What.SUBMIT, job=Submitted(user=1, iterations=3200, deadline=169.8)),
            Event(
                41.4,
                What.SUBMIT,
                job=Submitted(user=1, iterations=2200, deadline=182.2, after=0),
            ),
            Event(43.9, What.HOLD),
            Event(231.6, What.OPERATOR_HOLDS, number=99),
        ),
        nodes=2,
    ),
    # Of the simulation: while the disk was full, Slurm forgot a job that had completed, and whose
    # reports are no reports; submitted again, it is done at once.
    "nobody could know that a job was done whose reports are no reports": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=1500, begin=254.5)),
            Event(4.2, What.SUBMIT, during=1, job=Submitted(iterations=3200, deadline=248.2)),
            Event(
                20.7,
                What.SUBMIT,
                job=Submitted(iterations=5700, deadline=303.7, behaviour=Behaviour.GARBAGE),
            ),
            Event(150.6, What.NODE_DIES, number=3),
            Event(250.1, What.DISK_FULL, number=1, amount=76.8),
        ),
        nodes=2,
        resubmits=True,
        min_job_age=60.0,
    ),
    # Between two plans nobody saw that a training had stopped short of its end: what it was late by
    # was laid to ef-slurm.
    "a training that stood still before its end was late by somebody else's doing": Story(
        events=(
            Event(
                118.2,
                What.SUBMIT,
                job=Submitted(iterations=2600, deadline=136.4, behaviour=Behaviour.NEVER_ENDS),
            ),
            Event(368.1, What.DRAIN, number=4),
        )
    ),
    # The daemon died as it submitted a lost job again, and its queue was lost with that intent.
    "a lost job was submitted twice, once by a daemon whose queue was lost then": Story(
        events=(
            Event(73.7, What.SUBMIT, job=Submitted(iterations=5000, deadline=184.9)),
            Event(98.1, What.ASKS_HOLD, number=2),
            Event(149.7, What.SUBMIT, job=Submitted(iterations=2200, deadline=144.6)),
            Event(170.2, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(170.2, What.SLURM_FORGETS),
            Event(172.7, What.LOSES_QUEUE, amount=45.6),
        ),
        gpus_per_node=2,
        resubmits=True,
    ),
    # Its owner held a job while a clock that was ahead took its promise for broken: that came back
    # with the clock, and there was no room for the next one.
    "who was held under a wrong clock could not be promised anything again": Story(
        events=(
            Event(31.5, What.SUBMIT, job=Submitted(iterations=5500, deadline=705.5)),
            Event(47.9, What.SUBMIT, job=Submitted(iterations=4700, deadline=532.9)),
            Event(128.1, What.SUBMIT, job=Submitted(iterations=600, deadline=144.8)),
            Event(332.1, What.CLOCK, number=7, amount=3600.0),
            Event(383.2, What.HOLD, number=1),
        ),
        nodes=2,
        gpus_per_node=2,
    ),
    # What was in time for the deadline that its owner had given it since was taken for in time for
    # the one before, too.
    "a promise was broken, and kept once its job had a later deadline": Story(
        events=(
            Event(177.9, What.SUBMIT, job=Submitted(iterations=4100, deadline=110.9)),
            Event(208.4, What.OPERATOR_HOLDS, number=1),
            Event(350.6, What.CHANGES_DEADLINE, number=1, amount=393.3),
        ),
        gpus_per_node=2,
    ),
    # What a job that is refused once it was measured holds was given to the next, and counted as
    # its own until it was gone: who was on the same node had to go, and was late for it.
    "who was refused once it was measured cost another its GPUs": Story(
        events=(
            Event(63.3, What.SUBMIT, during=2, job=Submitted(iterations=2100, deadline=148.7)),
            Event(
                152.9,
                What.SUBMIT,
                during=5,
                job=Submitted(iterations=5700, deadline=282.2, known=False),
            ),
            Event(
                155.5,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=5200, deadline=386.4, grace=60.0),
            ),
            Event(193.7, What.SUBMIT, job=Submitted(iterations=4700, deadline=316.0, members=2)),
            Event(197.4, What.SUBMIT, job=Submitted(iterations=2300, deadline=329.9)),
        ),
        nodes=2,
        gpus_per_node=2,
        types=2,
    ),
    # The same where Slurm was asked once more before it had been told to end the refused one.
    "who was refused counted as there for as long as it may run": Story(
        events=(
            Event(63.3, What.SUBMIT, during=2, job=Submitted(iterations=2100, deadline=148.7)),
            Event(
                152.9,
                What.SUBMIT,
                during=5,
                job=Submitted(user=1, iterations=5700, deadline=282.2, waits=True, known=False),
            ),
            Event(
                155.5,
                What.SUBMIT,
                during=1,
                job=Submitted(user=1, iterations=5200, deadline=386.4, grace=60.0, told=False),
            ),
            Event(
                193.7,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=4700, deadline=316.0, members=2),
            ),
            Event(197.4, What.SUBMIT, job=Submitted(iterations=2300, deadline=329.9)),
        ),
        nodes=2,
        gpus_per_node=2,
        types=2,
        resubmits=True,
    ),
    # Slurm had put a job back and said that it had not: our hold was taken for an operator's.
    "a requeue that was done and refused left a job held for ever": Story(
        events=(
            Event(64.8, What.ACT_FAULT, number=3, amount=4.0),
            Event(
                78.3,
                What.SUBMIT,
                during=5,
                job=Submitted(iterations=400, deadline=116.2, told=False),
            ),
            Event(87.6, What.ORDERS_FAIL, number=2, amount=93.2),
        ),
        gpus_per_node=1,
    ),
    # A tick that ended since Slurm fell silent kept no record of what it had decided before.
    "nothing was recorded of a job that was judged before Slurm fell silent": Story(
        events=(
            Event(92.5, What.COMMAND_FAULT, number=8, during=3),
            Event(151.0, What.SUBMIT, during=5, job=Submitted(iterations=5500)),
            Event(195.0, What.LOSES_QUEUE, amount=4.8),
        ),
        gpus_per_node=2,
    ),
    # A job was given up by its owner while Slurm was told to hold it.
    "who was given up in the midst of a command was told of an exception": Story(
        events=(
            Event(0.0, What.STRANGER, number=3, amount=46.1),
            Event(8.35, What.COMPANION, number=3, amount=3.0),
            Event(39.5, What.SUBMIT, during=1, job=Submitted(iterations=4000, deadline=220.4)),
            Event(61.3, What.WITHDRAWS, during=3),
        )
    ),
    # Of the simulation: trainings ended only when a command that hung was over.
    "who ended while a command hung ended late": Story(
        events=(
            Event(
                31.9,
                What.SUBMIT,
                during=2,
                job=Submitted(iterations=2500, deadline=226.2, members=2),
            ),
            Event(34.8, What.SUBMIT, during=2, job=Submitted(iterations=4500, deadline=152.7)),
            Event(66.0, What.SUBMIT, job=Submitted(iterations=3600, deadline=221.1)),
            Event(135.8, What.SUBMIT, job=Submitted(iterations=3500, deadline=230.8, known=False)),
            Event(188.2, What.ACT_FAULT, number=2, amount=1.0),
        ),
        nodes=2,
        types=2,
    ),
    # Nobody was told that jobs wait for nodes which run what Slurm has forgotten.
    "who waited for nodes with a forgotten run was late by its own doing": Story(
        events=(
            Event(62.7, What.SUBMIT, job=Submitted(iterations=800, deadline=53.1, members=3)),
            Event(64.2, What.SLURM_OLDER, number=3, amount=29.1),
        ),
        nodes=2,
        resubmits=True,
    ),
    # No plan had seen yet how slow it was since it went on.
    "who trained slowly up to its deadline was late by somebody else's doing": Story(
        events=(
            Event(4.2, What.SUBMIT, job=Submitted(iterations=1800, deadline=188.1)),
            Event(
                43.4,
                What.SUBMIT,
                job=Submitted(iterations=2900, deadline=145.0, grace=60.0, begin=84.5),
            ),
            Event(81.3, What.SUBMIT, job=Submitted(iterations=4800)),
            Event(139.0, What.SUBMIT, job=Submitted(iterations=700, deadline=69.7)),
            Event(152.9, What.MISBEHAVES, number=1, amount=1.0, during=5),
            Event(323.2, What.NODE_RETURNS, number=5),
        ),
        nodes=2,
    ),
    # Slurm had forgotten that it was done, and in time, in the tick in which its deadline was over.
    "who was put back as its deadline passed was late by its own doing": Story(
        events=(
            Event(22.7, What.SUBMIT, during=2, job=Submitted(iterations=4700, known=False)),
            Event(61.1, What.SUBMIT, job=Submitted(iterations=1500, deadline=159.5, grace=60.0)),
            Event(65.7, What.SUBMIT, during=3, job=Submitted(iterations=4000, deadline=523.4)),
            Event(190.9, What.SUBMIT, job=Submitted(iterations=2100, deadline=290.7)),
            Event(282.4, What.SLURM_OLDER, number=1, amount=9.9),
        ),
        nodes=1,
    ),
    # Its owner had a job started anew, and nobody planned with its later end: others, who were to
    # follow it, were late.
    "who was started anew cost others their promises": Story(
        events=(
            Event(22.4, What.SUBMIT, job=Submitted(iterations=4200, deadline=207.1, known=False)),
            Event(
                93.1,
                What.SUBMIT,
                during=1,
                job=Submitted(iterations=4200, deadline=148.6, grace=60.0, members=3),
            ),
            Event(
                117.2,
                What.SUBMIT,
                during=2,
                job=Submitted(iterations=1600, deadline=138.4, grace=60.0),
            ),
            Event(
                144.4,
                What.JUDGE,
                number=243688,
                amount=2.0,
                job=Submitted(iterations=800, deadline=84.5),
            ),
            Event(147.9, What.SUBMIT, during=5, job=Submitted(iterations=1900, deadline=165.2)),
            Event(156.0, What.SUBMIT, job=Submitted(iterations=3100)),
            Event(182.9, What.ASKS_REQUEUE, number=1),
        ),
        nodes=2,
    ),
    # An answer that could not be read, and nobody asked again for the lost job.
    "a lost job was forgotten after an answer that could not be read": Story(
        events=(
            Event(139.7, What.SUBMIT, job=Submitted(iterations=4300, deadline=399.1)),
            Event(
                142.1,
                What.SUBMIT,
                during=5,
                job=Submitted(iterations=3300, deadline=297.2, known=False),
            ),
            Event(146.0, What.SUBMIT, job=Submitted(iterations=4200, deadline=459.7)),
            Event(154.3, What.SUBMIT, job=Submitted(iterations=3900, deadline=253.4)),
            Event(177.5, What.SUBMIT, job=Submitted(iterations=5700)),
            Event(184.2, What.SLURM_FORGETS, number=6, during=5),
            Event(193.8, What.WITHDRAWS, number=3),
            Event(200.2, What.COMMAND_FAULT, number=9, amount=5.0, during=1),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
    ),
    # What had ended when the queue was rebuilt was left to the daemon, which had no room to write
    # it down until Slurm had forgotten it.
    "who had ended when the queue was rebuilt was lost": Story(
        events=(
            Event(58.3, What.SUBMIT, during=2, job=Submitted(iterations=2300, max_time=120.0)),
            Event(78.4, What.SUBMIT, job=Submitted(iterations=2700, deadline=263.0)),
            Event(187.4, What.LOSES_QUEUE, amount=56.1),
            Event(214.4, What.DISK_FULL, number=2, amount=111.0),
        ),
        nodes=1,
        min_job_age=60.0,
    ),
    # Of the simulation: a job came to its time limit while the daemon was away, and was forgotten.
    "nobody heard how a job with a time limit had ended": Story(
        events=(
            Event(77.2, What.SUBMIT, during=5, job=Submitted(iterations=2900, max_time=120.0)),
            Event(108.1, What.SUBMIT, job=Submitted(iterations=3700, deadline=288.2, begin=45.9)),
            Event(124.4, What.SUBMIT, job=Submitted(iterations=1500)),
            Event(263.5, What.RESTART, number=3, amount=116.0),
        ),
        nodes=1,
        min_job_age=60.0,
    ),
    # The id under which a lost job was submitted again had been a stranger's, who was seen last.
    "who was submitted again was taken for whoever had its id before": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=1600, begin=160.5)),
            Event(29.3, What.SUBMIT, during=2, job=Submitted(iterations=1200, deadline=148.6)),
            Event(79.8, What.STRANGER, number=3, amount=68.2, during=3),
            Event(97.4, What.KILLED_AT_COMMAND, number=7, amount=1.0),
            Event(100.5, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(100.5, What.SLURM_FORGETS),
            Event(104.9, What.SUBMIT, job=Submitted(iterations=5100, deadline=620.4)),
            Event(108.8, What.SLURM_OLDER, number=1, amount=26.3, during=2),
        ),
        nodes=2,
        gpus_per_node=2,
        resubmits=True,
    ),
    # Of the simulation: its owner did not cancel what may be left of a submission, as told, and
    # another job waited for its end.
    "what may be left of a submission was waited for": Story(
        events=(
            Event(0.0, What.SUBMIT, job=Submitted(iterations=1700, begin=101.2)),
            Event(41.2, What.KILLED_AT_ACT, number=6, amount=1.0),
            Event(41.2, What.SLURM_FORGETS),
            Event(55.3, What.LOSES_QUEUE, amount=6.4),
            Event(67.5, What.SUBMIT, job=Submitted(iterations=1500, after=0)),
        ),
        resubmits=True,
        min_job_age=60.0,
    ),
    # A job that was leaving its GPUs when its record was written, and waits when the queue is made
    # anew, was put back with them. Another has them by then.
    "who waits in Slurm was put back with the GPUs of its record": Story(
        events=(
            Event(2.4, What.SUBMIT, job=Submitted(iterations=5300)),
            Event(
                35.2,
                What.SUBMIT,
                job=Submitted(iterations=3300, told=False, behaviour=Behaviour.SILENT),
            ),
            Event(38.5, What.KILLED_AT_PROMISE, number=1),
            Event(
                55.4,
                What.SUBMIT,
                during=3,
                job=Submitted(
                    iterations=2900, deadline=213.3, told=False, behaviour=Behaviour.GARBAGE
                ),
            ),
            Event(108.1, What.SLURM_HOLDS, number=3),
            Event(166.6, What.SCRIPT_DIES, number=1),
            Event(
                172.8,
                What.SUBMIT,
                during=5,
                job=Submitted(iterations=3700, deadline=310.7, known=False),
            ),
            Event(183.6, What.SUBMIT, job=Submitted(iterations=3600)),
            Event(210.5, What.LOSES_QUEUE, amount=29.600763672889613),
            Event(238.5, What.DISK_FULL, number=2, amount=7.2),
        ),
        gpus_per_node=1,
    ),
    # It trained on one GPU of the four that it was given, for as long as Slurm did not answer.
    "who was to grow while Slurm was silent was late by its own doing": Story(
        events=(
            Event(
                3.1,
                What.SUBMIT,
                during=5,
                job=Submitted(iterations=5200, deadline=369.8, after=0, members=2),
            ),
            Event(
                14.7,
                What.SUBMIT,
                during=3,
                job=Submitted(iterations=3000, deadline=138.3, grace=60.0, known=False),
            ),
            Event(88.2, What.SUBMIT, during=3, job=Submitted(iterations=5900, deadline=287.6)),
            Event(
                161.4, What.SUBMIT, during=1, job=Submitted(user=1, iterations=300, deadline=98.7)
            ),
            Event(169.3, What.COMMAND_FAULT, number=9),
        ),
        nodes=2,
    ),
    # Of the simulation: what a live training was launched on was all of its GPUs, whatever part of
    # them it had been told to begin on.
    "who refuses to change its size is measured on a part of its GPUs": Story(
        events=(
            Event(
                185.3,
                What.SUBMIT,
                job=Submitted(iterations=22400, deadline=1574.0, known=False, live=Live.REFUSES),
            ),
        ),
        nodes=2,
    ),
    # Of the simulation: a lost job had ended, and was submitted again after that.
    "a lost job is submitted again half a minute later": Story(
        events=(
            Event(131.4, What.SUBMIT, job=Submitted(iterations=5900)),
            Event(240.5, What.COMMAND_FAULT, number=5, during=3),
            Event(277.3, What.OWNER_UPDATES, number=4, amount=60.0, during=5),
        ),
        gpus_per_node=1,
        resubmits=True,
        min_job_age=60.0,
    ),
    # The clock was set an hour forward just after: what was refused had ended too long ago.
    "the Slurm job of a refused one was left for good": Story(
        events=(
            Event(
                198.6,
                What.SUBMIT,
                job=Submitted(iterations=5100, deadline=475.4, max_time=120.0),
            ),
            Event(205.5, What.CLOCK, number=3, amount=3600.0),
            Event(219.1, What.STRANGER, number=6, amount=36.7),
        ),
        nodes=2,
        gpus_per_node=2,
    ),
    # Its owner wanted no deadline any more while an operator held it.
    "a promise was open for ever": Story(
        events=(
            Event(112.8, What.SUBMIT, job=Submitted(iterations=22800, deadline=2251.6)),
            Event(151.1, What.OPERATOR_HOLDS),
            Event(380.5, What.HOSTILE, number=702323, amount=3.0),
        ),
        nodes=1,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_does_not_come_back(name: str) -> None:
    play(FOUND[name])
