/* SPDX-License-Identifier: Apache-2.0 */
#define LIMIT(x) ((x) > 100 ? 100 : (x))
