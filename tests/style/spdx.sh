#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every source file names its licence in its first lines.
set -euo pipefail
# shellcheck source=tests/style/list.sh
. "$(dirname "$0")/list.sh"
bad=0 seen=0
while IFS= read -r -d '' f; do
	[ -f "$f" ] || continue
	seen=$((seen + 1))
	if ! head -n 5 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0'; then
		echo "$f: no SPDX line"
		bad=1
	fi
done < <(tracked '*.c' '*.h' '*.S' '*.cmake' '*CMakeLists.txt' '*.sh' '*.pml')
[ "$seen" -gt 0 ] && exit $bad
