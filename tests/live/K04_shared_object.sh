#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A function of a shared object that is loaded already.
. "$(dirname "$0")/lib.sh"
begin
start
expect 29 call aux_answer 4
load aux
expect 30 call aux_answer 4
expect_status libaux.so '.patches[0].functions[0].object | split("/") | last'
unload aux
expect 29 call aux_answer 4
