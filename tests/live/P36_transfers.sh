#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 1 MiB writes on pipe, TCP, AF_UNIX and a sendfile during loads: none is cut short.
. "$(dirname "$0")/lib.sh"
begin
start
ask transfers
sleep 0.3
pairs "$(full 30 500)"
pairs "$(full 30 500)" --no-samples # threads that run are interrupted
ask transferred
echo "$REPLY"
while read -r kind count cut; do
	[ "$cut" = 0 ] || die "$kind: $cut of $count were cut short"
	[ "$count" -gt 3 ] || die "$kind: only $count transfers, nothing was tried"
done < <(tr ';' '\n' <<<"$REPLY" | grep .)
