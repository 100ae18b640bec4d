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
	"$klp_build" -s "$tree" -b "${making:-make server} # <b>&\"x\"</b>" -t server "${options[@]}" -n 'n<i>&' -o "$scratch/fix.klp" --report "$report" \
		"$@" "$diff" >"$scratch/out" 2>"$scratch/err" </dev/null || got=$?
	[ "$got" = "$want" ] || fail "exit status $got, expected $want: $(cat "$scratch/err")"
}
# page TEXT...: the page has nothing but its own elements, closed in order, and the texts.
page() {
	grep -oE '<[^>]*>' "$scratch/r.html" | sed -E 's/ [a-z]+="[^"]*"//g' | sort -u >"$scratch/tags"
	grep -vxE '<(!DOCTYPE html|meta|/?(html|title|style|h1|h2|p|code|table|tr|th|td|ul|li|details|summary))>' "$scratch/tags" &&
		fail "the page has elements that are not its own"
	for text; do
		grep -qF -- "$text" "$scratch/r.html" || fail "the page has no $text"
	done
	for tag in html title h1 h2 p code table tr th td ul li details summary; do
		[ "$(grep -oE "<${tag}[ >]" "$scratch/r.html" | wc -l)" = "$(grep -o "</$tag>" "$scratch/r.html" | wc -l)" ] ||
			fail "$tag is not closed as often as it is opened"
	done
}

# Why a function is not in it.
run 0 "${diffs[0]}" "$scratch/r.json" --explain main
[ "$(cat "$scratch/out")" = 'main (loop.c): unchanged: nothing that its unit reads is changed by the diffs' ] || fail "--explain: $(cat "$scratch/out")"
# A mail with a CVE's number in its head, and another one in what is changed, which is not the patch's.
{
	printf 'Subject: probe\n Fixes cve-2031-12345 (and CVE-2031-1, which is none).\n\n'
	cat "${diffs[0]}"
	printf '%s\n' '--- /dev/null' '+++ b/NEWS' '@@ -0,0 +1 @@' '+CVE-2030-0001 was fixed before'
} >"$scratch/CVE-2031-7777.diff"
run 0 "$scratch/CVE-2031-7777.diff" "$scratch/r.json" --explain twice --label 'urgent <b>'
jq -e '.labels == ["urgent <b>", "CVE-2031-7777", "CVE-2031-12345"] and .metadata.labels == .labels' "$scratch/r.json" >/dev/null ||
	fail "the labels: $(jq .labels "$scratch/r.json")"
"$KLP_BUILD/bin/klpctl" info "$scratch/fix.klp" | grep -qx 'labels:      urgent <b>, CVE-2031-7777, CVE-2031-12345' ||
	fail "klpctl info: $("$KLP_BUILD/bin/klpctl" info "$scratch/fix.klp")"
jq -e '.modules[0].size | .file > .text and .text > 0' "$scratch/r.json" >/dev/null || fail "the size: $(jq .modules "$scratch/r.json")"
# The code before and after: instructions, what they refer to, and the lines that they are from.
jq -e '.changed[0] | .size > 0 and .original_size > 0 and
	([.listing.original, .listing.patched][] | map(select(.code)) | length > 2 and .[0].at == 0) and
	(.listing.patched | any(.code // "" | test("twice"))) and (.listing.original | any(.code // "" | test("twice")) | not) and
	([.listing.original, .listing.patched][] | any((.source // "" | test("^main.c:[0-9]+$")) and (.text // "" | test("printf"))))' \
	"$scratch/r.json" >/dev/null || fail "the listing: $(jq '.changed[0]' "$scratch/r.json")"
jq -e '.new[0].listing | has("original") | not' "$scratch/r.json" >/dev/null || fail "a new function has code of the original"
run 0 "$scratch/CVE-2031-7777.diff" "$scratch/r.html" --label 'urgent <b>'
page 'urgent &lt;b&gt;, CVE-2031-7777' 'What a thread must leave' '<summary><code>probe</code> (main.c): ' '<tr class="x">' 'main.c:'
run 2 "${diffs[0]}" "$scratch/r.json" --label $'two\nlines'
run 0 "${diffs[0]}" "$scratch/r.json" --explain twice
jq -e '.labels == []' "$scratch/r.json" >/dev/null || fail "labels out of nowhere: $(jq .labels "$scratch/r.json")"
jq -e '.exit == 0 and .result == "built" and .patch == "n<i>&" and (.changed | map(.symbol) == ["probe"]) and (.new | map(.symbol) == ["twice"])' \
	"$scratch/r.json" >/dev/null || fail "the report: $(cat "$scratch/r.json")"
grep -qx 'new: twice (main.c): .*' "$scratch/out" || fail "--explain: $(cat "$scratch/out")"
run 0 "${diffs[0]}" "$scratch/r.html" --explain no_such_function
page 'n&lt;i&gt;&amp;' '&lt;b&gt;&amp;&quot;x&quot;&lt;/b&gt;' '<td>probe</td>' '<td>twice</td>'
grep -qx 'no_such_function: no unit of the target has this name' "$scratch/out" || fail "--explain: $(cat "$scratch/out")"

# Nothing reads what the diff changes: said, for who wonders why it changes nothing.
echo old >"$tree/NEWS"
printf '%s\n' '--- a/NEWS' '+++ b/NEWS' '@@ -1 +1 @@' '-old' '+new' >"$scratch/news.diff"
run 3 "$scratch/news.diff" "$scratch/r.json"
grep -qx 'klp-build: note: NEWS is changed by the diffs, and no compilation of the target reads it' "$scratch/err" || fail "no note: $(cat "$scratch/err")"

# B2: built with another option than what runs. The two are shown side by side.
making='make server CC="cc -fno-optimize-sibling-calls"'
run 4 "${diffs[0]}" "$scratch/r.json"
jq -e '.refused[] | select(.symbol == "probe") | (.listing.original | any(.code // "" | startswith("jmp"))) and (.listing.patched | any(.code // "" | startswith("call")))' \
	"$scratch/r.json" >/dev/null || fail "the code that is refused: $(jq .refused "$scratch/r.json")"
run 4 "${diffs[0]}" "$scratch/r.html"
page '<th>what runs</th><th>the original, rebuilt</th>' '<tr class="x"><td>'

# An inlined function that the diff changes, and who has a copy of it; the files have other numbers in the two versions of debug information.
rm -rf "$tree"
case_setup B12
for making in 'make server CC="cc -gdwarf-4"' 'make server CC="cc -gdwarf-5"' 'make server'; do
	run 0 "${diffs[0]}" "$scratch/r.json"
	jq -e '.inlined | map([.function, .file, (.into | map("\(.function) \(.file) \(.in_module)") | sort)]) == [["limit", "limit.h", ["other other.c true", "probe main.c true"]]]' \
		"$scratch/r.json" >/dev/null || fail "what is inlined ($making): $(jq -c .inlined "$scratch/r.json")"
done
run 0 "${diffs[0]}" "$scratch/r.html"
page '<td>limit</td><td>limit.h</td><td>'
run 0 "${diffs[0]}" "$scratch/r.json" --explain limit
[ "$(sort "$scratch/out")" = "limit (limit.h): a copy is inlined into other (other.c), which is in the module
limit (limit.h): a copy is inlined into probe (main.c), which is in the module" ] || fail "--explain: $(cat "$scratch/out")"

rm -rf "$tree"
making=
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
