/* SPDX-License-Identifier: Apache-2.0 */
/* What the test programs offer to the modules that are linked against them. */
#ifndef KLP_TEST_LINK_TARGET_H
#define KLP_TEST_LINK_TARGET_H

/* Results of one run of a module. */
struct result {
	long v[24];
};
enum {
	R_CALL,      /* a call of the target's function */
	R_ADDRESS,   /* the address of the target's function */
	R_DATA,      /* the target's datum, incremented */
	R_IFUNC,     /* strlen of the C library */
	R_LIBC_ADDR, /* the address of getpid */
	R_LIBC_CALL, /* getpid() */
	R_STATIC,    /* static data of the module: counts */
	R_CONST,     /* a constant table */
	R_SWITCH,    /* a jump table */
	R_LOCAL,     /* a function of the module alone */
	R_BSS,       /* zeroed data of the module */
	R_POINTERS,  /* a table of pointers */
	R_TAIL,      /* a tail call of the target's function */
	R_ENVIRON,   /* data of the C library */
	R_TLS,       /* the target's thread-local variables */
	R_TLS_HIGH,
	R_TLS_ADDRESS,
	R_POINTER_CALL,
};

typedef void (*run_fn)(struct result *r, int n);

int t_add(int a, int b);
extern int t_value;
extern __thread int t_tls, t_tls_high;
int t_old(int a);

#endif
