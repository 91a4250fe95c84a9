"""A worker that trains nothing: a real process that speaks the worker protocol, with the pace and the faults of a script.

python worker.py FOLDER        FOLDER/spec.json is the order; `hyperparameters` of its spec are the script:

steps           how many there are (5); a checkpoint is written after each
wait            name of a file in HOME that must be there before the last step
die_at          step before which the worker ends itself with SIGKILL; `die_times`: only in so many attempts (1)
die_after_each  ends itself after each checkpoint
exit            writes nothing and ends with this code
fail            ends with this reason
hang            before the first step: writes nothing more and reads nothing
deaf            reads nothing
chatter         writes this many metrics, logs and lines that are no messages
resident_mib    in its heartbeats
half            leaves a result that is no version
wait_features   waits for `features` before the first step
"""

import hashlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
ORDER = json.loads((FOLDER / "spec.json").read_text())
HOME, SPEC = Path(ORDER["home"]), ORDER["spec"]
SCRIPT = SPEC["hyperparameters"]
WORDS: "queue.Queue[str]" = queue.Queue()


def write(kind: str, **parts: object) -> None:
    print(json.dumps({"kind": kind, **parts}), flush=True)


def listen() -> None:
    for line in sys.stdin:
        WORDS.put(line.strip())
    WORDS.put("pause")


def stop_if_asked() -> None:
    while not WORDS.empty():
        if WORDS.get() in ("pause", "cancel"):
            write("stopped")
            os._exit(0)


def beat() -> None:
    while True:
        write("heartbeat", resident_mib=SCRIPT.get("resident_mib", 10.0))
        time.sleep(0.05)


def attempts() -> int:
    path = FOLDER / "checkpoints" / "attempts"
    path.parent.mkdir(exist_ok=True)
    number = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(number))
    return number


def result() -> None:
    """A version folder: a copy of HOME/template with a name and a lineage."""
    partial = FOLDER / ".result"
    shutil.copytree(HOME / "template", partial, dirs_exist_ok=True)
    card = json.loads((partial / "card.json").read_text()) | {"name": SPEC["model"]}
    (partial / "card.json").write_text(json.dumps(card))
    (partial / "lineage.json").write_text(json.dumps({"job_id": ORDER["job_id"], "rival": ORDER["rival"]}))
    files = {}
    for path in sorted(partial.iterdir()):
        data, role = path.read_bytes(), "weights" if path.name == "model.safetensors" else path.stem
        files[role] = {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (partial / "manifest.json").write_text(json.dumps({"files": files}))
    partial.rename(FOLDER / "result")


def main() -> None:
    (FOLDER / "worker.pid").write_text(str(os.getpid()))
    attempt = attempts()
    if "exit" in SCRIPT:
        os._exit(SCRIPT["exit"])
    if "hang" in SCRIPT:
        time.sleep(3600)
    if "deaf" not in SCRIPT:
        threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=beat, daemon=True).start()
    if "wait_features" in SCRIPT:
        while WORDS.get() != "features":
            pass
    if "fail" in SCRIPT:
        write("failed", reason=SCRIPT["fail"])
        os._exit(0)
    for number in range(SCRIPT.get("chatter", 0)):
        write("metric", name="loss", split="train", value=1 / (number + 1), step=number)
        write("log", level="info", text="word " * 1000)
        print("Traceback: not a message" if number % 2 else '{"kind": "sing"}', flush=True)
        if number == 0:
            print("x" * 3_000_000, flush=True)
    steps = SCRIPT.get("steps", 5)
    done = max((int(p.name) for p in (FOLDER / "checkpoints").iterdir() if p.name.isdigit()), default=0)
    write("log", level="info", text=f"begins after step {done}")
    for step in range(done + 1, steps + 1):
        if step == SCRIPT.get("die_at") and attempt <= SCRIPT.get("die_times", 1):
            os.kill(os.getpid(), signal.SIGKILL)
        while step == steps and "wait" in SCRIPT and not (HOME / SCRIPT["wait"]).exists():
            stop_if_asked()
            time.sleep(0.01)
        stop_if_asked()
        write("metric", name="loss", split="train", value=1 / step, step=step, epoch=1)
        write("metric", name="accuracy", split="validation", value=step / steps, step=step, epoch=1)
        (FOLDER / "checkpoints" / str(step)).mkdir(exist_ok=True)
        for name, content in (("model.safetensors", "weights"), ("state.json", "{}")):
            (FOLDER / "checkpoints" / str(step) / name).write_text(content)
        write("checkpoint", step=step, epoch=1, metrics={"validation/accuracy": step / steps}, best=True, size_bytes=10)
        if "die_after_each" in SCRIPT:
            os.kill(os.getpid(), signal.SIGKILL)
        write("progress", phase="training", ratio=0.9 * step / steps, step=step, steps=steps, epoch=1)
    if "half" in SCRIPT:
        (FOLDER / "result").mkdir()
    else:
        result()
    write("finished", metrics={"test/accuracy": 0.9})


main()
