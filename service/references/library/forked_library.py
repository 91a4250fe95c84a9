"""The process of the makers' library, forked from that of a pull: both need torch and transformers, whose import takes longer
than the comparison of a small network.

The fork is made while its parent has one thread, no credentials and no file of a stranger: see `pull_worker`. Later the child
gets a bound of its memory and one request, and answers as `library_answers.py` does.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from model_zoo import strict_json
from service.observability.standard_streams import protect
from service.processes import called_after, end_with_parent, environment_of_offline_child
from service.references.library_answers import OFFLINE, reply_to
from service.references.library_process import TIMEOUT_S, answers_of
from service.references.library_request import LibraryRequest


class ForkedLibrary:
    """A child that waits for its request. It ends with this process, or by `end`."""

    def __init__(self, pid: int, requests: int, replies: int) -> None:
        """Use `fork`."""
        self._pid = pid
        self._requests, self._replies = os.fdopen(requests, "wb", buffering=0), os.fdopen(replies, "rb")

    @classmethod
    def fork(cls) -> ForkedLibrary:
        """A copy of this process, which must have a single thread."""
        theirs, requests = os.pipe()
        replies, ours = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(requests)
            os.close(replies)
            _serve(theirs, ours)
        os.close(theirs)
        os.close(ours)
        return cls(pid, requests, replies)

    def answers(self, reference: str, request: LibraryRequest) -> list[object]:
        """As `library_process.library_answers`. The child has as much memory as this process, and ends afterwards."""
        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        try:
            with called_after(self._kill, TIMEOUT_S):
                self._requests.write(f"{limit}\n{strict_json.text(request)}\n".encode())
                line = self._replies.readline()
        except OSError:
            line = b""
        finally:
            self.end()
        return answers_of(reference, strict_json.parsed_object(line) if line else None)

    def end(self) -> None:
        """Ends the child and reaps it. Does nothing the second time."""
        if not self._requests.closed:
            self._kill()
            self._requests.close()
            self._replies.close()
            os.waitpid(self._pid, 0)

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it leads no group yet
            os.kill(self._pid, signal.SIGKILL)


def _serve(requests: int, replies: int) -> NoReturn:
    """The child: waits, answers once, and ends."""
    try:
        os.setsid()
        os.dup2(requests, 0)
        os.close(requests)
        os.dup2(2, 1)  # the output of libraries goes to the log
        environment = environment_of_offline_child(**OFFLINE)
        os.environ.clear()
        os.environ.update(environment)
        _forbid_the_hub()
        with os.fdopen(os.dup(0), "rb", buffering=0) as lines:
            limit, line = int(lines.readline() or b"0"), lines.readline()
        if line:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            end_with_parent()
            protect()
            reply = reply_to(strict_json.read_model(LibraryRequest, line))
            with os.fdopen(replies, "w", encoding="ascii") as file:
                file.write(reply + "\n")
    finally:
        sys.stderr.flush()
        os._exit(0)


def _forbid_the_hub() -> None:
    """The library read its environment when it was imported, which its parent still needs to be online."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
