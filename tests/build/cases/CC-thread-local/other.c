/* SPDX-License-Identifier: Apache-2.0 */
__thread int others = 4;
