#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh MODEL holds|refuted FLAG...: explores the model exhaustively. `holds` passes if spin finds no error and has looked at every state;
# `refuted` passes if an assertion of the model fails (an invalid end state or an unfinished search is not a refutation).
set -u
model=$1 expect=$2
shift 2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cp "$model" "$dir/klp.pml" && cd "$dir" || exit 1
ends=
case " $* " in *" -DFORK "* | *" -DKNOWN="*) ends=-E ;; esac # what the child's snapshot leaves behind stands still anywhere
spin -a "$@" klp.pml >spin.out 2>&1 || { cat spin.out; exit 1; }
[ -f pan.c ] || { cat spin.out; exit 1; }
optimise=-O1
[ "$expect" = refuted ] && optimise=-O0 # one run is soon found: compiling costs more
${CC:-cc} $optimise -w -DSAFETY -DNOREDUCE -DVECTORSZ=512 -DMEMLIM=6000 -o pan pan.c || exit 1
./pan $ends -m200000 -w22 >pan.out 2>&1
grep -E 'pan:|states, stored|errors:' pan.out
if grep -qE 'max search depth too small|out of memory|Search not completed|reached -DMEMLIM' pan.out && [ "$expect" = holds ]; then
	echo "the search is not exhaustive"
	exit 1
fi
case $expect in
holds) grep -q 'errors: 0' pan.out ;;
refuted) grep -q 'pan:1: assertion violated' pan.out ;;
*) exit 1 ;;
esac
status=$?
[ $status = 0 ] || { echo "expected: $expect"; [ -f klp.pml.trail ] && spin "$@" -t -p klp.pml | grep proc | tail -80; }
exit $status
