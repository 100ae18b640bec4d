/* SPDX-License-Identifier: Apache-2.0 */
extern const int limit;
/* Others may find it, and keep its address. */
const int limit = 32;
