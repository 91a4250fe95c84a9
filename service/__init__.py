"""Zoo: a model server with a pretrained zoo. docs/architecture.md has threads, seams and "to change X, open Y".

The path of a request:

    wire/            a message becomes an InferRequest; replies and errors become messages
      └─ inference/      resolve → admit → preprocess → submit → postprocess, in one file
          ├─ registry/       finds the loaded version that answers
          ├─ tasks/          raw input → rows; rows → answer (CPU pool)
          └─ engine/         the loaded model: admission, queue, execution of its batches
              ├─ scheduler/      rows → batches, earliest effective deadline first
              └─ runtime/        batch → outputs, in a lane of the device

The path from a user's data to the next version:

    wire/            a dataset is uploaded, a job is created
      ├─ datasets/       bytes → validated examples, in a process of their own
      └─ jobs/           durable: a queue, a supervisor, a worker process for each running job
          └─ training/       in the worker: features, training, evaluation → a version folder
              └─ registry/       loads the version, and moves `stable` to it if it is better

Around both: `references/` pulls networks by their makers' names; `verification/` checks networks and heads before they serve;
`tiering/` compiles networks in the background and swaps them in; `access/` decides who may connect; `database/` stores jobs and
aliases; `client/`, `cli/` and `doctor/` are the SDK, the `zoo` command and `zoo doctor`.

Imports point one way, `server, cli → wire → inference → jobs → tiering → registry → references → verification → engine →
training → tasks → scheduler → runtime → datasets → access → database → model_zoo`; `errors`, `types`, `settings`, `addresses`,
`observability`, `processes`, `disk`, `rounding` and `folder_walk` are leaves. `server.py` constructs the parts, with
`grpc_port.py`, `startup.py`, `access_control.py` and `fine_tuning.py`. grpc and protobuf are imported in `wire/`, `client/`,
`grpc_port.py`, `server.py` and `startup.py`; torch in `training/`, `references/`, `tasks/`, `runtime/`, `tiering/`,
`verification/` and `model_zoo/`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("zoo-serving")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
