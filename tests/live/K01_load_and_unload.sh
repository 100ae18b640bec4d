#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A load changes the answer, with the kernel's events; an unload gives it back.
. "$(dirname "$0")/lib.sh"
begin
start
expect 41 call answer 4
before=$(text_print "$(p)")
load fix
events "enabling patch 'fix'" "'fix': initializing patching transition" "'fix': starting patching transition" \
	"'fix': completing patching transition" "'fix': patching complete"
expect_result "done" .result
expect_result fix .patch
expect_result 1 .functions
expect 42 call answer 4
expect_status enabled '.patches[0].state'
[ "$(text_print "$(p)")" != "$before" ] || die "the text did not change: nothing was armed"
RC=0 load fix
expect_result skipped .result
unload fix
events "'fix': initializing unpatching transition" "'fix': starting unpatching transition" "'fix': completing unpatching transition" \
	"'fix': unpatching complete"
expect 41 call answer 4
expect_status 0 '[.patches[] | select(.state == "enabled")] | length'
[ "$(text_print "$(p)")" = "$before" ] || die "the program's text is not what it was before the load"
unload fix
expect_result skipped .result
alive
