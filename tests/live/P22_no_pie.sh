#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An executable that is linked at a fixed address.
. "$(dirname "$0")/lib.sh"
begin
readelf -h "$live/no-pie/target" | grep -q 'Type: *EXEC' || die "this executable has no fixed address"
target t "$live/no-pie/target"
load fix-no-pie
expect 42 call answer 4
expect 0 grow
unload fix-no-pie
expect 41 call answer 4
