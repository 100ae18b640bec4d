#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh NAME SECONDS [OPTION...]: runs a fuzzer from the seeds and the corpus in the tree; further options are libFuzzer's. What it finds is
# kept in the build directory (fuzz-found/), with $KLP_FUZZ_CORPUS also the inputs that reach new code.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${KLP_BUILD:?the build directory}
name=$1 seconds=$2
shift 2
seeds=$build/tests/fuzz/seeds
fuzzer=$build/bin/fuzz_$name
[ -x "$fuzzer" ] || { echo "FAILED: $fuzzer is not built" >&2; exit 1; }
[ -d "$seeds/$name" ] || { echo "FAILED: no seeds: run seeds.sh first" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-fuzz.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$build/fuzz-found" "$work/tmp" "$work/corpus" "$work/kept"
if [ -e "$here/corpus/$name.tar.xz" ]; then
	tar -C "$work/kept" -xJf "$here/corpus/$name.tar.xz" || { echo "FAILED: $name.tar.xz cannot be read" >&2; exit 1; }
fi
export TMPDIR=$work/tmp
corpora=("${KLP_FUZZ_CORPUS:-$work/corpus}")
for dir in "$here/corpus/$name" "$work/kept" "$seeds/$name"; do [ -d "$dir" ] && corpora+=("$dir"); done
export KLP_FUZZ_OBJECT=$seeds/good.o KLP_FUZZ_OBJECT_RISCV64=$here/corpus/object/riscv64 KLP_FUZZ_MODULE=$seeds/good.klp KLP_FUZZ_PROCESS=$seeds/process

# A crash inside a library that is not klp's, which is not built with instrumentation: $1 is its name. The frames of the sanitizers and of the
# C library above it do not count.
not_ours() {
	[ -n "$1" ] && awk '/^ +#[0-9]+ 0x/ && !/interceptor|__asan|__sanitizer|__ubsan|libc\.so|raise|abort|\/build\/glibc/ { print; exit }' "$work/log" | grep -q "/$1\.so"
}
library=
# Debian's libdwarf is known to free twice, and to read beyond its sections, when they are damaged; klp-build's worker then ends, its
# supervisor says so and clears up.
# It also asks for as much memory as a section claims to need.
if [ "$name" = dwarf ]; then
	library=libdwarf
	export ASAN_OPTIONS=allocator_may_return_null=1
	set -- -malloc_limit_mb=1000000 "$@"
fi
# Words of a command line live as long as the tool, which ends soon.
[ "$name" = database ] && export ASAN_OPTIONS=detect_leaks=0
[ "$name" = linked ] || [ "$name" = database ] && set -- -close_fd_mask=3 "$@" # it says what is wrong with the file; findings are printed all the same

end=$((SECONDS + seconds)) theirs=0 first=1
while [ $first = 1 ] || [ $SECONDS -lt $end ]; do
	first=0
	left=$((end - SECONDS))
	"$fuzzer" -max_total_time=$((left > 0 ? left : 1)) -timeout=60 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 \
		-artifact_prefix="$build/fuzz-found/$name-" "$@" "${corpora[@]}" >"$work/log" 2>&1 && break
	if not_ours "$library"; then
		theirs=$((theirs + 1))
		found=$(sed -n 's/.*Test unit written to //p' "$work/log")
		[ -z "$found" ] || rm -f "$found"
		continue
	fi
	tail -n 60 "$work/log" >&2
	echo "FAILED: fuzz_$name: the input is in $build/fuzz-found" >&2
	exit 1
done
grep -E 'stat::(number_of_executed_units|new_units_added)|cov:' "$work/log" | tail -3
[ $theirs = 0 ] || echo "$theirs times a crash in $library"
