"""The paper, pure: who is promised what, how many GPUs everybody gets, and where.

In come jobs, a cluster and a policy at one moment, out comes a `Plan`. Begin with `plan`, the one
entry point; `share` and `admission` are the paper's section 4.1, `allocation` and `best_effort`
4.2, `placement` 4.3; `risk` keeps promises when capacity is lost, `explain` gives the reasons,
`what_if` judges a job that nobody has submitted. All of it stands on `timeline`.
"""
