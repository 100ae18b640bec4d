/* SPDX-License-Identifier: Apache-2.0 */
#define VALUE 1
