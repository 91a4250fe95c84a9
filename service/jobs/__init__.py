"""Durable fine-tune jobs: their store, their supervisor, and the processes that work on them. No grpc.

types.py       Job, JobState, Event: what there is to say of a job; job_states.py has the legal moves
supervisor.py  `Jobs`: what users ask for, and the loop that has jobs worked on
runner.py        one job from its claim to its next state; worker_session.py one worker, worker_outcome.py what its end means
launcher.py    where workers come from: child processes, through bootstrap.py
preemption.py    when a worker rests so that served models need not wait
job_store.py       jobs in the database as users know them; leases.py as servers do; event_store.py their events and checkpoints
feature_extraction.py    a frozen backbone's features through the serving path
hooks.py       what jobs need of the rest of the server
"""
