#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two patches of different functions; the second goes first.
. "$(dirname "$0")/lib.sh"
begin
start
load fix
load fix2
expect 42 call answer 4
expect 402 call other 4
expect_status 'fix fix2' '[.patches | sort_by(.stack_order)[].name] | join(" ")'
unload fix2
expect 42 call answer 4
expect 401 call other 4
unload fix
expect 41 call answer 4
expect 401 call other 4
