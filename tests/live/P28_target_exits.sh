#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The target exits or is killed at random instants of a load or an unload: klpctl ends with a reason, soon, and leaves nothing behind.
. "$(dirname "$0")/lib.sh"
begin
before=$(pgrep -x klpctl | wc -l)
early=0 late=0
start
spans "$(module fix)" fix
printf 'quit\n' >&"${wfd[$cur]}"
wait "$(p)"
unset "pid[$cur]"
for ((i = 0; i < $(full 40 400); i++)); do
	start "t$i"
	takes=$load_takes words=(load -p "$(p)" "$(module fix)")
	if ((i / 2 % 2)); then
		load fix
		takes=$unload_takes words=(unload -p "$(p)" fix)
	fi
	"$klpctl" "${words[@]}" --json >"$work/json" 2>"$work/events" &
	tool=$!
	instant $takes
	if ((i % 2)); then kill -KILL "$(p)"; else printf 'quit\n' >&"${wfd[$cur]}"; fi
	end=$((SECONDS + 20))
	while kill -0 $tool 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.01; done
	kill -0 $tool 2>/dev/null && die "klpctl hangs after its target has gone"
	wait $tool
	rc=$?
	case $rc in
	0) late=$((late + 1)) ;;
	1 | 3 | 4) early=$((early + 1)) ;;
	*) die "exit status $rc when the target ended: $(cat "$work/json")" ;;
	esac
	wait "$(p)" 2>/dev/null
	rc=$?
	case $rc in 0 | 137) ;; *) die "the target ended with status $rc" ;; esac
	eval "exec ${wfd[$cur]}>&- ${rfd[$cur]}<&-"
	unset "pid[$cur]"
done
echo "$early ended before the command was done, $late after"
[ $early -gt 0 ] || die "no target ended during a command: nothing was tried"
[ "$(pgrep -x klpctl | wc -l)" -le "$before" ] || echo "NOTE: other klpctl run on this machine"
