#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pages keep their protection, and no mapping is ever writable and executable, watched while patches come and go (W^X).
. "$(dirname "$0")/lib.sh"
begin
start
maps | grep ' r-xp.*/target$' >"$work/before"
cat >"$work/watch.py" <<-'PY'
import sys
pid, log = sys.argv[1:3]
seen = 0
with open(log, "w") as out:
    while True:
        try:
            with open(f"/proc/{pid}/maps") as f:
                text = f.read()
        except OSError:
            break
        if not text:
            break
        seen += 1
        for line in text.splitlines():
            if "w" in line.split()[1] and "x" in line.split()[1]:
                out.write(line + "\n")
                out.flush()
        if seen == 1:
            open(log + ".ready", "w").close()
        open(log + ".count", "w").write(str(seen))
PY
python3 "$work/watch.py" "$(p)" "$work/wx" &
others+=($!)
wait_for 5 test -e "$work/wx.ready" || die "the watcher did not start"
pairs "$(full 10 200)"
load fix
maps | grep ' r-xp.*/target$' >"$work/loaded"
cmp -s "$work/before" "$work/loaded" || die "the program's text mapping changed: $(diff "$work/before" "$work/loaded")"
[ -s "$work/wx" ] && die "writable and executable: $(sort -u "$work/wx" | head -3)"
seen=0
wait_for 5 eval 'seen=$(cat "$work/wx.count"); [ -n "$seen" ]' # it is rewritten all the time
[ "$seen" -gt 20 ] || die "the watcher looked only $seen times"
