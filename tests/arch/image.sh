#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The end of the tests of each architecture's runtime image, sourced: tools, elf, fail and the total of instructions that were looked at are theirs.
# shellcheck disable=SC2154 # set by them
if [ "$total" -lt 500 ]; then
	echo "only $total instructions: not the runtime"
	exit 1
fi
if "${tools}nm" -u "$elf" | grep .; then
	echo "the image has undefined symbols"
	fail=1
fi
if ! "${tools}readelf" -rW "$elf" | grep -q 'There are no relocations'; then
	echo "the image has relocations"
	fail=1
fi
exit $fail
