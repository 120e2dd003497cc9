/*
 * shape - a rough network between two namespaces: two TUN devices, joined by this process.
 *
 * shape NAME_A NAME_B NETNS_B [delay=MS] [jitter=MS] [loss=PERCENT] [reorder=PERCENT] [dup=PERCENT]
 *       [rate=KBIT] [queue=MS] [seed=N]
 *
 * Makes NAME_A here and NAME_B in the namespace of the file NETNS_B, writes a line, and carries
 * packets until its standard input ends; then it writes what it did.  A line NAME=VALUE changes a
 * setting meanwhile.  `reorder` percent of the packets go `jitter` later than those behind them; what
 * would wait longer than `queue` for its turn on the wire is dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX 9216
#define WAITING_MAX 65536       /* packets on their way */
#define TURN_MAX 64             /* packets taken from a device in one turn */
#define IDLE_NS 200000000u

struct packet {
    uint64_t at_ns, order;
    int to;                     /* descriptor */
    uint16_t len;
    unsigned char bytes[];
};

static struct { const char *name; double value; } settings[] = {
    { "delay", 0 }, { "jitter", 2 }, { "loss", 0 }, { "reorder", 0 }, { "dup", 0 }, { "rate", 0 },
    { "queue", 200 }, { "seed", 1 },
};
enum { DELAY, JITTER, LOSS, REORDER, DUP, RATE, QUEUE, SEED, SETTINGS };

static struct packet *heap[WAITING_MAX];
static size_t waiting;
static uint64_t free_at_ns[2];  /* when the wire of that direction is free */
static unsigned long carried, lost, dropped, reordered, doubled;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "shape: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int happens(int setting)
{
    return drand48() * 100 < settings[setting].value;
}

static uint64_t ms_ns(double ms)
{
    return (uint64_t)(ms * 1e6);
}

/* --- what is on its way, the next to arrive first -------------------------------------- */
static int is_before(const struct packet *a, const struct packet *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void swap(size_t i, size_t j)
{
    struct packet *p = heap[i];

    heap[i] = heap[j];
    heap[j] = p;
}

static void push(struct packet *p)
{
    size_t i = waiting++;

    heap[i] = p;
    for (; i && is_before(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static struct packet *pop(void)
{
    struct packet *first = heap[0];
    size_t i = 0, next;

    heap[0] = heap[--waiting];
    while ((next = 2 * i + 1) < waiting) {
        if (next + 1 < waiting && is_before(heap[next + 1], heap[next]))
            next++;
        if (!is_before(heap[next], heap[i]))
            break;
        swap(i, next);
        i = next;
    }
    return first;
}

/* --- one packet ------------------------------------------------------------------------ */
static void send_later(const unsigned char *bytes, size_t n, int to, uint64_t at_ns)
{
    static uint64_t order;
    struct packet *p = waiting < WAITING_MAX ? malloc(sizeof(*p) + n) : NULL;

    if (!p) {
        dropped++;
        return;
    }
    p->at_ns = at_ns;
    p->order = order++;
    p->to = to;
    p->len = (uint16_t)n;
    memcpy(p->bytes, bytes, n);
    push(p);
}

/* When it has left, one after the other; 0: the queue is full. */
static uint64_t leaves_at(int direction, size_t n, uint64_t now)
{
    uint64_t *free_at = &free_at_ns[direction], begins = *free_at > now ? *free_at : now;

    if (settings[RATE].value <= 0)
        return now;
    if (begins - now > ms_ns(settings[QUEUE].value))
        return 0;
    *free_at = begins + (uint64_t)((double)n * 8e6 / settings[RATE].value);
    return *free_at;
}

static void take(const unsigned char *bytes, size_t n, int direction, int to)
{
    uint64_t at = leaves_at(direction, n, now_ns());

    if (!at) {
        dropped++;
        return;
    }
    if (happens(LOSS)) {
        lost++;
        return;
    }
    at += ms_ns(settings[DELAY].value);
    if (happens(REORDER)) {
        at += ms_ns(settings[JITTER].value);
        reordered++;
    }
    carried++;
    send_later(bytes, n, to, at);
    if (happens(DUP)) {
        doubled++;
        send_later(bytes, n, to, at);
    }
}

/* --- devices ---------------------------------------------------------------------------- */
static int device(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        die(name);
    return fd;
}

static void enter(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || setns(fd, CLONE_NEWNET))
        die(path);
    close(fd);
}

static void read_device(int from, int direction, int to)
{
    unsigned char bytes[PACKET_MAX];

    for (int i = 0; i < TURN_MAX; i++) {
        ssize_t n = read(from, bytes, sizeof(bytes));

        if (n <= 0)
            return;
        take(bytes, (size_t)n, direction, to);
    }
}

/* What has arrived; how long until the next does. */
static struct timespec deliver(void)
{
    uint64_t now = now_ns(), left = IDLE_NS;

    while (waiting && heap[0]->at_ns <= now) {
        struct packet *p = pop();

        if (write(p->to, p->bytes, p->len) < 0)
            dropped++;          /* the device is down, or full */
        free(p);
    }
    if (waiting && heap[0]->at_ns - now < left)
        left = heap[0]->at_ns - now;
    return (struct timespec){ .tv_nsec = (long)left };
}

static void set(const char *argument)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t n = strlen(settings[i].name);

        if (!strncmp(argument, settings[i].name, n) && argument[n] == '=') {
            settings[i].value = strtod(argument + n + 1, NULL);
            return;
        }
    }
    errno = EINVAL;
    die(argument);
}

static void carry(int a, int b)
{
    struct pollfd fds[] = { { a, POLLIN, 0 }, { b, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

    for (;;) {
        struct timespec left = deliver();
        char line[128];
        ssize_t n;

        if (ppoll(fds, 3, &left, NULL) < 0 && errno != EINTR)
            die("poll");
        if (fds[0].revents)
            read_device(a, 0, b);
        if (fds[1].revents)
            read_device(b, 1, a);
        if (!fds[2].revents)
            continue;
        n = read(STDIN_FILENO, line, sizeof(line) - 1);
        if (n <= 0)
            return;
        line[n] = 0;            /* a setting, while it runs */
        line[strcspn(line, "\n")] = 0;
        set(line);
    }
}

int main(int argc, char **argv)
{
    int a, b;

    if (argc < 4) {
        fprintf(stderr, "usage: shape NAME_A NAME_B NETNS_B [SETTING=VALUE]...\n");
        return 2;
    }
    for (int i = 4; i < argc; i++)
        set(argv[i]);
    srand48((long)settings[SEED].value);
    a = device(argv[1]);
    enter(argv[3]);
    b = device(argv[2]);
    printf("ready\n");
    fflush(stdout);
    carry(a, b);
    printf("carried %lu lost %lu dropped %lu reordered %lu doubled %lu\n", carried, lost, dropped, reordered, doubled);
    return 0;
}
