#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Patched code calls original code and the other way round.
. "$(dirname "$0")/lib.sh"
begin
start
expect 10 call middle 4
load middle
expect 21 call middle 4
unload middle
expect 10 call middle 4
load leaf
expect 12 call middle 4
expect 6 call leaf 4
load middle
expect 26 call middle 4
unload leaf
expect 21 call middle 4
unload middle
expect 10 call middle 4
load middleleaf
expect 18 call middle 4
unload middleleaf
expect 10 call middle 4
