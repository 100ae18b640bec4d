/* SPDX-License-Identifier: Apache-2.0 */
/* Every worker has an epoll set of its own; the listening socket is in all of them, and a connection stays with who
 * accepted it. */
#include "kvd.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 32
#define WORKER_STACK (256u << 10)

struct conn {
	int fd;
	size_t len;
	char buf[KVD_LINE_MAX];
};

static pthread_t worker[KVD_WORKERS_MAX];
static unsigned worker_count;
static int listen_fd = -1, stop_fd = -1;
/* Only their addresses matter: they tell these two descriptors from connections. */
static struct conn listener, stopper;

static bool write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool add(int epfd, int fd, struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	return !epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void accept_one(int epfd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), one = 1;
	struct conn *c;

	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!add(epfd, fd, c, EPOLLIN))
		conn_close(c);
}

/* Reads what is there and answers every complete line. false: the connection is over. */
static bool conn_serve(struct conn *c)
{
	char reply[KVD_VALUE_MAX + 128], *nl;
	ssize_t n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		return false;
	c->len += (size_t)n;
	while ((nl = memchr(c->buf, '\n', c->len))) {
		size_t used = (size_t)(nl - c->buf) + 1, len;

		*nl = '\0';
		if (used > 1 && nl[-1] == '\r')
			nl[-1] = '\0';
		len = protocol_handle(c->buf, reply, sizeof(reply));
		if (!write_all(c->fd, reply, len))
			return false;
		c->len -= used;
		memmove(c->buf, c->buf + used, c->len);
	}
	return c->len < sizeof(c->buf);
}

static void *worker_main(void *arg)
{
	struct epoll_event ev[EVENTS_MAX];
	int epfd = (int)(intptr_t)arg;
	bool running = true;

	while (running) {
		int n = epoll_wait(epfd, ev, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c == &stopper)
				running = false;
			else if (c == &listener)
				accept_one(epfd);
			else if (!conn_serve(c))
				conn_close(c);
		}
	}
	close(epfd);
	return NULL;
}

static int listen_on(unsigned port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	socklen_t len = sizeof(sa);
	int one = 1;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listen_fd < 0)
		return -1;
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listen_fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(listen_fd, 1024) ||
	    getsockname(listen_fd, (struct sockaddr *)&sa, &len))
		return -1;
	return ntohs(sa.sin_port);
}

int server_start(unsigned port, unsigned workers)
{
	int got = listen_on(port);
	pthread_attr_t attr;

	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (got < 0 || stop_fd < 0)
		return -1;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	for (; worker_count < workers; worker_count++) {
		int epfd = epoll_create1(EPOLL_CLOEXEC);

		if (epfd < 0 || !add(epfd, listen_fd, &listener, EPOLLIN | EPOLLEXCLUSIVE) ||
		    !add(epfd, stop_fd, &stopper, EPOLLIN) ||
		    pthread_create(&worker[worker_count], &attr, worker_main, (void *)(intptr_t)epfd))
			return -1;
	}
	pthread_attr_destroy(&attr);
	return got;
}

void server_stop(void)
{
	uint64_t one = 1;

	if (write(stop_fd, &one, sizeof(one)) != sizeof(one))
		_exit(1);
}

void server_wait(void)
{
	for (unsigned i = 0; i < worker_count; i++)
		pthread_join(worker[i], NULL);
}
