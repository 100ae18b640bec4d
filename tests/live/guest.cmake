# SPDX-License-Identifier: Apache-2.0
# The scenarios that have been seen to pass in a guest of each architecture.
set(live_aarch64_always
    C05_calls_between_old_and_new
    K01_load_and_unload
    K02_two_patches
    K04_shared_object
    P01_arguments_and_results
    P02_recursion
    P20_static)
set(live_aarch64_full)
