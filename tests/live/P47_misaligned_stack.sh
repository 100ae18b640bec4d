#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A leaf that is entered with a misaligned stack: through the trampoline and directly.
. "$(dirname "$0")/lib.sh"
begin
[ "$(uname -m)" = x86_64 ] || skip "only x86_64 compilers enter functions with a misaligned stack"
start
expect 5 misaligned leaf 4
asleep
RC=5 load leafsleep --timeout 0.5
expect_status patching '.patches[0].transition.direction'
for i in 1 2 3; do
	ask misaligned leaf 4
	case $REPLY in 5 | 6) ;; *) die "through the trampoline it answered $REPLY" ;; esac
done
expect_status patching '.patches[0].transition.direction'
ask wake
load leafsleep
expect 6 misaligned leaf 4
unload leafsleep
expect 5 misaligned leaf 4
