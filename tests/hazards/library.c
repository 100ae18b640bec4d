/* SPDX-License-Identifier: Apache-2.0 */
/* A library that a target loads and unloads. */
int hazards_library;
