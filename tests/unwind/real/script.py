# SPDX-License-Identifier: Apache-2.0
"""What the oracle steps through in Python: exceptions, callbacks from C, threads, extensions that are loaded late."""
import os
import sys
import threading

ROUND = int(os.environ.get("ORACLE_ROUND", "0"))


class Wrong(Exception):
    """Thrown through several frames."""


def deep(n):
    if n == 0:
        raise Wrong(ROUND)
    try:
        return deep(n - 1)
    finally:
        found.append(n)


def work(k):
    total = 0
    for i in range(60):
        total += (i * k) ^ ROUND
        if i % 20 == 0:
            try:
                deep(5)
            except Wrong as e:
                total += len(e.args)
    found.append(total)


def callbacks():
    import ctypes

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 12)(*[(i * 7 + ROUND) % 12 for i in range(12)])
    ctypes.CDLL(None).qsort(values, 12, 4, kind(lambda a, b: a[0] - b[0]))
    assert list(values) == list(range(12))


def extensions():
    import hashlib
    import json
    import re
    import signal

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, lambda *_: found.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
    text = json.dumps({"round": ROUND, "list": list(range(20)), "text": "x" * 40})
    assert json.loads(text)["round"] == ROUND
    assert re.sub(r"(\w+)-(\d+)", r"\2-\1", "abc-12 def-34") == "12-abc 34-def"
    return hashlib.sha256(text.encode()).hexdigest()


found = []
for part in (callbacks, extensions) if len(sys.argv) < 2 else ():
    part()
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
threads += [threading.Thread(target=part) for part in (callbacks, extensions)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert len(found) > 3
