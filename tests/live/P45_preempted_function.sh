#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# LD_PRELOAD preempts an exported function that a patch changes: refused, for nobody would ever call the new one.
. "$(dirname "$0")/lib.sh"
begin
target t env LD_PRELOAD="$live/dynamic/preload.so" "$live/dynamic/target"
expect 1012 call aux_exported 4
before=$(fingerprint "$(p)")
RC=4 load auxexp
expect_reason PREEMPTED
[ "$(fingerprint "$(p)")" = "$before" ] || die "a refused load changed the target"
expect 1012 call aux_exported 4
start plain
expect 13 call aux_exported 4
load auxexp
expect 14 call aux_exported 4
