#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The C sources are as .clang-format has them.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
tracked '*.c' '*.h' | xargs -0 "$2" --dry-run -Werror
