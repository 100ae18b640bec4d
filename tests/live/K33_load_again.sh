#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A load after an unload: several times, in another order, with another patch between, with what is there and what is not said rightly each time.
. "$(dirname "$0")/lib.sh"
begin
start
pairs "$(full 5 50)"
answers() { # OF-answer OF-other OF-third
	expect "$1" call answer 4
	expect "$2" call other 4
	expect "$3" call third 4
}
names() { # NAME...: what is enabled, in stack order
	expect_status "$*" '[.patches | map(select(.enabled)) | sort_by(.stack_order)[].name] | join(" ")'
}
round() {
	load fix
	load fix2
	load fix3
	names fix fix2 fix3
	answers 42 402 4002
	unload "$1"
	unload "$2"
	unload "$3"
	names
	answers 41 401 4001
}
round fix fix2 fix3
round fix3 fix2 fix
round fix2 fix3 fix
# The one that comes again is the newest: it covers what was stacked on it before.
load fix
load top
answers 43 401 4001
unload fix
load fix
names top fix
answers 42 401 4001
unload top
answers 42 401 4001
# Another patch between.
for between in fix2 fix3 top; do
	unload fix
	load $between
	load fix
	[ $between = top ] || names $between fix
	expect 42 call answer 4
	unload $between
	names fix
	answers 42 401 4001
done
# Twice the same: said to be so already, with nothing done.
before=$(fingerprint "$(p)")
load fix
expect_result skipped .result
[ "$(fingerprint "$(p)")" = "$before" ] || die "a load of what is loaded changed the target"
unload fix
unload fix
expect_result skipped .result
answers 41 401 4001
# A replaced patch can be loaded again.
load fix
load all --replace
names all
answers 41 401 4003
load fix
names all fix
answers 42 401 4003
unload all
unload fix
answers 41 401 4001
# The file of the module may be gone between load and unload, and a copy of it is the same patch.
cp "$(module fix)" "$work/copy.klp"
ctl 0 load -v --json -p "$(p)" "$work/copy.klp"
rm "$work/copy.klp"
load fix
expect_result skipped .result
unload fix
names
answers 41 401 4001
