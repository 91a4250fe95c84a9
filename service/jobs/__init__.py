"""Durable fine-tune jobs: their store, their supervisor, and the processes that work on them. No grpc.

    job_service      the verbs of users              supervisor     the loop: claims, takes over, hands back
      └─ persistence job_store, leases, event_store    └─ runner    one job, from its lease to its next state
                                                           └─ worker_session   one worker: messages, limits, preemption
                                                                └─ workers.launcher   child processes, through bootstrap

types.py               Job, JobState, Event; job_states.py has the legal moves
desired_state.py       what a job is to do next on this server: run, drain, pause, cancel
worker_outcome.py      the next state of a job, from the end of its worker
preemption.py          when a worker is suspended for served models
feature_extraction.py  features of a frozen base through the serving path
base_catalog.py        cards and weights of the bases; change_notifier.py wakes watchers; identity.py names this server
job_limits.py          limits, quotas and timeouts; job_folder.py is the folder of a job on disk
"""
