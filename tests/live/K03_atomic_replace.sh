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
expect_status 1 '[.patches[] | select(.state == "enabled")] | length'
expect_status all '[.patches[] | select(.state == "enabled")][0].name'
expect_status true '[.patches[] | select(.name == "all")][0].replace'
unload all
expect 41 call answer 4
expect 401 call other 4
expect 4001 call third 4
