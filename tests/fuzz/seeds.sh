#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# seeds.sh DIR: what the fuzzers begin with, made of the tests' own cases: DIR/FUZZER/* are inputs, DIR/process is a recorded process with a
# loaded patch (fuzz_target.c says how it is written; of a large mapping the beginning), DIR/good.o and DIR/good.klp are what belongs to it.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/../build/lib.sh"
export ASAN_OPTIONS=detect_leaks=0 # of tools that end
mkdir -p "$1"
out=$(cd "$1" && pwd)
begin
rm -rf "${out:?}"/*
mkdir "$out"/{module,maps,unwind,object,linked,dwarf,target,database}
cat /proc/self/maps >"$out/maps/self"
printf '%s' '[{"directory": "/tmp", "file": "a.c", "command": "cc -O2 \"-DA=\\\"b\\\"\" -MD -MF a.d -c -o a.o a.c"}]' >"$out/database/command"
printf '%s' '[{"directory": "/tmp", "file": "a.c", "output": "a.o", "arguments": ["ccache", "gcc", "-Wp,-MMD,a.d", "-c", "-o", "a.o", "a.c"]}]' >"$out/database/arguments"
printf '%s' "gcc '-DA=b c' -D\"B=\\\"d\\\"\" -c x\\ y.c" >"$out/database/words"

# unwind_seed FILE NAME: the file's tables behind struct head of fuzz_unwind.c, with a stack of small numbers and of addresses of its text.
unwind_seed() {
	python3 - "$1" "$out/unwind/$2" <<-'PY'
	import struct, subprocess, sys
	rows = {}
	for line in subprocess.run(["readelf", "-SW", sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines():
	    f = line.replace("[ ", "[").split()
	    if len(f) > 6 and f[0].startswith("[") and f[0] != "[Nr]":
	        rows[f[1]] = [int(x, 16) for x in f[3:6]]
	data = open(sys.argv[1], "rb").read()
	def section(name):
	    addr, off, size = rows[name]
	    return addr, data[off:off + size]
	text, size = rows[".text"][0], rows[".text"][2]
	frame_at, frame = section(".eh_frame")
	hdr_at, hdr = section(".eh_frame_hdr")
	entry = struct.unpack_from("<Q", data, 24)[0]
	stack = b"".join(struct.pack("<Q", text + 5 + i * 24 % size if i % 2 else i) for i in range(64))
	pcs = [(i * size // 16) & 0xffff for i in range(16)]
	for flags in (1, 2, 12, 25):
	    head = struct.pack("<IIIIHHBBH16H", text, size - 1, frame_at, hdr_at, len(hdr), len(stack), flags, 16, entry - text & 0xffff, *pcs)
	    open(f"{sys.argv[2]}-{flags}", "wb").write(head + hdr + stack + frame)
	PY
}

for case in B01 B09 B16 callbacks; do
	(
		scratch=$scratch/$case
		mkdir -p "$scratch/tmp"
		case_setup "$case"
		case_build
		[ "$status" = 0 ] || { cat "$scratch/out" >&2; exit 1; }
		cp "$scratch/fix.klp" "$out/module/$case"
		"$build/bin/klpctl" info --json "$scratch/fix.klp" >/dev/null
		objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc "$scratch/fix.klp" "$out/module/$case.meta" 2>/dev/null || :
		cp "$running" "$out/linked/$case"
		gcc -O2 -g $KLP_CFLAGS -I"$KLP_INCLUDE" -c main.c -o "$out/object/$case"
		cp "$out/object/$case" "$out/dwarf/$case"
		head -c 8192 "$running" >"$out/unwind/$case-image"
		unwind_seed "$running" "$case"
		[ "$case" != B09 ] || cp "$out/object/$case" "$out/good.o"
	)
done

# A static program, so that the whole of it is small, with a patch that has shadow variables.
case_setup shadow-static
case_build
[ "$status" = 0 ] || { cat "$scratch/out" >&2; fail "the module is not built"; finish; }
cp "$scratch/fix.klp" "$out/good.klp"
cp "$scratch/fix.klp" "$out/module/shadow"
mkfifo "$scratch/to" "$scratch/from"
"$running" <"$scratch/to" >"$scratch/from" &
pid=$!
trap 'kill -KILL "$pid" 2>/dev/null || :; rm -rf "$scratch"' EXIT
exec {to}>"$scratch/to" {from}<"$scratch/from"
ask() {
	printf '\n' >&"$to"
	IFS= read -r -t 20 _ <&"$from" || fail "the program does not answer"
}
ask
"$build/bin/klpctl" load -p "$pid" "$scratch/fix.klp" >"$scratch/ctl" 2>&1 || {
	cat "$scratch/ctl" >&2
	fail "klpctl load"
	finish
}
ask
ask
python3 - "$pid" "$out/process" <<'PY'
import struct, sys
pid = sys.argv[1]
stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
auxv = open(f"/proc/{pid}/auxv", "rb").read()
entry = next(v for k, v in struct.iter_unpack("<QQ", auxv) if k == 9)
listing = open(f"/proc/{pid}/maps").read()
with open(f"/proc/{pid}/mem", "rb") as mem, open(sys.argv[2], "wb") as f:
    f.write(f"{entry} {stat[19]} {stat[25]} {pid}\n{listing}\n".encode())
    for line in listing.splitlines():
        at, perms = line.split()[:2]
        low, high = (int(x, 16) for x in at.split("-"))
        if perms[0] != "r" or "[vvar" in line or "[vsyscall]" in line:
            continue
        size = min(high - low, 2 << 20)
        mem.seek(low)
        f.write(struct.pack("<QQ", low, size) + mem.read(size))
PY
exec {to}>&-
wait "$pid" || :
# What is asked, alone and with a change at each of the first places.
python3 - "$out/target" <<'PY'
import sys
for what in range(4):
    open(f"{sys.argv[1]}/{what}", "wb").write(bytes([what]))
    for place in range(1, 16):
        open(f"{sys.argv[1]}/{what}-{place}", "wb").write(bytes([what, place, 8, 0, 7]) + b"\xff" * 8)
PY
finish
