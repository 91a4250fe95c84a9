"""A recorded corpus of requests: what the server answers, counts, logs and stores, as data that two checkouts can be compared by.

The corpus (`corpus/`) calls every method of every service with good, bad and streamed requests, uploads datasets, runs and moves
fine-tune jobs, moves aliases, and runs the `zoo` command. It reaches the server through its ports, its command and its files
only, so that it survives any move inside `service/`.

    python -m tests.recorded.record --out FILE [--tree DIR]       plays it against the server of a checkout
    python -m tests.recorded.compare A B                          what differs, request by request
    python -m tests.recorded.compare A B --update-wording         takes over the sentences of B, and nothing else
    python -m tests.recorded.old_home --make DIR --tree OLD       a home as another commit writes it
    python -m tests.recorded.old_home --check DIR --tree NEW      opens a copy of it, serves it, and finishes its jobs

`reference.jsonl` is the recording that `test_recorded_replies.py` compares with. A change of behaviour that is wanted is recorded
anew, and shows in the review as a difference of that file. Weights come from ZOO_TEST_HOME.
"""
