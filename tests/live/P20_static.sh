#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A static executable.
. "$(dirname "$0")/lib.sh"
begin
target t "$live/static/target"
readelf -l "$live/static/target" | grep -q INTERP && die "this executable is not static"
expect 41 call answer 4
load fix-static
expect 42 call answer 4
expect_status enabled '.patches[0].state'
unload fix-static
expect 41 call answer 4
