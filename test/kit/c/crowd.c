/*
 * More of something than anybody needs, each of which a user without any right may make.
 *   crowd mounts FOLDER BYTES   a mount table of so many bytes, in namespaces of its own
 *   crowd names FOLDER COUNT    so many names in a folder; ends
 *   crowd descriptors FILE COUNT  so many descriptors of a file
 *   crowd locks FOLDER COUNT    so many locks on files in a folder
 *   crowd threads FOLDER COUNT  so many threads
 * All but "names" say "ready" and then wait to be ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void mounts(const char *folder, long bytes)
{
	/* As root a mount namespace is enough, and the user namespaces of a machine may be forbidden. */
	if (unshare(CLONE_NEWNS) != 0)
		fail("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fail("private");
	if (mount("crowd", folder, "tmpfs", 0, NULL) != 0)
		fail("tmpfs");
	if (chdir(folder) != 0)
		fail("chdir");
	char name[201], number[16];
	memset(name, 'n', 200);
	name[200] = 0;
	long depth = 0;
	for (; depth < 15; depth++) {
		if (mkdir(name, 0755) != 0 || chdir(name) != 0)
			fail("a deep folder");
	}
	/* Its own path and that of what is mounted stand in each line. */
	long line = 2 * depth * 201;
	for (long made = 0; made * line < bytes; made++) {
		snprintf(number, sizeof number, "%ld", made);
		if (mkdir(number, 0755) != 0 || mount(number, number, NULL, MS_BIND, NULL) != 0)
			fail("a mount");
	}
}

static void names(const char *folder, long count)
{
	char name[32];
	if (chdir(folder) != 0)
		fail(folder);
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof name, "n%ld", i);
		if (mknod(name, S_IFREG | 0644, 0) != 0)
			fail(name);
	}
}

static void descriptors(const char *path, long count)
{
	struct rlimit limit = { count + 16, count + 16 };
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		fail("setrlimit");
	int first = open(path, O_RDONLY);
	if (first < 0)
		fail(path);
	for (long i = 1; i < count; i++)
		if (dup(first) < 0)
			fail("dup");
}

static void locks(const char *folder, long count)
{
	/* A lock is compared with all others of its file, so each file has but a few of them. */
	const long each = 2000;
	char name[32];
	int fd = -1;
	if (chdir(folder) != 0)
		fail(folder);
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof name, "locked%ld", i / each);
		if (i % each == 0 && (fd = open(name, O_RDWR | O_CREAT, 0644)) < 0)
			fail(name);
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2 * (i % each), .l_len = 1 };
		if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
			fail("a lock");
	}
}

static void *wait_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		pause();
}

static void threads(const char *path, long count)
{
	pthread_attr_t small;
	pthread_t thread;
	if (chdir(path) != 0)
		fail(path);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 16384);
	for (long i = 0; i < count; i++)
		if ((errno = pthread_create(&thread, &small, wait_for_ever, NULL)) != 0)
			fail("a thread");
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	long count = atol(argv[3]);
	if (strcmp(argv[1], "names") == 0) {
		names(argv[2], count);
		return 0;
	}
	if (strcmp(argv[1], "mounts") == 0)
		mounts(argv[2], count);
	else if (strcmp(argv[1], "descriptors") == 0)
		descriptors(argv[2], count);
	else if (strcmp(argv[1], "locks") == 0)
		locks(argv[2], count);
	else if (strcmp(argv[1], "threads") == 0)
		threads(argv[2], count);
	else
		return 2;
	printf("ready\n");
	fflush(stdout);
	wait_for_ever(NULL);
}
