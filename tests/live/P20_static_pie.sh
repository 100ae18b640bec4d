#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A static-pie executable.
. "$(dirname "$0")/lib.sh"
begin
target t "$live/static-pie/target"
readelf -l "$live/static-pie/target" | grep -q INTERP && die "this executable is not static"
expect 41 call answer 4
load fix-static-pie
expect 42 call answer 4
expect_status enabled '.patches[0].state'
unload fix-static-pie
expect 41 call answer 4
