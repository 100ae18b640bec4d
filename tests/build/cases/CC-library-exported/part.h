/* SPDX-License-Identifier: Apache-2.0 */
extern int part_calls;
int part(int v);
int half(int v);
