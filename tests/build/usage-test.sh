#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Exit statuses and words of klp-build for what is wrong before anything is compared.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup B01
# expect STATUS REGEX ARGUMENTS...
expect() {
	local want=$1 regex=$2 got=0
	shift 2
	"$klp_build" "$@" >"$scratch/out" 2>&1 </dev/null || got=$?
	[ "$got" = "$want" ] || fail "klp-build $*: exit status $got, expected $want: $(cat "$scratch/out")"
	grep -qE -- "$regex" "$scratch/out" || fail "klp-build $*: '$(cat "$scratch/out")' does not match $regex"
	nothing_left "klp-build $*"
}
all=(-s "$tree" -t server -o "$scratch/fix.klp")
expect 0 'klp-build -s SOURCE' --help
expect 2 'needed: -s' -b make
expect 2 'needed: -b' "${all[@]}" "${diffs[@]}"
expect 2 'no diff' "${all[@]}" -b make
expect 2 'needed: -o' -s "$tree" -t server -b make "${diffs[@]}"
expect 2 'no strip level' "${all[@]}" -b make -p x "${diffs[@]}"
expect 2 'not in the source tree' -s "$tree" -t /bin/true -o "$scratch/fix.klp" -b make "${diffs[@]}"
expect 1 'No such file' "${all[@]}" -b make "$scratch/none.diff"
expect 1 'no directory' -s "$scratch/none" -t server -o "$scratch/fix.klp" -b make "${diffs[@]}"
expect 1 'made no other' -s "$tree" -t other -o "$scratch/fix.klp" -b 'make -s server' "${diffs[@]}"
expect 1 'ended with status 7' "${all[@]}" -b 'exit 7' "${diffs[@]}"
expect 1 'did not see how' "${all[@]}" -b 'printf "#!/bin/sh\n" >server' "${diffs[@]}"
expect 1 'does not apply' "${all[@]}" -b 'make -s server' "$tree/main.c"
expect 4 'main.o.*did not see how it was made' "${all[@]}" -b 'make -s main.o && strip -g main.o && make -s server' "${diffs[@]}"
expect 4 'link-time optimisation' "${all[@]}" -b 'make -s server CFLAGS_CASE=-flto KLP_CFLAGS=' "${diffs[@]}"
expect 2 'compare needs' compare one
expect 2 'lines needs' lines one
[ ! -e "$scratch/fix.klp" ] || fail "there is a module"
finish
