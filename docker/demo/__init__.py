"""The demo: six jobs with deadlines on a mini-Slurm, their story and its picture.

`docker/minislurm demo` brings the cluster up and runs this package on the host; `scenario` is what
user1 then types on the login node. Begin with `jobs`, the cast.
"""
