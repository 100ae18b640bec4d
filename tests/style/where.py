#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""where.py [--fix] TREE: docs/safety.md names for each invariant the line of each function that implements it, and the tests that fail
without it. Both must be there. --fix puts the lines right."""
import glob
import os
import re
import sys

fix = sys.argv[1] == "--fix"
tree = sys.argv[-1]
doc = os.path.join(tree, "docs/safety.md")
complaints = []


def defined_at(path, function):
    """The line of a function's definition: it begins at the margin and is no declaration."""
    try:
        with open(os.path.join(tree, path), encoding="utf-8") as f:
            lines = f.read().split("\n")
    except OSError:
        return None
    for n, line in enumerate(lines, 1):
        if re.match(rf"[a-z][^=;]*\b{re.escape(function)}\(", line) or re.match(rf"{re.escape(function)}:", line):
            end = n - 1  # its head may go on over some lines
            while end < len(lines) - 1 and not lines[end].rstrip().endswith((")", "{", ";", ":")):
                end += 1
            if not lines[end].rstrip().endswith(";"):
                return n
    return None


def place(match):
    path, line, function = match.group(1), int(match.group(2)), match.group(3)
    now = defined_at(path, function)
    if now is None:
        complaints.append(f"{path} does not define {function}")
    elif now != line and not fix:
        complaints.append(f"{function} is at {path}:{now}, not at line {line}: tests/style/where.py --fix .")
    return f"`{path}:{now or line} {function}`"


def test_exists(name):
    if name.startswith("model_"):
        with open(os.path.join(tree, "tests/model/CMakeLists.txt"), encoding="utf-8") as f:
            return re.search(rf"(\b|_){name.rsplit('_refutes_', 1)[-1]}\b", f.read()) is not None
    return any(glob.glob(os.path.join(tree, p)) for p in
               (f"tests/hazards/mutations/{name}", f"tests/*/{name}.*", f"tests/*/{name.split('_', 1)[-1]}.*",
                f"tests/*/{name.split('_', 1)[-1]}/"))


with open(doc, encoding="utf-8") as f:
    text = f.read()
head, heading, table = text.partition("## Invariant by invariant\n")
rows = [r for r in table.split("\n") if r.startswith("| **")]
if not rows:
    complaints.append("docs/safety.md has no table of the invariants")
for row in rows:
    cells = row.split("|")
    if not re.search(r"`[^` ]+:\d+ \w+`", cells[2]):
        complaints.append(f"no code is named for {cells[1].strip()}")
    tests = re.findall(r"`([^`]+)`", cells[3])
    if not tests:
        complaints.append(f"no test is named for {cells[1].strip()}")
    complaints += [f"there is no test or mutation {t}" for t in tests if not test_exists(t)]
fixed = head + heading + re.sub(r"`([\w./-]+):(\d+) (\w+)`", place, table)
if fix and fixed != text:
    with open(doc, "w", encoding="utf-8") as f:
        f.write(fixed)
for c in complaints:
    print("FAILED:", c, file=sys.stderr)
sys.exit(1 if complaints else 0)
