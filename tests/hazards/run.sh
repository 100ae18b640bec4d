#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Takes one rule after the other out of a copy of the tree and demands that its test then fails. See README.md.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mutations=$here/mutations
all=${KLP_FULL:-0}
names=()

usage() {
	cat <<END
usage: run.sh [--check | --list] [--all] [--alone | --beside] [--tested] [NAME...]
  NAME     a mutation, or the beginning of its name (A5 means A5-*); default: all that are not marked slow
  --all    the slow ones too (also with KLP_FULL=1)
  --beside only those whose test may run beside others; --alone only the others
  --tested who calls this runs the tests with all rules in: here only those are run that are skipped without one
  --list   the mutations: name, test, rule
  --check  only that every mutation still fits the tree and that docs/hazards.md names it
KLP_HAZARD_DIR  keep the tree and the build there, and use them again
KLP_LIVE        targets and modules of the live tests that this tree has built already
END
}

action=run tested=0 company=
while [ $# -gt 0 ]; do
	case $1 in
	--all) all=1 ;;
	--tested) tested=1 ;;
	--alone | --beside) company=${1#--} ;;
	--list | --check) action=${1#--} ;;
	-h | --help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) names+=("$1") ;;
	esac
	shift
done

get() { python3 "$here/mutate.py" get "$mutations/$1" "$2"; }

selected=()
for f in "$mutations"/*; do
	name=${f##*/}
	take=0
	for n in ${names[@]+"${names[@]}"}; do
		case $name in "$n" | "$n"-*) take=1 ;; esac
	done
	[ ${#names[@]} = 0 ] && { [ "$all" = 1 ] || [ "$action" != run ] || [ "$(get "$name" slow)" != yes ]; } && take=1
	[ $take = 1 ] && selected+=("$name")
done
[ ${#selected[@]} -gt 0 ] || { echo "no mutation of this name: ${names[*]}" >&2; exit 2; }

if [ $action = list ]; then
	for name in "${selected[@]}"; do printf '%s\t%s\t%s\n' "$name" "$(get "$name" test)" "$(get "$name" rule)"; done
	exit 0
fi

bad=0
complain() {
	printf 'FAILED: %s\n' "$*" >&2
	bad=$((bad + 1))
}

if [ $action = check ]; then
	said=$(cd "$mutations" && python3 "$here/mutate.py" check "$root" "${selected[@]}" 2>&1) || complain "$said"
	for name in "${selected[@]}"; do
		grep -qF -- "\`$name\`" "$root/docs/hazards.md" || complain "docs/hazards.md does not name $name"
	done
	while read -r name; do
		[ -e "$mutations/$name" ] || complain "docs/hazards.md names $name, which does not exist"
	done < <(grep -oE '`[A-Z][0-9]+-[a-z0-9-]+`' "$root/docs/hazards.md" | tr -d '`' | sort -u)
	echo "${#selected[@]} mutations, $bad complaints"
	[ $bad = 0 ]
	exit
fi

git -C "$root" rev-parse --git-dir >/dev/null 2>&1 || { echo "SKIPPED: not a git checkout" >&2; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-hazards.XXXXXX") || exit 1
dir=${KLP_HAZARD_DIR:-$work}
dir=$(realpath "$dir")
mkdir -p "$dir/tree" "$work/fresh" "$work/tmp" "$work/logs" || exit 1
cleanup() {
	local status=$?
	trap - EXIT INT TERM
	[ -z "${undo:-}" ] || take_back
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What git knows and does not ignore, as it stands in the working tree. Files that have not changed keep their time, for ninja.
git -C "$root" ls-files -zco --exclude-standard | tar -C "$root" --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -C "$work/fresh" -xf - || exit 1
(
	cd "$work/fresh" && find . -type f -print0 | while IFS= read -r -d '' f; do
		cmp -s "$f" "$dir/tree/$f" && continue
		mkdir -p "$dir/tree/${f%/*}" && cp -p "$f" "$dir/tree/$f" && touch "$dir/tree/$f"
	done
	cd "$dir/tree" && find . -type f -print0 | while IFS= read -r -d '' f; do [ -e "$work/fresh/$f" ] || rm -f "$f"; done
)

# needs TEST...: what these tests run of the build directory; a script runs the tools. (ctest names no command that is not built yet.)
needs() {
	local t line word
	for t; do
		line=$(find "$dir/build" -name CTestTestfile.cmake -exec grep -hE "^add_test\((\[=\[)?$t(\]=\])? " {} +)
		grep -oE '"[^"]*"' <<<"$line" | tr -d '"' | while read -r word; do
			case $word in
			"$dir/build/"*) if [ -d "$word" ]; then echo "${word#"$dir/build/"}/all"; else echo "${word#"$dir/build/"}"; fi ;;
			*.sh) printf 'bin/%s\n' klpctl klp-build live_uprobe live_midway live_entered live_adopted live_lateness live_reopened live_reused live_oversleeps live_watch_fails ;;
			esac
		done
	done | sort -u
}
build() { # TARGET...
	[ $# -gt 0 ] && cmake --build "$dir/build" -j 2 --target "$@" >"$work/logs/build" 2>&1
}
configured=0
cmake -S "$dir/tree" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$work/logs/configure" 2>&1 || configured=$?
# What ctest runs alone it says itself.
if [ $configured = 0 ] && [ -n "$company" ]; then
	alone=$(ctest --test-dir "$dir/build" --show-only=json-v1 2>/dev/null | jq -r '.tests[] | select(any(.properties[]; .name == "RUN_SERIAL" and .value)) | .name')
	[ -n "$alone" ] || { echo "FAILED: ctest says of no test that it runs alone" >&2; exit 1; }
	all_selected=("${selected[@]}") selected=()
	for name in "${all_selected[@]}"; do
		if grep -qxF -- "$(get "$name" test)" <<<"$alone"; then is=alone; else is=beside; fi
		[ $is != "$company" ] || selected+=("$name")
	done
	[ ${#selected[@]} -gt 0 ] || { echo "no mutation whose test runs $company"; exit 0; }
fi
tests=()
for name in "${selected[@]}"; do tests+=("$(get "$name" test)"); done
if [ $configured != 0 ] || ! { mapfile -t wanted < <(needs "${tests[@]}") && build "${wanted[@]}"; }; then
	tail -n 40 "$work/logs/configure" "$work/logs/build" >&2
	echo "FAILED: the tree does not build unmutated" >&2
	exit 1
fi

# once TEST: its outcome in $outcome (Passed, Failed, Skipped, Timeout, missing), what it said in $work/logs/test. Scratch files are ours.
once() {
	TMPDIR=$work/tmp ctest --test-dir "$dir/build" -R "^$1\$" -FA '.*' --no-tests=error --timeout "${2:-120}" --output-on-failure \
		>"$work/logs/test" 2>&1
	outcome=$(sed -nE 's/^1\/1 Test +#[0-9]+: .*(Passed|Skipped|Timeout|Failed|Exception|Not Run).*/\1/p' "$work/logs/test" | head -1)
	[ -n "$outcome" ] || outcome=missing
	rm -rf "$work/tmp" && mkdir "$work/tmp"
}
said() { grep -aE -m1 -- "$1" "$work/logs/test" | sed "s#$dir/tree/##g" | tr '\t' ' ' | cut -c1-200; }
skipped() { grep -aE -m1 'SKIPPED' "$work/logs/unmutated.$test"; }
take_back() {
	local f
	for f in $undo; do cp "$work/fresh/$f" "$dir/tree/$f"; done
	undo=
}

live=0
for name in "${selected[@]}"; do
	case $(get "$name" test) in [A-Z][0-9][0-9]_* | hazard_A08_where_* | hazard_A1[04]_* | hazard_B02_*) live=1 ;; esac
done
if [ $live = 1 ]; then
	if [ -z "${KLP_LIVE:-}" ]; then
		export KLP_LIVE=$dir/build/live
		made_of=$(cd "$dir/tree" && cat "$dir/build/bin/klp-build" tests/live/target/* tests/live/modules.list tests/live/{setup,lib}.sh | sha256sum)
		if [ "$made_of" != "$(cat "$KLP_LIVE/made_of" 2>/dev/null)" ]; then
			once live_modules 900
			[ "$outcome" = Passed ] || { cat "$work/logs/test" >&2; echo "FAILED: the modules of the live tests are not built" >&2; exit 1; }
			echo "$made_of" >"$KLP_LIVE/made_of"
		fi
	fi
	[ -s "$KLP_LIVE/modules/fix.klp" ] || { echo "FAILED: KLP_LIVE has no modules" >&2; exit 1; }
fi

# with_rules TEST: its outcome with all rules in, in unmutated[TEST]
declare -A unmutated needed
with_rules() {
	once "$1"
	unmutated[$1]=$outcome
	[ "$outcome" = Passed ] || cp "$work/logs/test" "$work/logs/unmutated.$1"
}
# All tests, before the first rule is taken out.
for test in "${tests[@]}"; do
	[ -z "${unmutated[$test]:-}" ] || continue
	needed[$test]=$(needs "$test")
	if [ $tested = 1 ]; then unmutated[$test]=caller; else with_rules "$test"; fi
done

row() { printf '%-34s %-32s %-9s %-8s %4ss  %s\n' "$@"; }
row MUTATION TEST WITH WITHOUT '' 'what was seen without the rule'
for name in "${selected[@]}"; do
	began=$SECONDS
	test=$(get "$name" test)
	shows=$(get "$name" shows)
	tries=$(get "$name" tries)
	undo=
	with=${unmutated[$test]}
	without=-
	what=
	if [ "$with" = Skipped ]; then
		what=$(skipped)
	elif [ "$with" != Passed ] && [ "$with" != caller ]; then
		complain "$name: $test does not pass with the rule in: $with"
		cat "$work/logs/unmutated.$test" >&2
	elif ! said=$(python3 "$here/mutate.py" apply "$mutations/$name" "$dir/tree" 2>&1); then
		complain "$name: $said"
	else
		undo=$(get "$name" files)
		# No build of the unmutated tree between two mutations: each starts from the sources as they are.
		mapfile -t wanted <<<"${needed[$test]}"
		if ! build "${wanted[@]}"; then
			without=build
			complain "$name: the tree does not build without the rule: $(grep -m3 -E 'error|FAILED' "$work/logs/build")"
		else
			for ((try = 0; try < ${tries:-1}; try++)); do
				once "$test"
				[ "$outcome" = Passed ] || break
			done
			without=$outcome
			what=$(said "$shows")
			if [ "$outcome$tested" = Skipped1 ]; then # with the rule too?
				take_back
				build "${wanted[@]}" && with_rules "$test"
				with=${unmutated[$test]} outcome=Skipped
			fi
			case $outcome in
			Passed) complain "$name: $test passes without the rule" ;;
			Skipped) if [ "$with" = Skipped ]; then what=$(skipped); else complain "$name: $test is skipped without the rule"; fi ;;
			missing | 'Not Run') complain "$name: $test was not run without the rule: $outcome" ;;
			*)
				if [ -z "$what" ]; then
					complain "$name: $test fails without the rule, but nothing matches '$shows':"
					tail -30 "$work/logs/test" >&2
				fi
				;;
			esac
		fi
		[ -z "$undo" ] || take_back
	fi
	row "$name" "$test" "$with" "$without" $((SECONDS - began)) "$what"
done
echo "${#selected[@]} mutations in $SECONDS s: $bad complaints"
[ $bad = 0 ]
