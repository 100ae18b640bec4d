#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One function patched by two patches without replace, unloaded in either order.
. "$(dirname "$0")/lib.sh"
begin
start
load fix
load top
expect 43 call answer 4
unload top
expect 42 call answer 4
unload fix
expect 41 call answer 4
load fix
load top
unload fix
expect 43 call answer 4
unload top
expect 41 call answer 4
