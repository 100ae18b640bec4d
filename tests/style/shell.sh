#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck has nothing to say about the scripts.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
{
	tracked '*.sh'
	printf '%s\0' scripts/* .ci/run
} | xargs -0 "$2" -x -S warning
