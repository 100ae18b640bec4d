# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced first: the test runs in a pid namespace of its own, where the next tid can be said (/proc/sys/kernel/ns_last_pid).
if [ -z "${KLP_OWN_PROCESSES:-}" ]; then
	unshare --pid --fork --mount-proc sh -c 'echo 1000 >/proc/sys/kernel/ns_last_pid' 2>/dev/null || {
		echo "SKIPPED: no pid namespace in which the next tid can be said" >&2
		exit 77
	}
	KLP_OWN_PROCESSES=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
