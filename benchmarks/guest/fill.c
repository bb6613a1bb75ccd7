// SPDX-License-Identifier: LGPL-2.1-or-later
/* Fills a benchmark guest: private memory of many processes, memory that all of them share, small files.
 *
 * fill ANON_MIB PROCESSES SHARED_MIB FILES THREADS: says FILLED on its standard output, and sleeps.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Memory in pages of 4 KiB. */
static volatile char *small_pages(size_t size, int flags)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

static void make_files(long count)
{
	char path[64];

	for (long i = 0; i < count; i++) {
		int fd;

		snprintf(path, sizeof(path), "/tmp/d%ld", i / 1000);
		if (i % 1000 == 0 && mkdir(path, 0755))
			fail(path);
		snprintf(path, sizeof(path), "/tmp/d%ld/f%ld", i / 1000, i);
		fd = open(path, O_CREAT | O_WRONLY, 0644);
		/* One file in four has a page. */
		if (fd < 0 || (i % 4 == 0 && write(fd, path, 10) != 10))
			fail(path);
		close(fd);
	}
}

static void *thread(void *unused)
{
	pause();
	return unused;
}

static void start_threads(long count)
{
	pthread_attr_t small;
	pthread_t one;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 1 << 16);
	for (long i = 0; i < count; i++)
		if (pthread_create(&one, &small, thread, NULL))
			fail("thread");
}

static void process(volatile char *shared, size_t shared_size, size_t own_size, long threads, int done)
{
	volatile char *own = small_pages(own_size, MAP_PRIVATE);
	long sum = 0;

	start_threads(threads);
	for (size_t at = 0; at < own_size; at += 4096)
		own[at] = 1;
	for (size_t at = 0; at < shared_size; at += 4096)
		sum += shared[at];
	if (write(done, "x", 1) != 1)
		fail("write");
	pause();
	exit(sum == 0);
}

int main(int argc, char **argv)
{
	size_t mib = 1 << 20;
	long processes;
	volatile char *shared;
	int done[2];
	char byte;

	if (argc != 6)
		return 2;
	processes = atol(argv[2]);
	shared = small_pages(atol(argv[3]) * mib, MAP_SHARED);
	for (size_t at = 0; at < atol(argv[3]) * mib; at += 4096)
		shared[at] = 1;
	make_files(atol(argv[4]));
	if (pipe(done))
		fail("pipe");
	for (long i = 0; i < processes; i++)
		if (fork() == 0)
			process(shared, atol(argv[3]) * mib, atol(argv[1]) * mib / processes, atol(argv[5]), done[1]);
	for (long i = 0; i < processes; i++)
		if (read(done[0], &byte, 1) != 1)
			fail("read");
	puts("FILLED");
	fflush(stdout);
	pause();
}
