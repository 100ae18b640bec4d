/* SPDX-License-Identifier: Apache-2.0 */
/* One thread in read; with an argument also one each in nanosleep, pthread_cond_wait and epoll_wait. */
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *in_nanosleep(void *arg)
{
	struct timespec t = {.tv_sec = 60};

	nanosleep(&t, NULL);
	return arg;
}

static void *in_cond_wait(void *arg)
{
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&never, &lock);
	return arg;
}

static void *in_epoll_wait(void *arg)
{
	struct epoll_event ev;

	epoll_wait(epoll_create1(EPOLL_CLOEXEC), &ev, 1, -1);
	return arg;
}

int main(int argc, char **argv)
{
	void *(*const body[])(void *) = {in_nanosleep, in_cond_wait, in_epoll_wait};
	pthread_t thread;
	int fds[2];
	char c;

	(void)argv;
	for (unsigned i = 0; argc > 1 && i < 3; i++)
		if (pthread_create(&thread, NULL, body[i], NULL))
			return 1;
	return pipe(fds) || read(fds[0], &c, 1) != 1;
}
