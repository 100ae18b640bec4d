# SPDX-License-Identifier: Apache-2.0
set(KLP_ARCH_SHARED prepared)
