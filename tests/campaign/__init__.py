"""A thousand faults on a real Slurm, while jobs with promises run.

A mini-Slurm in containers, a daemon that is started again when it dies, and a stream of short jobs.
A seed says which faults come in which order (`kinds`); several are in force at once, and each is
healed within seconds (`injector`). All the time it is looked at from outside what has become of
the jobs (`observer`): what Slurm says, what the queue holds, and what the trainings wrote down of
themselves on a disk that no fault reaches (`trainer`; every third has ranks and changes its size
while it runs, `elastic`; `growths` counts these changes). At the end each broken promise is laid to
the fault that took most of its time (`ledger`).

    docker/minislurm up --name chaos --variant small-disks
    python -m tests.campaign --cluster chaos --faults 1000 --seed 1 --log faults.log
"""
