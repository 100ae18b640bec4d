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
set(live_aarch64_full
    C07_stacked_patches
    K03_atomic_replace
    K16_callbacks_and_replace
    K17_taken_site
    K23_a_state
    K25_a_state_back_and_forth
    K30_replace_shown
    K31_stack_order
    K34_busy_during_a_transition
    K40_one_function_two_patches
    P20_static_pie
    P22_no_pie
    P39_heap_growth
    P43_stopped_target
    P45_preempted_function)
