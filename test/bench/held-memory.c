/*
 * Holds what memory is free, and gives it back as others need it: resident-memory.ts says why.
 *
 * Every LOOK_MS it gives what is missing of the bytes to leave free. A line on descriptor 3 makes it take all that is
 * above them; it answers there with a line, and ends when the other side closes. It is no child of the benchmark (whose
 * processor time it is not), and the first to go when memory runs out.
 *
 * Private memory is given back with a third of the work that cutting a file takes, and the contender pays for that with
 * its processors. One page of each block stays: blocks that are free as a whole are what goes back to the host.
 *
 *     held-memory BYTES-TO-LEAVE-FREE
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { LOOK_MS = 10, CONTROL = 3 };
static const uint64_t BLOCK = 2 << 20, PAGE = 4096;

static struct sysinfo look(void) {
  struct sysinfo info;
  if (sysinfo(&info) != 0) exit(1);
  return info;
}

static uint64_t free_bytes(void) {
  struct sysinfo info = look();
  return (uint64_t)info.freeram * info.mem_unit;
}

static uint64_t total_bytes(void) {
  struct sysinfo info = look();
  return (uint64_t)info.totalram * info.mem_unit;
}

static void go_first(void) {
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, "1000", 4) < 0) perror("oom_score_adj");
  close(file);
}

int main(int count, char **args) {
  if (count != 2) return 2;
  uint64_t leave = strtoull(args[1], NULL, 10);
  if (fork() != 0) return 0;
  go_first();
  uint64_t room = total_bytes() / BLOCK * BLOCK;
  char *map = mmap(NULL, room + BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return 1;
  char *base = (char *)(((uintptr_t)map + BLOCK - 1) / BLOCK * BLOCK);
  madvise(base, room, MADV_NOHUGEPAGE);

  uint64_t held = 0;
  for (struct pollfd control = {.fd = CONTROL, .events = POLLIN};;) {
    if (poll(&control, 1, LOOK_MS) > 0) {
      char line[64];
      if (read(CONTROL, line, sizeof line) <= 0) return 0;
      for (; held < room && free_bytes() > leave + BLOCK; held += BLOCK) memset(base + held, 1, BLOCK);
      if (write(CONTROL, "held\n", 5) != 5) return 0;
    }
    while (held > 0 && free_bytes() < leave) {
      held -= BLOCK;
      madvise(base + held + PAGE, BLOCK - PAGE, MADV_DONTNEED);
    }
  }
}
