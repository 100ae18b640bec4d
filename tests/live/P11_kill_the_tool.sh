#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of klpctl at random instants: the target lives and answers one of both versions; the next klpctl completes or reverses.
# KLP_SEED=N  the same instants again (the machine's own timing is another one each time)
. "$(dirname "$0")/lib.sh"
begin
start
ask pairs 2 1
seed=${KLP_SEED:-$(($(date +%s%N) / 1000 % 100000000))}
RANDOM=$seed
echo "KLP_SEED=$seed"
n=${KLP_KILLS:-$(full 40 1000)}
killed=0
spans "$(module pair)" pair
span=$((load_takes > unload_takes ? load_takes : unload_takes))
for ((i = 0; killed < n; i++)); do
	[ $i -lt $((5 * n)) ] || die "only $killed of $i tools were killed while they worked"
	kill_a_tool "$(module pair)" pair $span && killed=$((killed + 1))
	alive
	ask mixes
	read -r _ mixes _ <<<"$REPLY"
	[ "$mixes" = 0 ] || die "after $i kills: $mixes mixed observations"
	if ((i % 10 == 9)); then
		load pair
		expect_status 1 '[.patches[] | select(.state == "enabled")] | length'
		ask mixes
		# shellcheck disable=SC2034 # used where wait_for evaluates it
		read -r _ _ _ before <<<"$REPLY"
		wait_for 5 eval 'ask mixes; read -r _ _ _ now <<<"$REPLY"; [ "$now" -gt "$before" ]' || die "after kill $i and a load nobody calls the new code"
		unload pair
		ask mixes
		# shellcheck disable=SC2034 # used where wait_for evaluates it
		read -r _ _ before _ <<<"$REPLY"
		wait_for 5 eval 'ask mixes; read -r _ _ now _ <<<"$REPLY"; [ "$now" -gt "$before" ]' || die "after kill $i and an unload nobody calls the old code"
	fi
done
echo "$killed of $i tools killed, none lost"
