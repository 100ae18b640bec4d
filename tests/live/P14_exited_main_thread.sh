#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main thread has exited; the process lives in its other threads.
. "$(dirname "$0")/lib.sh"
begin
start t --without-main
wait_for 5 grep -q '^State:.Z' "/proc/$(p)/task/$(p)/status" || die "the main thread did not exit"
load fix
expect 42 call answer 4
expect_status enabled '.patches[0].state'
unload fix
expect 41 call answer 4
