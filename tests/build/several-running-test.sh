#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several builds of one source run: one module for each, named after its build-id, which is loaded into the program that it is for and applies to no other. If
# one of them is refused there is none.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup B03
# The same code at other places; other code; what is the first one once more.
make -s server LDFLAGS_CASE='-Wl,-z,noseparate-code -Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567'
cp server ../server.other
make_clean
sed 's/== .x./== 0x78 + (input[0] == 1)/' main.c >../main.c && mv main.c ../kept.c && mv ../main.c .
make -s server LDFLAGS_CASE=-Wl,--build-id=0xfedcba9876543210
cp server ../server.wrong
make_clean
mv ../kept.c main.c
cp ../server.shipped ../server.again

# build STATUS RUNNING...
build() {
	local want=$1 got=0 files=()
	shift
	for file; do files+=(--running "$file"); done
	rm -rf "$scratch/out"
	mkdir "$scratch/out"
	# shellcheck disable=SC2154 # set by case_setup
	"$klp_build" -s "$tree" -b 'make server' -t server "${files[@]}" -n fix -o "$scratch/out/fix.klp" --report "$scratch/report.json" "${diffs[0]}" \
		>"$scratch/words" 2>&1 </dev/null || got=$?
	[ "$got" = "$want" ] || fail "exit status $got, expected $want: $(cat "$scratch/words")"
}
# answers FILE EXPECTED MODULE STATUS: what it says with that module.
answers() {
	local rc=0
	mkfifo "$scratch/to" "$scratch/from"
	"$1" <"$scratch/to" >"$scratch/from" &
	pid=$!
	trap 'kill -KILL "$pid" 2>/dev/null || :; rm -rf "$scratch"' EXIT
	exec {to}>"$scratch/to" {from}<"$scratch/from"
	rm "$scratch/to" "$scratch/from"
	echo x >&"$to"
	read -r -t 20 got <&"$from" || fail "no answer"
	[ "$got" = 1 ] || fail "before the load: $got"
	"$klpctl" load -p "$pid" "$3" >"$scratch/words" 2>&1 || rc=$?
	[ "$rc" = "$4" ] || fail "klpctl load $3: exit status $rc, expected $4: $(cat "$scratch/words")"
	echo x >&"$to"
	read -r -t 20 got <&"$from" || fail "no answer"
	[ "$got" = "$2" ] || fail "$1 with $3: $got, expected $2"
	exec {to}>&- {from}<&-
	wait "$pid" || fail "the program ended with status $?"
}

build 0 ../server.shipped ../server.other
jq -e '.exit == 0 and .output == null and (.modules | length == 2) and (.notes | unique | length) == (.notes | length)' "$scratch/report.json" >/dev/null ||
	fail "the report: $(cat "$scratch/report.json")"
first=$(jq -r '.modules[0].output' "$scratch/report.json") other=$(jq -r '.modules[1].output' "$scratch/report.json")
[ "$other" = "$scratch/out/fix-0123456789ab.klp" ] || fail "it is called $other"
[ "$(find "$scratch/out" -type f | sort)" = "$(printf '%s\n' "$first" "$other" | sort)" ] || fail "the modules: $(ls "$scratch/out")"
[ -n "${KLP_CROSS_ARCH:-}" ] || {
	answers ../server.shipped 2 "$first" 0
	answers ../server.other 2 "$other" 0
	answers ../server.other 1 "$first" 3
	cp "$first" "$scratch/first"
}
build 0 ../server.shipped
[ "$(ls "$scratch/out")" = fix.klp ] || fail "the module: $(ls "$scratch/out")"
[ ! -f "$scratch/first" ] || cmp -s "$scratch/first" "$scratch/out/fix.klp" || fail "the module is another one if there are several"
build 4 ../server.shipped ../server.wrong
[ -z "$(ls "$scratch/out")" ] || fail "one was made although another was refused: $(ls "$scratch/out")"
jq -e '.exit == 4 and (.refused | length > 0) and (.notes | any(test("server.wrong"))) and (has("modules") | not)' "$scratch/report.json" >/dev/null ||
	fail "the report: $(cat "$scratch/report.json")"
build 1 ../server.shipped ../server.again
grep -q 'have the same build-id' "$scratch/words" || fail "what it says: $(cat "$scratch/words")"
[ -z "$(ls "$scratch/out")" ] || fail "one was made: $(ls "$scratch/out")"
nothing_left "several files"
finish
