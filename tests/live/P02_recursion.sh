#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Recursion, and mutual recursion across objects.
. "$(dirname "$0")/lib.sh"
begin
start
expect 120 call factorial 5
expect 1 call is_even 10
expect 0 call is_even 11
load rec
expect 240 call factorial 5
expect 5 call is_even 10
expect 0 call is_even 11
expect 5 call is_even 2000
unload rec
expect 120 call factorial 5
expect 1 call is_even 10
