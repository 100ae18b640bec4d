/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_H
#define PROBE_H

#include <stdio.h>

/* The case's answer to one line of input. */
void probe(const char *input);

#endif
