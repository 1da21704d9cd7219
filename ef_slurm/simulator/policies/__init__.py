"""Scheduling policies of the simulator's loop, one small file each.

In come the unfinished jobs at one moment, out comes everybody's share. Begin with `base`, what a
policy is to the loop; `registry` finds one by its name, `fixed` is what those with fixed sizes have
in common.

How the baselines compare with the published ones (deadlines met / all jobs, `--overhead paper`,
edf with `zero`; published figures in brackets):

    trace            edf          gandiva      tiresias     themis       chronus
    195job           .097 (.087)  .421 (.210)  .492 (.456)  .467 (.390)  .487 (.410)
    fig8a_64gpus_T4  .118 (.118)  .185 (.090)  .287 (.287)  .318 (.312)  .426 (.262)
    cluster01        .187 (.182)  .499 (.246)  .499 (.478)  .499 (.464)  .476 (.474)
    cluster03        .103 (.095)  .423 (.314)  .453 (.401)  .436 (.389)  .462 (.426)
    cluster05        .414 (.375)  .501 (.228)  .501 (.420)  .501 (.430)  .462 (.453)
    cluster06        .110 (.105)  .497 (.381)  .497 (.466)  .497 (.425)  .450 (.432)
    cluster10        .777 (.769)  .477 (.354)  .477 (.473)  .477 (.431)  .473 (.454)

Half of the deadlines are tighter than the run time at the requested size, so .5 is about the most
that a policy with fixed sizes can reach, and ours come close to it wherever the cluster is not
full. Most of the difference is time: here a job starts at the event that frees its GPUs and pays
only for its own changes; the artifact acts in rounds (an arrival waits for the next one) and
charges every running job in every round. Delaying every start by 80 s takes plain FIFO from .503 to
.470 on cluster06. Gandiva's artifact keeps slicing jobs of one class on their node sets while other
nodes are idle; ours opens a new set as soon as there are free nodes. Chronus' artifact places
leases with node locality, which ours leaves out.
"""
