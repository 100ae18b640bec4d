# SPDX-License-Identifier: Apache-2.0
"""Names and frames of klp's live patches in gdb.

A patch module is memory of the process and no file, so gdb has neither its names nor its unwind information and ends a
backtrace there. With this script gdb asks `klpctl symfile` for both whenever the process stops with other code of klp's
than at the last stop. The process is only read; nothing is left in a file system.

    gdb -x .../klp.py -p PID                      once
    ln -s .../klp.py /etc/gdb/gdbinit.d/          for every gdb (see `show configuration`, --with-system-gdbinit-dir)

KLPCTL in the environment names another klpctl than the one that was installed with this file.
"""
import json
import os
import shutil
import subprocess
import tempfile

import gdb

MAGIC = b"klp-runtime-1\n"
HERE = os.path.dirname(os.path.realpath(globals().get("__file__", ".")))


def find_klpctl():
    beside = os.path.join(HERE, "..", "..", "bin", "klpctl")
    return os.environ.get("KLPCTL") or (beside if os.access(beside, os.X_OK) else shutil.which("klpctl"))


def anonymous_code(pid):
    """Executable mappings without a name: (start, end), None if the process is not of this machine."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
            lines = [line.split(maxsplit=5) for line in f]
    except OSError:
        return None
    return [tuple(int(x, 16) for x in w[0].split("-")) for w in lines if len(w) == 5 and "x" in w[1]]


class SymbolFile:
    """One piece of klp's code, as a file in gdb's own memory."""

    def __init__(self, text, image):
        self.text, self.image = text, image
        self.fd = os.memfd_create("klp-symbols")
        with open(self.fd, "wb", closefd=False) as f:
            f.write(image)
        gdb.execute(f"add-symbol-file /proc/self/fd/{self.fd}", to_string=True)

    def remove(self):
        try:
            gdb.execute(f"remove-symbol-file -a {self.text:#x}", to_string=True)
        except gdb.error:
            pass  # gdb has forgotten it by itself
        os.close(self.fd)


class Patches:
    """What gdb has been told, by program space."""

    def __init__(self):
        self.told = {}

    def forget(self, space):
        for f in self.told.pop(space, (None, []))[1]:
            f.remove()

    def look(self, pid):
        """[(text, bytes of the ELF file)] of the process."""
        klpctl = find_klpctl()
        if not klpctl:
            raise gdb.GdbError("klp: there is no klpctl")
        with tempfile.TemporaryDirectory(prefix="klp-gdb.") as directory:
            r = subprocess.run([klpctl, "symfile", "--json", "-p", str(pid), directory], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)
            if r.returncode:
                raise gdb.GdbError("klp: " + r.stderr.strip())
            found = []
            for f in json.loads(r.stdout)["processes"][0]["files"]:
                with open(f["path"], "rb") as image:
                    found.append((f["text"], image.read()))
            return found

    def refresh(self):
        inferior = gdb.selected_inferior()
        space, pid = inferior.progspace, inferior.pid
        connection = getattr(inferior, "connection", None)
        if not pid or (connection and connection.type != "native"):
            return self.forget(space)
        code = anonymous_code(pid)
        seen, files = self.told.get(space, (None, []))
        if code is None or (pid, code) == seen:
            return None
        if not any(bytes(self.peek(inferior, start)) == MAGIC for start, _ in code):
            self.forget(space)
        else:
            found = self.look(pid)
            for f in [f for f in files if (f.text, f.image) not in found]:
                f.remove()
                files.remove(f)
            there = [(f.text, f.image) for f in files]
            files += [SymbolFile(*new) for new in found if new not in there]
        self.told[space] = ((pid, code), files)
        return None

    @staticmethod
    def peek(inferior, address):
        try:
            return inferior.read_memory(address, len(MAGIC))
        except gdb.MemoryError:
            return b""


patches = Patches()


def refresh(_event=None):
    """Behind an event: whatever goes wrong must not end what gdb is doing."""
    try:
        patches.refresh()
    except (gdb.error, OSError, ValueError, KeyError, IndexError) as e:
        gdb.write(f"{e}\n", gdb.STDERR)


def gone(_event):
    try:
        patches.forget(gdb.selected_inferior().progspace)
    except (gdb.error, OSError):
        pass


class KlpSymbols(gdb.Command):
    """Read the names and unwind information of klp's live patches again. It is done at each stop by itself."""

    def __init__(self):
        super().__init__("klp-symbols", gdb.COMMAND_FILES)

    def invoke(self, _argument, _from_tty):
        gone(None)
        patches.refresh()
        for f in patches.told.get(gdb.selected_inferior().progspace, (None, []))[1]:
            gdb.write(f"{f.text:#x}\n")


KlpSymbols()
gdb.events.stop.connect(refresh)
gdb.events.before_prompt.connect(refresh)
gdb.events.exited.connect(gone)
if gdb.selected_inferior().pid:
    refresh()
