#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads on 16 KiB stacks and handlers on a minimal alternate stack call patched functions, directly and through the trampoline.
. "$(dirname "$0")/lib.sh"
begin
start
ask stacks
ask signals 1024
ask pairs 1 1
pairs "$(full 10 100)"
load small
load handled
expect 7 call small_stack 5
unload handled
unload small
asleep
RC=5 load pairsleep --timeout 0.5
sleep 1
expect_status patching '.patches[0].transition.direction'
ask wake
load pairsleep
sleep 0.2
unload pairsleep
ask small
read -r calls wrong <<<"$REPLY"
[ "$wrong" = 0 ] && [ "$calls" -gt 100 ] || die "small stacks: $wrong of $calls wrong"
ask handled
read -r calls wrong intact <<<"$REPLY"
[ "$wrong" = 0 ] && [ "$calls" -gt 100 ] || die "handlers: $wrong of $calls wrong"
[ "$intact" = 1 ] || die "the alternate stack was overrun"
ask mixes
read -r calls mixes _ <<<"$REPLY"
[ "$mixes" = 0 ] || die "$mixes of $calls observations were mixed"
