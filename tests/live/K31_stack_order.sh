#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# When the middle patch goes the others are numbered anew.
. "$(dirname "$0")/lib.sh"
begin
start
load fix
load fix2
load fix3
expect_status '1 2 3' '[(.patches[] | select(.name == "fix") | .stack_order), (.patches[] | select(.name == "fix2") | .stack_order), (.patches[] | select(.name == "fix3") | .stack_order)] | map(tostring) | join(" ")'
unload fix2
expect_status '1 2' '[(.patches[] | select(.name == "fix") | .stack_order), (.patches[] | select(.name == "fix3") | .stack_order)] | map(tostring) | join(" ")'
expect 42 call answer 4
expect 401 call other 4
expect 4002 call third 4
