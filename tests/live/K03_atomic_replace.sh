#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three patches, then one that replaces them: only its effect and one entry remain (K03, K30).
. "$(dirname "$0")/lib.sh"
begin
start
load fix
load fix2
load fix3
expect 4002 call third 4
load all --replace
expect 41 call answer 4
expect 401 call other 4
expect 4003 call third 4
expect_status 1 '.patches | length'
expect_status all '.patches[0].name'
expect_status enabled '.patches[0].state'
expect_status true '.patches[0].replace'
unload all
expect_status 0 '.patches | length'
expect 41 call answer 4
expect 401 call other 4
expect 4001 call third 4
