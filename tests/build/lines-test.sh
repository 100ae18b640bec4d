#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# klp-build lines: whatever is inserted or removed, the numbered text means what the patched one does, and what is unchanged keeps its number.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
cd "$scratch" || exit
rounds=${LINES_ROUNDS:-60}

# edit FILE SEED: a few lines inserted or removed at places that the seed gives
edit() {
	awk -v seed="$2" '
	{ line[NR] = $0 }
	END {
		srand(seed)
		for (k = 0; k < 3; k++) {
			at = 1 + int(rand() * NR)
			if (rand() < 0.7)
				many[at] += 1 + int(rand() * 3)
			else if (line[at] ~ /^[ \t]*(M\([0-9]*\))?$|^ \*/)
				gone[at] = 1
		}
		for (i = 1; i <= NR; i++) {
			for (k = 0; k < many[i]; k++)
				print ""
			if (!gone[i])
				print line[i]
		}
	}' "$1"
}

# tokens LANGUAGE FILE: what the compiler makes of it
tokens() { gcc -x "$1" -pedantic -I "$tests/../.." -I "$tests/../../tools/klp-build" -E -P "$2" 2>said; }

# Numbers are told by the markers m_N; without them both texts must be the same.
numbers() { grep -o 'm_[0-9]* = [0-9]*' || :; }
masked() { sed -E 's/(m_[0-9]* = )[0-9]+/\1/g' | tr -s ' \n' '\n'; }

checked=0
original=$tests/lines/constructs.txt
tokens c++ "$original" | numbers >wanted
[ "$(wc -l <wanted)" -ge 15 ] || fail "the original has too few marks"
for ((seed = 1; seed <= rounds; seed++)); do
	edit "$original" "$seed" >patched.cc
	tokens c++ patched.cc >plain || continue # a line behind a backslash can break the text
	for form in "" --apart; do
		rc=0
		# shellcheck disable=SC2086 # empty means no word
		"$klp_build" lines $form "$original" patched.cc >numbered.cc || rc=$?
		[ "$rc" = 3 ] && continue
		[ "$rc" = 0 ] || fail "seed $seed $form: status $rc"
		tokens c++ numbered.cc >kept || fail "seed $seed $form: the numbered text does not preprocess"
		! grep -q 'directive within macro arguments' said || fail "seed $seed $form: a directive among a macro's arguments"
		cmp -s <(masked <plain) <(masked <kept) || fail "seed $seed $form: it means something else"
		while read -r name _ number; do
			# A line between a comment's backslash and what it joins makes a mark of a comment.
			grep -q "^$name = " wanted || continue
			grep -q "^$name = $number\$" wanted || fail "seed $seed $form: $name has number $number"
		done < <(numbers <kept)
		checked=$((checked + 1))
	done
done
[ "$checked" -ge "$rounds" ] || fail "only $checked of $rounds texts could be checked"

# Real sources: with lines anywhere, the text stays the same for the compiler.
seed=0 real=0
for file in "$tests"/../../tools/klp-build/*.c; do
	edit "$file" "$((++seed))" >patched.c
	tokens c patched.c >plain || continue
	rc=0
	"$klp_build" lines "$file" patched.c >numbered.c || rc=$?
	[ "$rc" = 3 ] && continue
	[ "$rc" = 0 ] || fail "$file, seed $seed: status $rc"
	tokens c numbered.c | cmp -s plain - || fail "$file, seed $seed: it means something else"
	real=$((real + 1))
done
[ "$real" -ge $((seed / 2)) ] || fail "only $real of $seed sources could be checked"

# As many lines inserted as removed, in what is skipped and in what is not: the directives there are lines themselves.
skipped() { # CONDITION
	printf '%s\n' '#define M(n) int m_##n = __LINE__;' "#if $1" 'int a;' 'int b;' 'int c;' '#else' 'M(1)' '#endif' 'M(2)' >one.c
	sed 's/int b;/int inserted;\nint b;/; /int c;/d' one.c >two.c
	"$klp_build" lines one.c two.c >numbered.c || fail "#if $1: nothing is numbered"
	cmp -s <(tokens c one.c | numbers) <(tokens c numbered.c | numbers) || fail "#if $1: other numbers"
}
skipped 0
skipped 1

# A file that numbers its own lines is left alone.
printf 'int a;\n#line 7 "grammar.y"\nint b;\n' >one.c
printf 'int new;\nint a;\n#line 7 "grammar.y"\nint b;\n' >two.c
rc=0
"$klp_build" lines one.c two.c >numbered.c || rc=$?
[ "$rc" = 3 ] || fail "a file with #line was numbered"
# Nothing to do is said by the status.
rc=0
"$klp_build" lines one.c one.c >numbered.c || rc=$?
[ "$rc" = 3 ] || fail "equal files: status $rc"
rc=0
"$klp_build" lines one.c missing.c >numbered.c 2>errors || rc=$?
[ "$rc" = 1 ] && grep -q missing.c errors || fail "a missing file: status $rc"
cd /
nothing_left lines
finish
