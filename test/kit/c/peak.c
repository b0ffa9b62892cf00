/*
 *   peak FILE PROGRAM ARGUMENTS
 * Runs a program, ends as it does, and writes its peak of memory in KiB into a file. A process that was started by
 * vfork, as Bun starts one, is counted with the peak of who started it.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status;
	if (argc < 3)
		return 99;
	pid_t child = fork();
	if (child == 0) {
		execv(argv[2], argv + 2);
		_exit(98);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) != child)
		return 97;
	FILE *file = fopen(argv[1], "w");
	if (file == NULL || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0)
		return 96;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 95;
}
