#include "lib/obs/metrics.h"
#include "lib/base/version.h"
#include "lib/log/log.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Field 22 of /proc/self/stat, clock ticks after boot; the name before it may hold blanks. */
static double start_time_s(void)
{
    AUTO(fd_closep) int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    struct timespec boot, now;
    unsigned long long ticks;
    char text[1024];
    const char *behind;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n <= 0)
        return 0;
    text[n] = 0;
    behind = strrchr(text, ')');
    if (!behind
        || sscanf(behind + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
                  " %*d %*d %llu",
                  &ticks)
               != 1)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (double)(now.tv_sec - boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static long long resident_bytes(void)
{
    AUTO(fd_closep) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    long long pages = 0;
    char text[128];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n <= 0)
        return 0;
    text[n] = 0;
    return sscanf(text, "%*d %lld", &pages) == 1 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

static void dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static long long open_fds(void)
{
    AUTO(dir_closep) DIR *dir = opendir("/proc/self/fd");
    long long count = -3;               /* ".", "..", and the directory itself */

    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    return count;
}

static void put(struct buf *out, const char *name, const char *type, const char *help, double value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, value);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void metrics_print_process(const char *program, struct buf *out)
{
    struct rusage usage = { 0 };
    struct rlimit files = { 0 };

    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    buf_printf(out, "# HELP adit_build_info The version that runs.\n# TYPE adit_build_info gauge\n"
               "adit_build_info{program=\"%s\",version=\"%s\"} 1\n", program, ADIT_VERSION);
    put(out, "adit_log_dropped_total", "counter", "Log events lost for want of room.",
        (double)log_dropped());
    put(out, "process_start_time_seconds", "gauge", "Start, in Unix time.", start_time_s());
    put(out, "process_cpu_seconds_total", "counter", "User and system time.",
        seconds(usage.ru_utime) + seconds(usage.ru_stime));
    put(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
        (double)resident_bytes());
    put(out, "process_open_fds", "gauge", "Open descriptors.", (double)open_fds());
    put(out, "process_max_fds", "gauge", "Limit of open descriptors.", (double)files.rlim_cur);
}
