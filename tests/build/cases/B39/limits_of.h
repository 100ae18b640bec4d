/* SPDX-License-Identifier: Apache-2.0 */
#define MAXIMUM 10
