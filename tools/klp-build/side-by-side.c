/* SPDX-License-Identifier: Apache-2.0 */
/* The longest common subsequence of two listings. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "klp-build.h"
#include "listing.h"

#define HEX "0123456789abcdef"
#define KB_SIDE_CELLS (16u << 20) /* of the table; functions that need more stand beside one another as they are */

/*
 * What makes two lines the same: an instruction without the places that move with every other instruction, a source
 * line's text. Numbers of lines differ behind an inserted one.
 */
static char *kb_line_key(const json_t *line)
{
	const char *code = json_string_value(json_object_get(line, "code")),
		   *text = json_string_value(json_object_get(line, "text"));
	char *key, *to;

	if (!code)
		return kb_format("\n%s", text ? text : json_string_value(json_object_get(line, "source")));
	key = to = kb_alloc(strlen(code) + 1);
	while (*code) {
		size_t n = strspn(code + (*code == '+'), HEX) + (*code == '+');

		/* "+1b" in the function itself, and "1b" of "1b <other>" */
		if (n && (*code == '+' || code[n] == ' ') && (*code == '+' || code[n + 1] == '<'))
			code += n;
		/* of "0x1b(%rip) # 2004 <table>" */
		else if (!strncmp(code, "0x", 2) && !strncmp(code + 2 + strspn(code + 2, HEX), "(%rip) #", 8))
			code += 2 + strspn(code + 2, HEX);
		while (*code) {
			*to++ = *code++;
			if (code[-1] == ' ' || code[-1] == ',')
				break;
		}
	}
	*to = 0;
	return key;
}

static char **kb_keys(const json_t *lines)
{
	char **keys = kb_alloc((json_array_size(lines) + 1) * sizeof(*keys));
	json_t *l;
	size_t i;

	json_array_foreach(lines, i, l) keys[i] = kb_line_key(l);
	return keys;
}

static void kb_keys_free(char **keys, size_t n)
{
	while (n)
		free(keys[--n]);
	free(keys);
}

static json_t *kb_position(size_t at, bool there)
{
	return there ? json_integer((json_int_t)at) : json_null();
}

/* Lines of both sides that have no partner, next to one another as far as they go. */
static void kb_pair_others(json_t *pairs, size_t left, size_t left_end, size_t right, size_t right_end)
{
	for (; left < left_end || right < right_end; left++, right++)
		json_array_append_new(pairs, json_pack("[o,o,b]", kb_position(left, left < left_end),
						       kb_position(right, right < right_end), false));
}

json_t *kb_side_by_side(const json_t *left, const json_t *right)
{
	size_t n = json_array_size(left), m = json_array_size(right), i = 0, k = 0, wide = m + 1, left_from = 0,
	       right_from = 0; /* what is not in a pair yet */
	char **a = kb_keys(left), **b = kb_keys(right);
	bool fits = (n + 1) * wide <= KB_SIDE_CELLS && n < UINT16_MAX && m < UINT16_MAX;
	uint16_t *common = fits ? kb_alloc((n + 1) * wide * sizeof(*common)) : NULL;
	json_t *pairs = json_array();

	/* common[i][k]: of what is behind i and k. */
	for (i = n; fits && i-- > 0;)
		for (k = m; k-- > 0;) {
			uint16_t down = common[(i + 1) * wide + k], next = common[i * wide + k + 1];

			common[i * wide + k] = !strcmp(a[i], b[k]) ? (uint16_t)(common[(i + 1) * wide + k + 1] + 1)
								   : (down > next ? down : next);
		}
	for (i = k = 0; i < n || k < m;) {
		if (fits && i < n && k < m && !strcmp(a[i], b[k])) {
			kb_pair_others(pairs, left_from, i, right_from, k);
			json_array_append_new(pairs, json_pack("[I,I,b]", (json_int_t)i, (json_int_t)k, true));
			left_from = ++i;
			right_from = ++k;
		} else if (i < n && (k == m || !fits || common[(i + 1) * wide + k] >= common[i * wide + k + 1])) {
			i++;
		} else {
			k++;
		}
	}
	kb_pair_others(pairs, left_from, n, right_from, m);
	free(common);
	kb_keys_free(a, n);
	kb_keys_free(b, m);
	return pairs;
}
