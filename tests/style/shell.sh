#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The scripts are as shellcheck wants them. It reads what a script sources anew for each, which is most of its time: with KLP_FULL=1 only; without, it
# does not know who sets and who uses the variables of those.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
if [ "${KLP_FULL:-0}" = 1 ]; then follow=(-x -P .:SCRIPTDIR); else follow=(-e "SC1091,SC2034,SC2154"); fi
{
	tracked '*.sh'
	printf '%s\0' scripts/* .ci/run tests/vm/guest/*
} | xargs -0 -n 1 "$2" "${follow[@]}" -S warning
