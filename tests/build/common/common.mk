# SPDX-License-Identifier: Apache-2.0
# OBJS, and optionally CFLAGS_CASE and LDFLAGS_CASE, are set by the case's Makefile. KLP_CFLAGS comes from the environment.
CFLAGS = -O2 -g $(KLP_CFLAGS) $(CFLAGS_CASE)
server: loop.o $(OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS_CASE) -o $@ loop.o $(OBJS)
