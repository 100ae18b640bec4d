#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The C sources are as .clang-format has them.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
# The cases of tests/build are patched by diffs that know their lines.
tracked '*.c' '*.h' ':!tests/build/cases' | xargs -0 "$2" --dry-run -Werror
