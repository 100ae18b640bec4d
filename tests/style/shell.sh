#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The scripts are as shellcheck wants them.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
{
	tracked '*.sh'
	printf '%s\0' scripts/* .ci/run tests/vm/guest/*
} | xargs -0 "$2" -x -P .:SCRIPTDIR -S warning
