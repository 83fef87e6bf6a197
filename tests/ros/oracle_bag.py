# SPDX-License-Identifier: Apache-2.0
"""`dpm bag` in processes that are killed, its frames overlapped, its network being one that knows the world.

python oracle_bag.py '["FUNCTION:NTH", SECONDS, ...]' ARGUMENTS ... runs the command once for each moment and kills it
there, at the n-th call of a function or after so many seconds, then once more to the end, whose exit code is given.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "stream"), str(Path(__file__).resolve().parents[2])]

from dpm_ros.bag import main  # noqa: E402
from oracle import OracleEngine  # noqa: E402

from dpm_core.stream import pipeline  # noqa: E402
from dpm_core.stream.lanes import ALL_BESIDE  # noqa: E402


class SteadyOracle(OracleEngine):
    """Its unit hangs on the frames it sees, not on how many windows this process has had."""

    def unit(self, window):
        return super().unit(self.windows[window][-1])


def engine(model, weights, device, backend):
    return SteadyOracle()


def die_at(moment):
    """Arrange this process's end."""
    if isinstance(moment, (int, float)):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process at once, with nothing cleaned up
        signal.setitimer(signal.ITIMER_REAL, moment)
        return
    place, left = moment.rsplit(":", 1)
    module, kind, name = place.split(":")
    owner = getattr(importlib.import_module(module), kind)
    before, calls = getattr(owner, name), []

    def killing(*arguments, **named):
        calls.append(name)
        if len(calls) == int(left):
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **named)

    setattr(owner, name, killing)


def run(moment, arguments):
    """The exit status of a process of its own. Nothing of torch has run before, so that it may be forked."""
    child = os.fork()
    if child == 0:
        if moment is not None:
            die_at(moment)
        os._exit(main(arguments, engine))
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    pipeline.most_frames = lambda device: ALL_BESIDE
    moments, arguments = json.loads(sys.argv[1]), sys.argv[2:]
    for moment in moments:
        print(moment, run(moment, arguments), flush=True)
    sys.exit(os.waitstatus_to_exitcode(run(None, arguments)))
