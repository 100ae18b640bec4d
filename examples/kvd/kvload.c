/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvload: clients of kvd that count. Every connection writes, reads back and deletes keys of its own, so each reply has
 * exactly one right text; a request without a reply is *lost*. Prints one JSON object at the end; exits 1 if anything
 * was lost or wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX 256u
#define REPLY_MAX 2048u

struct client {
	pthread_t thread;
	unsigned id;
	int fd;
	size_t have;
	char buf[REPLY_MAX];
	unsigned long requests, replies, wrong, errors, reconnects;
	uint64_t slowest_ns;
};

static atomic_bool stop;
static unsigned port, pause_us;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool client_connect(struct client *c)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval limit = {5, 0};
	int one = 1;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->have = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return false;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (!connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)))
		return true;
	close(c->fd);
	c->fd = -1;
	return false;
}

/* One reply line, without its newline, into line. */
static bool client_read(struct client *c, char line[REPLY_MAX])
{
	char *nl;

	while (!(nl = memchr(c->buf, '\n', c->have))) {
		ssize_t n = c->have < sizeof(c->buf) ? recv(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, 0) : -1;

		if (n <= 0)
			return false;
		c->have += (size_t)n;
	}
	*nl = '\0';
	memcpy(line, c->buf, (size_t)(nl - c->buf) + 1);
	c->have -= (size_t)(nl - c->buf) + 1;
	memmove(c->buf, nl + 1, c->have);
	return true;
}

static void client_ask(struct client *c, const char *request, const char *expected)
{
	size_t len = strlen(request);
	char line[REPLY_MAX];
	uint64_t start = now_ns();

	c->requests++;
	if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len || !client_read(c, line)) {
		c->errors++;
		close(c->fd);
		c->fd = -1;
		return;
	}
	c->replies++;
	start = now_ns() - start;
	if (start > c->slowest_ns)
		c->slowest_ns = start;
	if (strcmp(line, expected)) {
		if (!c->wrong++)
			fprintf(stderr, "kvload: wrong reply to '%.40s': '%.80s'\n", request, line);
	}
}

static void *client_main(void *arg)
{
	struct client *c = arg;

	for (unsigned long n = 0; !stop; n++) {
		char request[128], expected[128];
		unsigned key = (unsigned)(n % 100);

		if (c->fd < 0) {
			c->reconnects++;
			if (!client_connect(c)) {
				usleep(10000);
				continue;
			}
		}
		snprintf(request, sizeof(request), "SET k%u.%u v%lu\n", c->id, key, n);
		client_ask(c, request, "STORED");
		if (c->fd < 0)
			continue;
		snprintf(request, sizeof(request), "GET k%u.%u\n", c->id, key);
		snprintf(expected, sizeof(expected), "VALUE v%lu", n);
		client_ask(c, request, expected);
		if (c->fd >= 0 && n % 10 == 9) {
			snprintf(request, sizeof(request), "DEL k%u.%u\n", c->id, key);
			client_ask(c, request, "DELETED");
		}
		if (pause_us)
			usleep(pause_us);
	}
	if (c->fd >= 0)
		close(c->fd);
	return NULL;
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v > 1000000) {
		fprintf(stderr, "kvload: '%s' is not a number that makes sense here\n", text);
		exit(2);
	}
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	unsigned conns = 8, seconds = 0;
	struct client *client, sum = {0};
	uint64_t start = now_ns();
	sigset_t set;
	int opt;

	while ((opt = getopt(argc, argv, "p:c:t:u:")) != -1) {
		if (opt == '?') {
			fprintf(stderr, "usage: kvload -p PORT [-c CONNECTIONS] [-t SECONDS] [-u PAUSE_US]\n");
			return 2;
		}
		*(opt == 'p' ? &port : opt == 'c' ? &conns : opt == 't' ? &seconds : &pause_us) = number(optarg);
	}
	if (!port || port > 65535 || !conns || conns > CONNS_MAX) {
		fprintf(stderr, "kvload: -p PORT is needed, and 1 to %u connections\n", CONNS_MAX);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	client = calloc(conns, sizeof(*client));
	if (!client)
		return 1;
	for (unsigned i = 0; i < conns; i++) {
		client[i].id = i;
		if (!client_connect(&client[i]) || pthread_create(&client[i].thread, NULL, client_main, &client[i])) {
			fprintf(stderr, "kvload: cannot connect: %s\n", strerror(errno));
			return 1;
		}
	}
	if (seconds) {
		struct timespec ts = {(time_t)seconds, 0};

		sigtimedwait(&set, NULL, &ts);
	} else {
		sigwait(&set, &opt);
	}
	stop = true;
	for (unsigned i = 0; i < conns; i++) {
		pthread_join(client[i].thread, NULL);
		sum.requests += client[i].requests;
		sum.replies += client[i].replies;
		sum.wrong += client[i].wrong;
		sum.errors += client[i].errors;
		sum.reconnects += client[i].reconnects;
		if (client[i].slowest_ns > sum.slowest_ns)
			sum.slowest_ns = client[i].slowest_ns;
	}
	free(client);
	printf("{\"connections\":%u,\"seconds\":%.1f,\"requests\":%lu,\"replies\":%lu,\"lost\":%lu,\"wrong\":%lu,"
	       "\"errors\":%lu,"
	       "\"reconnects\":%lu,\"slowest_us\":%lu}\n",
	       conns, (double)(now_ns() - start) / 1e9, sum.requests, sum.replies, sum.requests - sum.replies,
	       sum.wrong, sum.errors, sum.reconnects, (unsigned long)(sum.slowest_ns / 1000));
	return sum.requests && sum.requests == sum.replies && !sum.wrong && !sum.errors && !sum.reconnects ? 0 : 1;
}
