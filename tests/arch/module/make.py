#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a patch module by hand: make.py OBJCOPY PROGRAM OBJECT OUT FUNCTION...

OBJECT is a compiled object whose undefined symbols are the program's own, and which defines the replacements of each FUNCTION. PROGRAM has the
default patchable entries and a symbol table. docs/module-format.md says what comes out.
"""
import hashlib
import json
import struct
import subprocess
import sys

SHT_SYMTAB, STT_FUNC = 2, 2
# By ELF machine: name; NOPs, each with the largest prefix that is made of it in bytes.
MACHINES = {
    183: ("aarch64", {"1f2003d5": 16}),
    243: ("riscv64", {"13000000": 24, "0100": 64}),
}


class Elf:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.machine, = struct.unpack_from("<H", self.data, 18)
        shoff, = struct.unpack_from("<Q", self.data, 40)
        size, count, names = struct.unpack_from("<HHH", self.data, 58)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + i * size) for i in range(count)]
        self.names = [self.text(self.sections[names][4] + s[0]) for s in self.sections]

    def text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def symbols(self):
        for s in self.sections:
            if s[1] != SHT_SYMTAB:
                continue
            strings = self.sections[s[6]][4]
            for at in range(s[4] + 24, s[4] + s[5], 24):
                name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", self.data, at)
                yield self.text(strings + name), info & 15, section, value, size

    def bytes_at(self, addr, size):
        for s in self.sections:
            if s[3] and s[1] == 1 and s[3] <= addr and addr + size <= s[3] + s[5]:
                at = s[4] + addr - s[3]
                return self.data[at:at + size]
        sys.exit(f"nothing is at {addr:#x}")

    def build_id(self):
        for s, name in zip(self.sections, self.names):
            if name == ".note.gnu.build-id":
                namesz, size = struct.unpack_from("<II", self.data, s[4])
                at = s[4] + 12 + (namesz + 3 & ~3)
                return self.data[at:at + size].hex()
        sys.exit("the program has no build-id")


def main():
    objcopy, program, source, out, *functions = sys.argv[1:]
    elf, module = Elf(program), Elf(source)
    known = {}
    for name, kind, section, value, size in elf.symbols():
        if section and section < 0xff00:
            known[name] = (value, size, kind)
    arch, nops = MACHINES[elf.machine]
    meta = {"format": 1, "name": "fix", "arch": arch, "coupled": False, "exceptions": False, "escapes": [], "symbols": []}
    meta["objects"] = [{"name": "program", "build_id": elf.build_id(), "functions": []}]
    for name in functions:
        value, size, _ = known[name]
        recorded = value
        for nop, room in ((bytes.fromhex(n), r) for n, r in nops.items()):
            while elf.bytes_at(recorded - len(nop), len(nop)) == nop and value - recorded < room:
                recorded -= len(nop)
        meta["objects"][0]["functions"].append({
            "name": name, "file": "", "sympos": 0, "address": value, "size": size, "recorded": recorded, "exported": False,
            "ranges": [[value, value + size]], "replacement": name, "digest": hashlib.sha256(elf.bytes_at(value, size)).hexdigest()})
    rename = []
    for name, _, section, _, _ in module.symbols():
        if section or not name:
            continue
        rename += ["--redefine-sym", f"{name}=klp:{len(meta['symbols'])}:{name}"]
        meta["symbols"].append({"name": name, "how": "address", "type": "func" if known[name][2] == STT_FUNC else "object", "object": 0,
                                "address": known[name][0]})
    with open(out + ".json", "w", encoding="utf-8") as f:
        json.dump(meta, f)
    subprocess.run([objcopy, *rename, "--add-section", f".klp.meta={out}.json", "--set-section-flags", ".klp.meta=noload,readonly", source, out],
                   check=True)


main()
