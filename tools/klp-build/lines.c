/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping line numbers. A fix that inserts a line moves all that stands below it, and every function there that uses
 * __LINE__ (as assert does) has another number in its code, though nothing else changed. Where that is safe, a copy of
 * the patched file gets "#line" directives that give unchanged lines their old numbers. Only the compiler sees the copy
 * (numbered.c); no function that is compared depends on it for anything but its numbers, so a wrong pairing of lines
 * can at most make the module larger.
 *
 * Safe is the place between two lines that no comment, string, directive or backslash joins, outside of parentheses
 * (which may be a macro's arguments). What is skipped by #if is not known here: a directive in a branch counts only for
 * that branch, and behind the #endif the number is given again.
 */
#include "lines.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "klp-build.h"

#define KB_MAX_CONDITIONALS 256
#define KB_MAX_RAW 17               /* a raw string's delimiter, and its end */
#define KB_UNKNOWN LONG_MIN         /* the number depends on what #if takes */
#define KB_APART 1000000            /* new lines of the second form: this much above their place */
#define KB_MAX_LINES (KB_APART - 1) /* so that no line has the number of a new one */

/* An #if: how things stood there, and how the branches so far ended. */
struct kb_conditional {
	long delta;
	size_t directives;
	int depth, end_depth;
	bool ended, same_depth, has_else;
};

struct kb_lexer {
	bool comment, line_comment, raw, spliced, directive, blank; /* blank: nothing yet on this logical line */
	char quote, delimiter[KB_MAX_RAW];
	int depth;         /* of parentheses, directives aside */
	long delta;        /* what the compiler takes for the line's number, minus its place */
	size_t directives; /* that have been added: where #if skips one, it is a line like any other */
	struct kb_conditional stack[KB_MAX_CONDITIONALS];
	size_t level;
	bool refused; /* has numbers of its own, or is not understood */
};

static void kb_end_branch(struct kb_conditional *c, int depth)
{
	if (!c->ended) {
		c->ended = c->same_depth = true;
		c->end_depth = depth;
	}
	c->same_depth &= c->end_depth == depth;
}

/* `p` is behind the '#'. */
static void kb_lex_directive(struct kb_lexer *l, const char *p, const char *end)
{
	struct kb_conditional *c = l->level ? &l->stack[l->level - 1] : NULL;
	size_t n = 0;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (p + n < end && (isalnum((unsigned char)p[n]) || p[n] == '_'))
		n++;
	if ((n && isdigit((unsigned char)*p)) || (n == 4 && !memcmp(p, "line", 4))) {
		l->refused = true;
	} else if (n >= 2 && !memcmp(p, "if", 2)) {
		if (l->level == KB_MAX_CONDITIONALS) {
			l->refused = true;
			return;
		}
		l->stack[l->level++] =
		    (struct kb_conditional){.delta = l->delta, .directives = l->directives, .depth = l->depth};
	} else if (n >= 4 && !memcmp(p, "el", 2)) {
		if (!c) {
			l->refused = true;
			return;
		}
		kb_end_branch(c, l->depth);
		c->has_else |= n == 4 && !memcmp(p, "else", 4);
		/* If this branch is taken, those above are not. */
		l->delta = c->delta == KB_UNKNOWN ? KB_UNKNOWN : c->delta + (long)(l->directives - c->directives);
		l->depth = c->depth;
	} else if (n == 5 && !memcmp(p, "endif", 5)) {
		if (!c) {
			l->refused = true;
			return;
		}
		kb_end_branch(c, l->depth);
		/* No #else: there is a branch without anything in it. */
		if (!c->has_else)
			kb_end_branch(c, c->depth);
		l->delta = l->directives == c->directives ? c->delta : KB_UNKNOWN;
		l->depth = c->same_depth ? c->end_depth : c->depth;
		l->level--;
	}
}

/* A literal begins at p, a quotation mark; `word` is what stands directly before it. */
static const char *kb_lex_quote(struct kb_lexer *l, const char *p, const char *end, const char *word, size_t length)
{
	static const char *const prefixes[] = {"R", "LR", "uR", "UR", "u8R"};
	const char *open;

	for (size_t i = 0; *p == '"' && i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		if (length != strlen(prefixes[i]) || memcmp(word, prefixes[i], length))
			continue;
		open = memchr(p, '(', (size_t)(end - p));
		if (!open || open - p - 1 >= KB_MAX_RAW)
			break;
		l->raw = true;
		memcpy(l->delimiter, p + 1, (size_t)(open - p - 1));
		l->delimiter[open - p - 1] = 0;
		return open + 1;
	}
	l->quote = *p;
	return p + 1;
}

static const char *kb_lex_raw(struct kb_lexer *l, const char *p, const char *end)
{
	size_t n = strlen(l->delimiter);

	for (; p < end; p++)
		if (*p == ')' && (size_t)(end - p) >= n + 2 && !memcmp(p + 1, l->delimiter, n) && p[n + 1] == '"') {
			l->raw = false;
			return p + n + 2;
		}
	return end;
}

/* A name or a number, which may have apostrophes in it (C++, C23). */
static const char *kb_lex_word(const char *p, const char *end)
{
	bool number = isdigit((unsigned char)*p);

	for (p++; p < end; p++) {
		if (isalnum((unsigned char)*p) || *p == '_' || *p == '$' || (unsigned char)*p >= 0x80)
			continue;
		if (number && (*p == '.' || (*p == '\'' && p + 1 < end && isalnum((unsigned char)p[1]))))
			continue;
		break;
	}
	return p;
}

static void kb_lex_line(struct kb_lexer *l, const char *p, const char *end)
{
	const char *last = end, *word = p, *word_end = p;

	if (!l->comment && !l->raw && !l->spliced) {
		l->directive = l->line_comment = false;
		l->quote = 0;
		l->blank = true;
		/* Branches of #if with different parentheses lead astray; a function's end leads back. */
		if (p < end && (*p == '{' || *p == '}'))
			l->depth = 0;
	}
	while (p < end) {
		if (l->line_comment) {
			break;
		} else if (l->comment) {
			l->comment = !(p[0] == '*' && p + 1 < end && p[1] == '/');
			p += l->comment ? 1 : 2;
			continue;
		} else if (l->raw) {
			p = kb_lex_raw(l, p, end);
			continue;
		} else if (l->quote) {
			if (*p == '\\' && p + 1 < end)
				p++;
			else if (*p == l->quote)
				l->quote = 0;
			p++;
			continue;
		} else if (*p == '/' && p + 1 < end && (p[1] == '*' || p[1] == '/')) {
			l->comment = p[1] == '*';
			l->line_comment = !l->comment;
			p += 2;
			continue;
		} else if (isspace((unsigned char)*p)) {
			p++;
			continue;
		} else if (l->blank && (*p == '#' || (*p == '%' && p + 1 < end && p[1] == ':'))) {
			l->directive = true;
			p += *p == '#' ? 1 : 2;
			kb_lex_directive(l, p, end);
		} else if (*p == '"' || *p == '\'') {
			p = kb_lex_quote(l, p, end, word, word_end == p ? (size_t)(word_end - word) : 0);
		} else if (isalnum((unsigned char)*p) || *p == '_') {
			word = p;
			p = word_end = kb_lex_word(p, end);
		} else {
			if (!l->directive && *p == '(')
				l->depth++;
			else if (!l->directive && *p == ')' && l->depth)
				l->depth--;
			p++;
		}
		l->blank = false;
	}
	/* gcc takes a backslash with blanks behind it for a joint, too. */
	while (last > word && isspace((unsigned char)last[-1]))
		last--;
	l->spliced = last > word && last[-1] == '\\' && !l->raw;
	if (!l->spliced) {
		l->line_comment = false;
		l->quote = 0;
	}
}

/* The text behind white space and comments. */
static const char *kb_skip_blank(const char *p)
{
	for (;;) {
		const char *end;

		p += strspn(p, " \t\r\n\f\v");
		if (p[0] == '/' && p[1] == '*') {
			end = strstr(p + 2, "*/");
			p = end ? end + 2 : p + strlen(p);
		} else if (p[0] == '/' && p[1] == '/') {
			p += strcspn(p, "\n");
		} else {
			return p;
		}
	}
}

/*
 * Can a directive stand before the line that begins at p? What opens there may be the arguments of a macro whose name
 * ends the text above: with a directive between them gcc does not take it for a call.
 */
static bool kb_is_safe(const struct kb_lexer *l, const char *p)
{
	return !l->comment && !l->raw && !l->spliced && !l->depth && *kb_skip_blank(p) != '(';
}

static size_t kb_count_lines(const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p; n++) {
		const char *end = strchr(p, '\n');

		p = end ? end + 1 : p + strlen(p);
	}
	return n;
}

static bool kb_read_range(const char **p, size_t *first, size_t *last)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	*first = *last = strtoul(*p, &end, 10);
	if (*end == ',') {
		if (!isdigit((unsigned char)end[1]))
			return false;
		*last = strtoul(end + 1, &end, 10);
	}
	*p = end;
	return *last >= *first;
}

/* What diff says (its plain form) as the old number of every line of the patched text, 0 for a new or changed line. */
static long *kb_read_pairs(const char *differences, size_t lines)
{
	long *old = kb_alloc((lines + 2) * sizeof(*old));
	size_t a = 1, b = 1;

	for (const char *p = differences; *p;) {
		size_t a1, a2, b1, b2;
		const char *next = strchr(p, '\n');
		char kind;

		if (isdigit((unsigned char)*p)) {
			if (!kb_read_range(&p, &a1, &a2) || !strchr("acd", kind = *p) || !*p++ ||
			    !kb_read_range(&p, &b1, &b2))
				goto bad;
			/* "5a6,8": behind line 5. "7,8d6": behind line 6. */
			a1 += kind == 'a';
			b1 += kind == 'd';
			if (a1 < a || b1 < b || b1 - b != a1 - a || b2 > lines || b2 >= KB_MAX_LINES ||
			    a2 >= KB_MAX_LINES)
				goto bad;
			while (b < b1)
				old[b++] = (long)a++;
			while (b <= b2)
				old[b++] = 0;
			a = a2 + 1;
		}
		if (!next)
			break;
		p = next + 1;
	}
	while (b <= lines)
		old[b++] = (long)a++;
	return old;
bad:
	free(old);
	return NULL;
}

char *kb_keep_lines(const char *patched, const char *differences, enum kb_numbering form)
{
	size_t lines = kb_count_lines(patched), used = 0, room = strlen(patched) + 64;
	long *old = lines < KB_MAX_LINES ? kb_read_pairs(differences, lines) : NULL;
	struct kb_lexer *l = kb_alloc(sizeof(*l));
	char *out = kb_alloc(room), *text;
	const char *p = patched;

	for (size_t n = 1; old && n <= lines && !l->refused; n++) {
		const char *end = strchr(p, '\n'), *next = end ? end + 1 : p + strlen(p);
		long want = old[n] ? old[n] - (long)n : form == KB_NUMBERS_APART ? KB_APART : l->delta;

		if (!end)
			end = next;
		if (want != l->delta && kb_is_safe(l, p)) {
			char *line = kb_format("#line %ld\n", want + (long)n);
			size_t length = strlen(line);

			/* A directive is short, but there may be one for every line. */
			if (room - used < length + strlen(p) + 1) {
				room = 2 * room + length;
				text = kb_alloc(room);
				memcpy(text, out, used);
				free(out);
				out = text;
			}
			memcpy(out + used, line, length);
			used += length;
			l->delta = want;
			l->directives++;
			free(line);
		}
		memcpy(out + used, p, (size_t)(next - p));
		used += (size_t)(next - p);
		kb_lex_line(l, p, end);
		p = next;
	}
	if (!old || !l->directives || l->refused) {
		free(out);
		out = NULL;
	} else {
		out[used] = 0;
	}
	free(old);
	free(l);
	return out;
}
