#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sbrk and malloc still grow after a load.
. "$(dirname "$0")/lib.sh"
begin
start
expect 0 grow
load fix
for i in 1 2 3 4 5; do expect 0 grow; done
load fix2
expect 0 grow
unload fix2
unload fix
expect 0 grow
