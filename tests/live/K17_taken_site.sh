#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Somebody else's byte on a site or in a prefix, before the load: refused by name, nothing changed. On a site of a transition in flight: it is not completed.
. "$(dirname "$0")/lib.sh"
begin
start
target=$live/dynamic/target
symbol_of() { readelf -sW "$target" | awk -v f="$1" '$8 == f {print $2; exit}'; }
symbol=$(symbol_of answer)
byte() { # OFFSET-FROM-THE-SYMBOL [VALUE]: prints what was there
	python3 - "$(p)" "$target" "$symbol" "$@" <<-'PY'
	import sys
	pid, path, symbol, offset, *value = sys.argv[1:]
	with open(f"/proc/{pid}/maps") as maps:
	    base = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))
	at = base + int(symbol, 16) + int(offset)
	with open(f"/proc/{pid}/mem", "r+b", buffering=0) as mem:
	    mem.seek(at)
	    print(mem.read(1)[0])
	    if value:
	        mem.seek(at)
	        mem.write(bytes([int(value[0])]))
	PY
}
expect 41 call answer 4
for offset in 1 2 -1 -16; do
	was=$(byte $offset 204) || die "the target's memory cannot be written"
	before=$(fingerprint "$(p)")
	RC=4 load fix
		case $(result .reason) in SITE_TAKEN | BAD_FUNCTION | PREFIX_TOO_SMALL) ;; *) die "byte $offset: the reason is $(result .reason)" ;; esac
	result .message | grep -q answer || die "byte $offset: the message does not name the function: $(result .message)"
	[ "$(fingerprint "$(p)")" = "$before" ] || die "byte $offset: the refused load left something behind"
	[ "$(byte $offset "$was")" = 204 ] || die "byte $offset: the other's byte is gone"
	expect 41 call answer 4
done
load fix
expect 42 call answer 4
unload fix
expect 41 call answer 4
# The site is read again before the transition ends: while it is somebody else's, calls may have gone past dispatch.
case $(uname -m) in aarch64) offset=4 ;; riscv64) offset=2 ;; *) offset=1 ;; esac
symbol=$(symbol_of sleeper)
asleep
RC=5 load sleeper --timeout 0.3
was=$(byte $offset 204) || die "the target's memory cannot be written"
ask wake
wait_for 10 eval 'ask slept; [ "$REPLY" != 0 ]' || die "the sleeping thread did not return"
RC=5 load sleeper --timeout 0.5
expect_result true '.message | contains("the patch site of sleeper is not armed: another tracer changed it")'
# Nor is it by force, which has forced nothing then: who reads of a forced patch believes that versions were mixed, and its memory is never given back.
ctl 4,5 force --json -p "$(p)" sleeper
expect_result true '.message | contains("the patch site of sleeper is not armed: another tracer changed it")'
expect_status false '.patches[] | select(.name == "sleeper") | .forced'
[ "$(byte $offset "$was")" = 204 ] || die "the other's byte is gone"
load sleeper
expect_status false '.patches[] | select(.name == "sleeper") | .forced'
unload sleeper
