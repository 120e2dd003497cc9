#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum {
    PAUSE_FIRST_MS = 100,
    PAUSE_MAX_MS = 2000,
    LIVED_WELL_MS = 10000,
    LOG_CHECK_MS = 10000,
    KILL_WAIT_MS = 2000,
};

struct child {
    struct child_spec spec;
    pid_t pid;                  /* 0: not running */
    int64_t started_ms;
    int64_t due_ms;             /* when to start again, while not running */
    unsigned pause_ms;
};

struct supervisor {
    struct child children[SUPERVISOR_CHILDREN_MAX];
    size_t count;
    struct child once;          /* supervisor_run() */
    int once_status;
    supervisor_ended_fn on_ended;
    int signal_fd;
    int asked;
    bool is_stopping;
    int64_t log_check_ms;
    sigset_t old_mask;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int supervisor_new(supervisor_ended_fn on_ended, struct supervisor **ret_supervisor)
{
    AUTO(freep) struct supervisor *s = calloc(1, sizeof(*s));
    static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };
    sigset_t mask;

    if (!s)
        return -ENOMEM;
    sigemptyset(&mask);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        sigaddset(&mask, taken[i]);
    if (sigprocmask(SIG_BLOCK, &mask, &s->old_mask) < 0)
        return -errno;
    signal(SIGTSTP, SIG_IGN);   /* stopped, it could neither restart nor answer Ctrl-C */

    s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0)
        return -errno;
    s->on_ended = on_ended;
    *ret_supervisor = TAKE(s);
    return 0;
}

/* A log that has grown too long becomes NAME.1.  By copy, because a running child keeps
 * appending to its descriptor. */
static void log_bound(const char *path)
{
    AUTO(fd_closep) int from = open(path, O_RDWR | O_CLOEXEC);
    AUTO(fd_closep) int to = -1;
    char older[4096];
    struct stat st;

    if (from < 0 || fstat(from, &st) < 0 || st.st_size < SUPERVISOR_LOG_MAX)
        return;
    snprintf(older, sizeof(older), "%s.1", path);
    to = open(older, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (to >= 0 && copy_file_range(from, NULL, to, NULL, SUPERVISOR_LOG_MAX, 0) > 0)
        ;
    if (ftruncate(from, 0) < 0)
        return;                 /* it stays long; the next check tries again */
}

static void unset_proxies(void)
{
    static const char *const names[] = { "http_proxy", "https_proxy", "all_proxy", "no_proxy",
                                         "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
}

/* In the child: its own group, death with the parent, files, then the program. */
static _Noreturn void child_become(const struct supervisor *s, const struct child_spec *spec, pid_t parent)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || in < 0 || out < 0)
        _exit(126);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);     /* libcurl's sockets are not close-on-exec */
    signal(SIGTSTP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    unset_proxies();
    execv(spec->argv[0], spec->argv);
    dprintf(STDERR_FILENO, "adit: %s: %s\n", spec->argv[0], strerror(errno));
    _exit(127);
}

static int child_spawn(const struct supervisor *s, struct child *c)
{
    pid_t parent = getpid(), pid;

    log_bound(c->spec.log_path);
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        child_become(s, &c->spec, parent);
    setpgid(pid, pid);          /* here too, so that it holds before either goes on */
    c->pid = pid;
    c->started_ms = now_ms();
    return 0;
}

int supervisor_start(struct supervisor *s, const struct child_spec *spec)
{
    struct child *c;
    int r;

    if (s->count == SUPERVISOR_CHILDREN_MAX)
        return -ENOSPC;
    c = &s->children[s->count];
    *c = (struct child){ .spec = *spec, .pause_ms = PAUSE_FIRST_MS };
    r = child_spawn(s, c);
    if (r)
        return r;
    s->count++;
    return 0;
}

static void on_child_ended(struct supervisor *s, struct child *c, int status)
{
    int64_t now = now_ms();

    c->pid = 0;
    if (s->is_stopping)
        return;
    if (now - c->started_ms >= LIVED_WELL_MS)
        c->pause_ms = PAUSE_FIRST_MS;
    c->due_ms = now + c->pause_ms;
    s->on_ended(&c->spec, status, c->pause_ms);
    c->pause_ms = c->pause_ms * 2 < PAUSE_MAX_MS ? c->pause_ms * 2 : PAUSE_MAX_MS;
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->once.pid) {
            s->once.pid = 0;
            s->once_status = status;
        }
        for (size_t i = 0; i < s->count; i++) {
            if (s->children[i].pid == pid)
                on_child_ended(s, &s->children[i], status);
        }
    }
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD && s->asked < 2)
            s->asked++;
    }
}

static void start_what_is_due(struct supervisor *s)
{
    for (size_t i = 0; i < s->count && !s->is_stopping; i++) {
        struct child *c = &s->children[i];

        if (!c->pid && c->due_ms <= now_ms() && child_spawn(s, c))
            c->due_ms = now_ms() + PAUSE_MAX_MS;
    }
}

static void check_logs(struct supervisor *s)
{
    if (now_ms() < s->log_check_ms)
        return;
    s->log_check_ms = now_ms() + LOG_CHECK_MS;
    for (size_t i = 0; i < s->count; i++)
        log_bound(s->children[i].spec.log_path);
}

/* The shorter of what the caller wants to wait and what is due. */
static int wait_ms(const struct supervisor *s, int timeout_ms)
{
    int64_t now = now_ms(), until = timeout_ms < 0 ? INT64_MAX : now + timeout_ms;

    if (until > s->log_check_ms && !s->is_stopping)
        until = s->log_check_ms;
    for (size_t i = 0; i < s->count && !s->is_stopping; i++) {
        if (!s->children[i].pid && s->children[i].due_ms < until)
            until = s->children[i].due_ms;
    }
    if (until == INT64_MAX)
        return -1;
    return until > now ? (int)(until - now) : 0;
}

void supervisor_turn(struct supervisor *s, int timeout_ms)
{
    struct pollfd pfd = { .fd = s->signal_fd, .events = POLLIN };

    poll(&pfd, 1, wait_ms(s, timeout_ms));
    take_signals(s);
    reap(s);
    start_what_is_due(s);
    check_logs(s);
}

int supervisor_asked(const struct supervisor *s)
{
    return s->asked;
}

int supervisor_run(struct supervisor *s, const struct child_spec *spec, unsigned timeout_ms,
                   int *ret_status)
{
    int64_t deadline = now_ms() + timeout_ms;
    int r;

    s->once = (struct child){ .spec = *spec };
    r = child_spawn(s, &s->once);
    if (r)
        return r;
    while (s->once.pid && !s->asked && now_ms() < deadline)
        supervisor_turn(s, (int)(deadline - now_ms()));
    if (s->once.pid) {
        kill(-s->once.pid, SIGKILL);
        waitpid(s->once.pid, NULL, 0);
        s->once.pid = 0;
        return s->asked ? -EINTR : -ETIMEDOUT;
    }
    *ret_status = s->once_status;
    return 0;
}

static size_t signal_rank(struct supervisor *s, int rank, int signal_number)
{
    size_t running = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];

        if (!c->pid || c->spec.stop_rank > rank)
            continue;
        running++;
        if (signal_number)
            kill(-c->pid, signal_number);
    }
    return running;
}

/* Waits until those up to the rank have gone; true when they have. */
static bool wait_for_rank(struct supervisor *s, int rank, int64_t deadline)
{
    while (signal_rank(s, rank, 0) && s->asked < 2 && now_ms() < deadline)
        supervisor_turn(s, (int)(deadline - now_ms()));
    return signal_rank(s, rank, 0) == 0;
}

bool supervisor_stop(struct supervisor *s, unsigned drain_ms)
{
    int64_t deadline = now_ms() + drain_ms;
    bool all_gone = true;

    s->is_stopping = true;
    for (int rank = 0; rank <= 1 && s->asked < 2; rank++) {
        signal_rank(s, rank, SIGTERM);
        all_gone = wait_for_rank(s, rank, deadline + rank * KILL_WAIT_MS / 2);
    }
    if (signal_rank(s, 1, SIGKILL)) {
        int asked = s->asked;

        s->asked = 0;           /* the kernel ends them now: this wait is short by itself */
        wait_for_rank(s, 1, now_ms() + KILL_WAIT_MS);
        s->asked = asked;
        all_gone = false;
    }
    return all_gone;
}

void supervisor_free(struct supervisor *s)
{
    s->is_stopping = true;
    s->asked = 0;
    if (signal_rank(s, 1, SIGKILL))
        wait_for_rank(s, 1, now_ms() + KILL_WAIT_MS);
    close(s->signal_fd);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    free(s);
}
