#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B27, K29: one module for a program and its library. Threads whose calls go from the program into the library and back see one version as a whole, whatever is
# loaded, unloaded, replaced or killed meanwhile. An object that is not there, or is another build, refuses the whole and is named; status
# tells of each object whether it is patched.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/program_and_library.sh"
begin
pl_program
pl_patch fix 's/VERSION 1/VERSION 2/'
pl_patch all 's/VERSION 1/VERSION 3/'
pl_patch half 's/leaf(slow) \* 10;/leaf(slow) * 10 + (slow > 7);/'
jq -e '.targets | length == 2 and all(.patched)' "$work/fix.json" >/dev/null || die "the report: $(cat "$work/fix.json")"
jq -e '(.targets | map(.patched)) == [false, true] and (.metadata.objects | length == 1)' "$work/half.json" >/dev/null || die "the report: $(cat "$work/half.json")"
"$klpctl" info --json "$work/fix.klp" | jq -e '[.objects[].name] == ["prog", "libpair.so"]' >/dev/null || die "the module's objects"

no_mix() {
	expect 0 mixed
	ask calls
	[ "$REPLY" -gt "${1:-0}" ] || die "nobody calls"
	calls=$REPLY
}

# Without the library, and with another build of it.
target t "$work/prog" "$work/libpair.so"
print=$(fingerprint "$(p)")
ctl 3 load -v --json -p "$(p)" "$work/fix.klp"
expect_reason NO_OBJECT
grep -q 'build-id of libpair.so' "$work/json" || die "it does not name the library: $(cat "$work/json")"
[ "$(fingerprint "$(p)")" = "$print" ] || die "a refused load changed the target"
target other "$work/prog" "$work/other/libpair.so"
expect 0 open
ctl 3 load -v --json -p "$(p)" "$work/fix.klp"
expect_reason NO_OBJECT
grep -q 'other/libpair.so has another one' "$work/json" || die "it does not name the other library: $(cat "$work/json")"
ctl 3 check --json -p "$(p)" "$work/fix.klp"
expect 1111 call
use t

# Both, under load.
expect 0 open
before=$(text_print "$(p)")
ctl 0 check --json -p "$(p)" "$work/fix.klp"
expect_result 4 .functions
# Of all processes those that map both.
"$klpctl" load -v --json "$work/fix.klp" >"$work/json" 2>"$work/events" || die "load of all processes"
[ "$(jq -r '[.processes[].pid] | join(" ")' "$work/json")" = "$(p)" ] || die "it was loaded into others: $(cat "$work/json")"
expect 2222 call
expect_status 1 '.patches | length'
expect_status 'libpair.so prog' '[.patches[0].functions[].object] | unique | join(" ")'
expect_status 'CVE-2031-1000 (fix)' '.patches[0].labels | join(" ")'
"$klpctl" status -p "$(p)" | grep -qx '  labels: CVE-2031-1000 (fix)' || die "status prints no labels"
expect_status 4 '[.patches[0].functions[] | select(.site == "armed")] | length'
no_mix
# The function in the library is at an address of the library, its replacement near it; so are the program's.
far=$(status '[.patches[0].functions[] | (.old_address - .new_address) | if . < 0 then -. else . end] | max')
[ "$far" -lt 2147483648 ] || die "a replacement is $far bytes from its original"
ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
expect_result skipped .result

# On top of one of the library only, which then goes; and a third one in the place of all.
unload fix
ctl 0 load -v --json -p "$(p)" "$work/half.klp"
expect 1111 call
ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
expect 2222 call
expect_status 'half 1 fix 2' '[.patches | sort_by(.stack_order)[] | .name, (.stack_order | tostring)] | join(" ")'
no_mix "$calls"
unload half
expect_status 'fix 1' '[.patches[] | .name, (.stack_order | tostring)] | join(" ")'
expect 2222 call
ctl 0 load -v --json --replace -p "$(p)" "$work/all.klp"
expect 3333 call
expect_status 'all' '[.patches[] | select(.enabled) | .name] | join(" ")'
no_mix "$calls"
unload all
expect 1111 call
given_back fix
[ "$(text_print "$(p)")" = "$before" ] || die "the text is not as it was"

# Load and unload, many times; then with a tool that is killed at some instant.
for ((i = 0; i < $(full 10 300); i++)); do
	ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
	unload fix
done
no_mix "$calls"
seed=${KLP_SEED:-$(($(date +%s%N) / 1000 % 100000000))}
RANDOM=$seed
echo "KLP_SEED=$seed"
for ((i = 0; i < $(full 30 1000); i++)); do
	kill_a_tool "$work/fix.klp" fix $((600 * ${KLP_SLOW:-1}))
	alive
	expect 0 mixed
	ask call
	case $REPLY in 1111 | 2222) ;; *) die "after kill $i a call says $REPLY" ;; esac
	((i % 10 == 9)) || continue
	ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
	expect_status 4 '[.patches[] | select(.state == "enabled") | .functions[]] | length'
	expect 2222 call
	unload fix
	expect 1111 call
done
ctl 0,3 unload -v --json -p "$(p)" fix
no_mix "$calls"
given_back fix
[ "$(text_print "$(p)")" = "$before" ] || die "after the kills the text is not as it was"

# The library goes while it is patched: the program's part stays, and says so; then everything goes.
ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
expect 0 close
expect_status 'armed gone' '[.patches[0].functions[].site] | unique | join(" ")'
unload fix
given_back fix
expect 0 open
expect 1111 call
no_mix "$calls"
expect 0 close

# A watch loads it when both are there.
"$klpctl" watch --json --interval 0.05 -p "$(p)" "$work/fix.klp" >"$work/watched" 2>"$work/events" &
others+=($!)
seen() { [ "$(jq -s --arg e "$1" '[.[] | select(.event == $e and .result.result == "done")] | length' "$work/watched" 2>/dev/null)" = "$2" ]; }
for i in 1 2; do
	expect 0 open
	wait_for 10 seen came $i || die "the watch did not load it: $(cat "$work/watched")"
	expect 2222 call
	expect 0 mixed
	expect 0 close
	wait_for 10 seen went $i || die "the watch did not unload it: $(cat "$work/watched")"
done
given_back fix
alive
