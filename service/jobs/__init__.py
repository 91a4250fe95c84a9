"""Durable fine-tune jobs: their store, their supervisor, and the processes that work on them. No grpc.

types.py       Job, JobState, Event: what there is to say of a job; states.py has the legal moves
supervisor.py  `Jobs`: what users ask for, and the loop that has jobs worked on
work.py        one job from its claim to its next state; attempt.py one worker, endings.py what its end means
launcher.py    where workers come from: child processes, through start.py
pressure.py    when a worker rests so that served models need not wait
store.py       jobs in the database as users know them; leases.py as servers do; history.py their events and checkpoints
features.py    a frozen backbone's features through the serving path
hooks.py       what jobs need of the rest of the server
"""
