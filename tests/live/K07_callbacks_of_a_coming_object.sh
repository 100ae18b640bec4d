#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K07, K08, K12: an object comes while klpctl watches: its pre_patch and post_patch callbacks run then, and when it goes those of the unpatching. A
# pre_patch that refuses leaves the object as it is, and is asked again when it comes again.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
callbacks='\
static int before(void)\
{\
	strcat(notes, "pre_patch ");\
	return RESULT;\
}\
KLP_PRE_PATCH(before);\
static void after(void)\
{\
	strcat(notes, "post_patch ");\
}\
KLP_POST_PATCH(after);\
static void before_back(void)\
{\
	strcat(notes, "pre_unpatch ");\
}\
KLP_PRE_UNPATCH(before_back);\
static void back(void)\
{\
	strcat(notes, "post_unpatch ");\
}\
KLP_POST_UNPATCH(back);\
'
plugin_patch fix "s/VERSION 1/VERSION 2/;\$a ${callbacks/RESULT/0}"
plugin_patch no "s/VERSION 1/VERSION 2/;\$a ${callbacks/RESULT/-5}"
target t "$work/prog" "$work/plugin.so"
watch_for fix
for ((i = 1; i <= 3; i++)); do
	expect 0 open
	happened $i came "done"
	expect 2 call
	expect "pre_patch post_patch " note
	expect 0 close
	happened $i went "done"
	expect "pre_unpatch post_unpatch " note
done
kill -TERM $watcher
wait $watcher
watch_for no
for ((i = 1; i <= 2; i++)); do
	expect 0 open
	happened $i came refused
	sleep 0.3
	expect 1 call
	expect "pre_patch " note # once, not at every look
	expect 0 close
	sleep 0.3
done
