"""Serves datums one after the other from one process (docs/warm-mode.md). Python 3, no packages.

    import tusk_warm

    model = load_model()                     # once, however many datums follow

    @tusk_warm.serve
    def handle(datum):
        with open(datum.env["in"]) as f:     # the variables a process per datum would have
            ...
"""
import json
import os
import sys
import traceback


class Datum:
    """One datum: its id, its variables, and its inputs as (name, path) pairs."""

    def __init__(self, request):
        self.id = request["datum"]
        self.env = request["env"]
        self.inputs = [(one["name"], one["path"]) for one in request["inputs"]]


def serve(handle):
    """Calls handle(datum) for every datum until Tusk has no more. An exception fails the datum."""
    answers = os.fdopen(3, "w", buffering=1)
    names = set()
    for line in sys.stdin:
        datum = Datum(json.loads(line))
        for name in names - set(datum.env):
            os.environ.pop(name, None)
        os.environ.update(datum.env)
        names = set(datum.env)
        try:
            handle(datum)
            answer = {"done": True}
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        # What was printed belongs to this datum's log.
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(json.dumps(answer) + "\n")
    return handle
