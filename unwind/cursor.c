/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and encoded pointers out of hostile bytes (LSB 5.0 core-generic 10.5). */
#include "unwind/internal.h"

uint64_t klp_cursor_uint(struct klp_cursor *c, unsigned size)
{
	uint64_t v = 0;

	if (c->bad || c->pos > c->end || c->end - c->pos < size) {
		c->bad = true;
		return 0;
	}
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)c->base[c->pos + i] << (8 * i);
	c->pos += size;
	return v;
}

static uint64_t klp_cursor_leb(struct klp_cursor *c, bool is_signed)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint64_t byte = klp_cursor_uint(c, 1);

		if (c->bad)
			return 0;
		if (shift < 64)
			v |= (byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (is_signed && (byte & 0x40) && shift + 7 < 64)
			v |= ~(uint64_t)0 << (shift + 7);
		return v;
	}
	c->bad = true;
	return 0;
}

uint64_t klp_cursor_uleb(struct klp_cursor *c)
{
	return klp_cursor_leb(c, false);
}

int64_t klp_cursor_sleb(struct klp_cursor *c)
{
	return (int64_t)klp_cursor_leb(c, true);
}

void klp_cursor_skip(struct klp_cursor *c, uint64_t len)
{
	if (c->bad || c->pos > c->end || c->end - c->pos < len)
		c->bad = true;
	else
		c->pos += (size_t)len;
}

uint64_t klp_cursor_pointer(struct klp_cursor *c, uint8_t enc, uint64_t datarel)
{
	uint64_t at = c->addr + c->pos, v = 0;

	switch (enc & 0x0f) {
	case 0x0: /* absptr */
	case 0x4:
	case 0xc:
		v = klp_cursor_uint(c, 8);
		break;
	case 0x1:
		v = klp_cursor_uleb(c);
		break;
	case 0x2:
		v = klp_cursor_uint(c, 2);
		break;
	case 0x3:
		v = klp_cursor_uint(c, 4);
		break;
	case 0x9:
		v = (uint64_t)klp_cursor_sleb(c);
		break;
	case 0xa:
		v = (uint64_t)(int64_t)(int16_t)klp_cursor_uint(c, 2);
		break;
	case 0xb:
		v = (uint64_t)(int64_t)(int32_t)klp_cursor_uint(c, 4);
		break;
	default:
		c->bad = true;
	}
	switch (enc & 0xf0) {
	case 0x00:
		break;
	case 0x10:
		v += at;
		break;
	case 0x30:
		if (!datarel)
			c->bad = true;
		v += datarel;
		break;
	default: /* textrel, funcrel, aligned: nobody writes them; indirect: a pointer that the target could change */
		c->bad = true;
	}
	return c->bad ? 0 : v;
}
