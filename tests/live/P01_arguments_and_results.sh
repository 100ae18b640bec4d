#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ten integer, ten floating-point and stack arguments, a struct returned in memory, a varargs function, vector registers: unchanged on the direct path
# and, while a transition is pending, through the trampoline.
. "$(dirname "$0")/lib.sh"
begin
# The transition stays pending because another function of the same patch sleeps: so the module holds both.
start
expect 4262 many
expect '7 18 7.5' huge
expect 39 varargs
expect 4.75 vector
load many
expect 4263 many
expect '7 18 7.75' huge
expect 40 varargs
expect 5.75 vector
unload many
expect 4262 many
expect '7 18 7.5' huge
# Through the trampoline: the sleeper is in the old universe, so every call is dispatched until it wakes.
asleep
RC=5 load manysleep --timeout 0.5
expect_status patching '.patches[0].transition.direction'
ask many
[ "$REPLY" = 4262 ] || [ "$REPLY" = 4263 ] || die "through the trampoline: many answered $REPLY"
ask huge
[ "$REPLY" = '7 18 7.5' ] || [ "$REPLY" = '7 18 7.75' ] || die "through the trampoline: huge answered $REPLY"
ask varargs
[ "$REPLY" = 39 ] || [ "$REPLY" = 40 ] || die "through the trampoline: varargs answered $REPLY"
ask vector
[ "$REPLY" = 4.75 ] || [ "$REPLY" = 5.75 ] || die "through the trampoline: vector answered $REPLY"
for _ in 5 6 7; do
	ask varargs
done
expect_status patching '.patches[0].transition.direction'
unload manysleep
expect 4262 many
expect '7 18 7.5' huge
