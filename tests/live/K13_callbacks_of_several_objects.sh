#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K13: each object of a patch has callbacks of its own, which run object by object; if the second object's pre_patch fails, the first one's is taken back. A
# state can be in the part for any object, and the next patch may have it in another one.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/program_and_library.sh"
begin
pl_program
# callbacks NAME LETTERS RESULT [STATE]: what sed inserts: a callback of each kind that notes its letter, and a state with its version, of which pre_patch
# notes what was known of it. No string: its address would be passed on, and the patch's memory kept.
callbacks() {
	local kind type i=0
	printf '\\\n'
	[ -z "${4:-}" ] || printf 'KLP_STATE(7, %s);\\\n' "$4"
	for kind in PRE_PATCH POST_PATCH PRE_UNPATCH POST_UNPATCH; do
		type=void
		[ $kind = PRE_PATCH ] && type=int
		printf "static %s %s_%s(void)\\\\\n{\\\\\n\tnote('%s');\\\\\n" $type "$1" $kind "${2:i++:1}"
		if [ $kind = PRE_PATCH ]; then
			[ -z "${4:-}" ] ||
				printf "\tnote('0' + (int)klp_state_prev_version(7));\\\\\n\tnote('0' + (int)(unsigned long)klp_state_data(7));\\\\\n\tklp_state_data(7) = (void *)(%s + 4ul);\\\\\n" "$4"
			printf '\treturn %s;\\\n' "$3"
		fi
		printf '}\\\nKLP_%s(%s_%s);\\\n' $kind "$1" $kind
	done
	printf '/* that was all */' # the only line without a backslash
}
in_prog='/^int main(/i'
in_pair='/ int pair(/i'
pl_patch fix "s/VERSION 1/VERSION 2/
$in_prog $(callbacks prog abcd 0)
$in_pair $(callbacks pair ABCD 0 1)"
pl_patch next "s/VERSION 1/VERSION 3/
$in_prog $(callbacks prog abcd 0 2)
$in_pair $(callbacks pair ABCD 0)"
pl_patch fails "s/VERSION 1/VERSION 4/
$in_prog $(callbacks prog abcd 0)
$in_pair $(callbacks pair ABCD EBUSY)"
# One state in two targets.
rm -rf "$work/b"
cp -r "$work/a" "$work/b"
sed -i "s/VERSION 1/VERSION 5/
$in_prog $(callbacks prog abcd 0 1)
$in_pair $(callbacks pair ABCD 0 1)" "$work/b"/*.[ch]
(cd "$work" && diff -u a b) >"$work/two.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t prog -t libpair.so --running "$work/prog" --running "$work/libpair.so" "$work/two.diff" \
	-o "$work/two.klp" >"$work/log" 2>&1
[ $? = 4 ] && grep -q 'two of the targets have a state of this number' "$work/log" || die "klp-build: $(tail -3 "$work/log")"
[ ! -e "$work/two.klp" ] || die "there is a module although it was refused"

target t "$work/prog" "$work/libpair.so"
expect 0 open
before=$(text_print "$(p)")
ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
expect 2222 call
expect aA00bB note
expect_result 'pre_patch pre_patch post_patch post_patch' '[.callbacks[].name] | join(" ")'
expect_status '7 1' '[.patches[0].states[] | .id, .version | tostring] | join(" ")'
# The second object's pre_patch says no: the first one's is undone, nothing is patched.
ctl 4 load -v --json -p "$(p)" "$work/fails.klp"
expect_reason CALLBACK
expect 2222 call
expect aAd note
expect_status fix '[.patches[].name] | join(" ")'
# The state goes from the library's part to the program's.
ctl 0 load -v --json --replace -p "$(p)" "$work/next.klp"
expect 3333 call
expect a15AbB note
expect_status next '[.patches[] | select(.enabled) | .name] | join(" ")'
unload next
expect 1111 call
expect cCdD note
expect 0 mixed
given_back fix
[ "$(text_print "$(p)")" = "$before" ] || die "the text is not as it was"
# A tool that is killed at some instant: whoever comes next runs what is owed, once.
seed=${KLP_SEED:-$(($(date +%s%N) / 1000 % 100000000))}
RANDOM=$seed
echo "KLP_SEED=$seed"
count() { tr -cd "$1" <<<"$all" | wc -c; }
for ((i = 0; i < $(full 10 300); i++)); do
	"$klpctl" load -p "$(p)" "$work/fix.klp" >/dev/null 2>&1 &
	tool=$!
	sleep "0.$(printf '%03d' $((RANDOM % 150)))"
	kill -KILL $tool 2>/dev/null
	wait $tool 2>/dev/null
	ctl 0 load -v --json -p "$(p)" "$work/fix.klp"
	expect 2222 call
	unload fix
	expect 1111 call
	expect 0 mixed
	ask note
	all=$REPLY
	for who in abcd ABCD; do
		[ "$(count ${who:1:1}),$(count ${who:2:1}),$(count ${who:0:1})" = "1,1,$(count ${who:3:1})" ] || die "after kill $i the callbacks were: $all"
	done
done
given_back fix
[ "$(text_print "$(p)")" = "$before" ] || die "after the kills the text is not as it was"
alive
