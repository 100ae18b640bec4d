#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A patch of an object stays in memory when it is unloaded (its code's address escapes). The object is closed, and another one opened at its place: its
# patch's sites are recorded where those of the first one were, and they are not taken for gone.
# shellcheck disable=SC2154 # lib.sh's
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
plugin_patch base 's/VERSION 1/VERSION 3/'
plugin_patch pin 's/^int plugin_answer/static int __attribute__((noinline)) kept(int x)\n{\n\treturn x;\n}\n&/;s/return x + VERSION/*(int (*volatile *)(int))(void *)(notes + 2048) = kept;\n\treturn x + 2/'
cp "$work/plugin.so" "$work/first.so"
sed -i 's/VERSION 1/VERSION 5/' "$work/tree/plugin.c"
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the other library does not build"
cp "$work/tree/plugin.so" "$work/other.so"
plugin_patch fix 's/VERSION 5/VERSION 6/'
ln -s first.so "$work/it.so"
target t "$work/prog" "$work/it.so"
expect 0 open
# In this order what is mapped next is put where `base` and the site records were.
ctl 0 load --json -p "$(p)" "$work/base.klp"
ctl 0 load --json -p "$(p)" "$work/pin.klp"
expect 2 call
ctl 0 unload --json -p "$(p)" pin
expect 3 call
ctl 0 unload --json -p "$(p)" base
expect 1 call
expect_status disabled '.patches[0].state'
expect 0 close
ln -sfn other.so "$work/it.so"
for ((i = 0; i < 3; i++)); do
	expect 0 open
	expect 5 call
	ctl 0 load --json -p "$(p)" "$work/fix.klp"
	expect 6 call
	expect_status armed '.patches[] | select(.enabled) | .functions[0].site'
	ctl 0 unload --json -p "$(p)" fix
	expect 5 call
	expect 0 close
done
alive
