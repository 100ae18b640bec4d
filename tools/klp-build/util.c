/* SPDX-License-Identifier: Apache-2.0 */
#include "klp-build.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sha256.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void kb_no_memory(void)
{
	static const char text[] = "klp-build: out of memory\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(KB_FAILED);
	_exit(KB_FAILED);
}

char *kb_format(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		kb_no_memory();
	va_end(ap);
	return s;
}

void *kb_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		kb_no_memory();
	return p;
}

void kb_error(const char *fmt, ...)
{
	va_list ap;

	fputs("klp-build: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void kb_progress(const char *fmt, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void kb_hex(const uint8_t digest[SHA256_DIGEST_LENGTH], char hex[KB_SHA])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[KB_SHA - 1] = 0;
}

void kb_digest(const void *data, size_t size, char hex[KB_SHA])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, data, size);
	SHA256Final(digest, &ctx);
	kb_hex(digest, hex);
}

bool kb_digest_file(const char *path, char hex[KB_SHA])
{
	uint8_t digest[SHA256_DIGEST_LENGTH], buffer[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	SHA2_CTX ctx;
	ssize_t n;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	SHA256Init(&ctx);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		SHA256Update(&ctx, buffer, (size_t)n);
	close(fd);
	SHA256Final(digest, &ctx);
	kb_hex(digest, hex);
	return n == 0;
}

char *kb_read(const char *path, size_t max, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t have = 0;
	ssize_t n = 0;
	char *data;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size > max) {
		close(fd);
		return NULL;
	}
	data = kb_alloc((size_t)st.st_size + 1);
	while (have < (size_t)st.st_size && (n = read(fd, data + have, (size_t)st.st_size - have)) > 0)
		have += (size_t)n;
	close(fd);
	if (n < 0) {
		free(data);
		return NULL;
	}
	if (size)
		*size = have;
	return data;
}

bool kb_copy(const char *from, const char *to, mode_t mode)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	static char buffer[1 << 16];
	ssize_t n = -1;

	if (in >= 0)
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (out >= 0)
		while ((n = read(in, buffer, sizeof(buffer))) > 0)
			for (ssize_t done = 0, w; done < n; done += w)
				if ((w = write(out, buffer + done, (size_t)(n - done))) < 0) {
					n = -1;
					goto out;
				}
out:
	if (in >= 0)
		close(in);
	if (out >= 0 && close(out))
		n = -1;
	return n == 0;
}

static int kb_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	if (remove(path) && errno != ENOENT)
		return errno == EBUSY || errno == ENOTEMPTY ? 0 : -1;
	return 0;
}

static int kb_open_directory(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)ftw;
	/* A tree may hold directories that even its owner cannot write to. */
	if (flag == FTW_D || flag == FTW_DNR)
		return chmod(path, st->st_mode | S_IRWXU) && errno != ENOENT ? -1 : 0;
	return 0;
}

int kb_remove_tree(const char *path)
{
	if (!nftw(path, kb_remove_one, 32, FTW_PHYS | FTW_DEPTH) && access(path, F_OK))
		return 0;
	nftw(path, kb_open_directory, 32, FTW_PHYS);
	nftw(path, kb_remove_one, 32, FTW_PHYS | FTW_DEPTH);
	return access(path, F_OK) ? 0 : -1;
}

const char *kb_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool kb_ends_with(const char *s, const char *end)
{
	size_t a = strlen(s), b = strlen(end);

	return a >= b && !strcmp(s + a - b, end);
}

bool kb_is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n] || (n && dir[n - 1] == '/'));
}

char *kb_canonical(const char *cwd, const char *path)
{
	char *full = *path == '/' ? kb_format("%s", path) : kb_format("%s/%s", cwd, path), *real = realpath(full, NULL),
	     *dir;

	if (!real) {
		char *slash = strrchr(full, '/');

		dir = kb_format("%.*s/.", (int)(slash - full), full);
		real = realpath(dir, NULL);
		free(dir);
		if (real) {
			dir = kb_format("%s/%s", real, slash + 1);
			free(real);
			real = dir;
		}
	}
	if (!real)
		return full;
	free(full);
	return real;
}

bool kb_is_bitcode(const void *data, size_t size)
{
	return size >= 4 && (!memcmp(data, "BC\xc0\xde", 4) || !memcmp(data, "\xde\xc0\x17\x0b", 4));
}

int kb_file_kind(const char *path)
{
	unsigned char head[18];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return 0;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		n = read(fd, head, sizeof(head));
	close(fd);
	if (n >= 8 && (!memcmp(head, "!<arch>\n", 8) || !memcmp(head, "!<thin>\n", 8)))
		return -1;
	if (n > 0 && kb_is_bitcode(head, (size_t)n))
		return ET_REL;
	if (n < (ssize_t)sizeof(head) || memcmp(head, ELFMAG, SELFMAG))
		return 0;
	return head[EI_DATA] == ELFDATA2LSB ? head[16] | head[17] << 8 : head[17] | head[16] << 8;
}
