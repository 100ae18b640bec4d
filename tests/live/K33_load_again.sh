#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A load after an unload, several times.
. "$(dirname "$0")/lib.sh"
begin
start
pairs 5
load fix
expect 42 call answer 4
