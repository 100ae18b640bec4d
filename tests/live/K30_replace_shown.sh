#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Status says which patch replaces and which does not.
. "$(dirname "$0")/lib.sh"
begin
start
load fix
expect_status false '.patches[] | select(.name == "fix") | .replace'
load all --replace
expect_status true '.patches[] | select(.name == "all") | .replace'
expect_status 1 '.patches[] | select(.name == "all") | .stack_order'
