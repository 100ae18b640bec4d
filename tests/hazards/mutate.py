#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the mutations of this folder and applies them to a copy of the tree.

mutate.py get FILE KEY        the value of a key, empty if there is none
mutate.py check TREE FILE...  every anchor is in the tree exactly once; says of each file what is wrong with it
mutate.py apply FILE TREE     the same, then the edits

A mutation is a text file: `key: value` lines, then for each edit

    file: PATH
    @old
    the text that implements the rule
    @new
    what stands there without the rule
    @end

Runs of white space in an anchor match any white space, so a formatter does not break it. An anchor that is not there exactly once is
an error: nothing is guessed, nothing is skipped.
"""
import os
import re
import sys

KEYS = {"hazard", "rule", "test", "shows", "tries", "slow", "file"}
NEEDED = ("hazard", "rule", "test", "shows")


def fail(what):
    sys.exit(f"mutate.py: {what}")


def parse(path):
    keys, edits, part, text = {}, [], None, []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if part is None:
                if not line or line.startswith("#"):
                    continue
                if line == "@old" and "file" in keys:
                    part, text = "old", []
                    edits.append([keys["file"], None, None])
                    continue
                key, colon, value = line.partition(":")
                if not colon or key not in KEYS:
                    fail(f"{path}:{number}: not understood: {line}")
                keys[key] = value.strip()
            elif line == "@new" and part == "old":
                edits[-1][1], part, text = "\n".join(text), "new", []
            elif line == "@end" and part == "new":
                edits[-1][2], part = "\n".join(text), None
            else:
                text.append(line)
    if part is not None:
        fail(f"{path}: an edit has no end")
    for key in NEEDED:
        if not keys.get(key):
            fail(f"{path}: no {key}")
    if not edits:
        fail(f"{path}: no edit")
    return keys, edits


def mutated(path, edits, tree):
    files = {}
    for name, old, new in edits:
        full = os.path.join(tree, name)
        words = old.split()
        if not words:
            fail(f"{path}: an empty anchor")
        if full not in files:
            if not os.path.isfile(full):
                fail(f"{path}: there is no {name}")
            with open(full, encoding="utf-8") as f:
                files[full] = f.read()
        found = list(re.finditer(r"\s+".join(re.escape(w) for w in words), files[full]))
        if len(found) != 1:
            fail(f"{path}: this stands {len(found)} times in {name}, expected once:\n{old}")
        text = files[full]
        files[full] = text[:found[0].start()] + new.strip() + text[found[0].end():]
        if files[full] == text:
            fail(f"{path}: the edit of {name} changes nothing")
    return files


def check(tree, paths):
    bad = 0
    for path in paths:
        try:
            mutated(path, parse(path)[1], tree)
        except SystemExit as complaint:
            print(complaint)
            bad = 1
    sys.exit(bad)


def main():
    if len(sys.argv) > 3 and sys.argv[1] == "check":
        check(sys.argv[2], sys.argv[3:])
    if len(sys.argv) != 4 or sys.argv[1] not in ("get", "apply"):
        sys.exit(__doc__)
    what, path, arg = sys.argv[1:]
    keys, edits = parse(path)
    if what == "get":
        print("\n".join(sorted({e[0] for e in edits})) if arg == "files" else keys.get(arg, ""))
        return
    for full, text in mutated(path, edits, arg).items():
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


main()
