/* SPDX-License-Identifier: Apache-2.0 */
struct state {
	char kind;
	int number;
};
