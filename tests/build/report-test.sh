#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The report in both forms and --explain: valid whatever the names are, for a module that is built and for one that is refused.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup B03

# run STATUS DIFF REPORT [OPTION]...: klp-build with a command and a patch name full of markup.
run() {
	local want=$1 diff=$2 report=$3 got=0
	shift 3
	# shellcheck disable=SC2154 # set by case_setup
	"$klp_build" -s "$tree" -b 'make server # <b>&"x"</b>' -t server "${options[@]}" -n 'n<i>&' -o "$scratch/fix.klp" --report "$report" \
		"$@" "$diff" >"$scratch/out" 2>"$scratch/err" </dev/null || got=$?
	[ "$got" = "$want" ] || fail "exit status $got, expected $want: $(cat "$scratch/err")"
}
# page TEXT...: the page has nothing but its own elements, closed in order, and the texts.
page() {
	grep -oE '<[^>]*>' "$scratch/r.html" | sed -E 's/ [a-z]+="[^"]*"//g' | sort -u >"$scratch/tags"
	grep -vxE '<(!DOCTYPE html|meta|/?(html|title|style|h1|h2|p|code|table|tr|th|td|ul|li))>' "$scratch/tags" &&
		fail "the page has elements that are not its own"
	for text; do
		grep -qF -- "$text" "$scratch/r.html" || fail "the page has no $text"
	done
	for tag in html title h1 h2 p code table tr th td ul li; do
		[ "$(grep -oE "<${tag}[ >]" "$scratch/r.html" | wc -l)" = "$(grep -o "</$tag>" "$scratch/r.html" | wc -l)" ] ||
			fail "$tag is not closed as often as it is opened"
	done
}

run 0 "${diffs[0]}" "$scratch/r.json" --explain twice
jq -e '.exit == 0 and .result == "built" and .patch == "n<i>&" and (.changed | map(.symbol) == ["probe"]) and (.new | map(.symbol) == ["twice"])' \
	"$scratch/r.json" >/dev/null || fail "the report: $(cat "$scratch/r.json")"
grep -qx 'new: twice (main.c): .*' "$scratch/out" || fail "--explain: $(cat "$scratch/out")"
run 0 "${diffs[0]}" "$scratch/r.html" --explain no_such_function
page 'n&lt;i&gt;&amp;' '&lt;b&gt;&amp;&quot;x&quot;&lt;/b&gt;' '<td>probe</td>' '<td>twice</td>'
grep -qx 'no_such_function: not among the differences' "$scratch/out" || fail "--explain: $(cat "$scratch/out")"

rm -rf "$tree"
case_setup B20
run 4 "${diffs[0]}" "$scratch/r.json"
symbol=$(jq -r '.refused[0].symbol' "$scratch/r.json")
jq -e '.exit == 4 and .output == null and (.refused[0] | .reason != "" and .advice != "")' "$scratch/r.json" >/dev/null ||
	fail "the report: $(cat "$scratch/r.json")"
run 4 "${diffs[0]}" "$scratch/r.html" --explain "$symbol"
page "<td>$symbol</td>" '<h2>Refused</h2>'
grep -q "^refused: $symbol " "$scratch/out" || fail "--explain: $(cat "$scratch/out")"
nothing_left report
finish
