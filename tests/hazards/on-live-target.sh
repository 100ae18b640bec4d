#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# on-live-target.sh PROGRAM [MODULE]: runs it on the live tests' target and the module, `fix`.
live=${KLP_LIVE:-${KLP_BUILD:?the build directory}/live}
exec "$1" "$live/dynamic/target" "$live/modules/${2:-fix}.klp"
