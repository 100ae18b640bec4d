#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The oracle on klp's own code.
# usage: crossing.sh BUILD [OPTION...] STEPS
set -eu
build=$1
shift
. "$(dirname "$0")/build.sh"
"$build/bin/test_unwind_crossing" "$@" "$build/bin/klpctl" "$work/target" "$work/fix.klp" fix
