// visit PATH: opens, reads and closes a file again and again, as a monitor does; says "visiting" first.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int count, char **words) {
  char bytes[8];
  puts("visiting");
  fflush(stdout);
  for (;;) {
    int fd = open(words[count - 1], O_RDONLY);
    if (fd < 0) usleep(500);
    else {
      if (read(fd, bytes, sizeof bytes) < 0) perror("read");
      close(fd);
    }
  }
}
