/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_CROSSING_FUNCTIONS_H
#define TEST_CROSSING_FUNCTIONS_H

int answer(int x);
int deep(int n);
int pair(int x);
int inside(int fd);

#endif
