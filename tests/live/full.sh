#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# full.sh COMMAND...: runs it with KLP_FULL=1, else says that it is skipped. For what takes long in an emulated machine.
if [ "${KLP_FULL:-0}" != 1 ]; then
	echo "SKIPPED: runs with KLP_FULL=1"
	exit 77
fi
exec "$@"
