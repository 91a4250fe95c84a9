"""Zoo: a model server with a pretrained zoo. The map of the corridor that every request walks:

    wire/            a message comes in and becomes an InferRequest; errors and replies become messages again
      └─ inference   resolve → admit → preprocess → submit → postprocess, in one screen
          ├─ registry     which version answers, and may it
          ├─ tasks        raw input → rows; rows → answer (CPU pool)
          └─ scheduler    rows → batches, earliest deadline first
              └─ runtime  batch → outputs, in a device lane

and of the way from a user's data to the next version:

    wire/            a dataset is uploaded, a job is created
      ├─ datasets    bytes → examples that have been looked at, in a process of their own
      └─ jobs        durable: a queue, a supervisor, a worker process for each running job
          └─ training  in the worker: features, training, evaluation → a version folder
              └─ registry  loads the version, and moves `stable` if it is better

Imports point one way, `server, cli → wire → inference → jobs → registry → training → tasks → scheduler → runtime → datasets
→ database → model_zoo`; `errors`, `types`, `settings`, `folder_walk` and `observability` are leaves. `server.py` alone wires
objects together, with its parts `startup.py` and `fine_tuning.py`. grpc and protobuf live in `wire/`, `client` and `server.py`;
torch in `training/`, `tasks/`, `runtime/` and `model_zoo/`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("zoo-serving")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
