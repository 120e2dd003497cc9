/*
 * load - the users of bench/tunnel/run.py: blocking threads that go through a door to target.
 *
 *   load DOOR PORT TARGET_PORT USER bulk down|up STREAMS SECONDS
 *                                   short AT_ONCE SECONDS       a connection, 1 KiB each way, close
 *                                   ping alone|beside SECONDS   64 bytes there and back
 *                                   hold STREAMS                open, one byte each way, idle
 *                                   crowd STREAMS STALLED SECONDS   64 bytes there and back on each
 *                                       stream in turn, while so many others download and are not read
 *
 * DOOR is tcp, connect or socks on 127.0.0.1; connect and socks ask for 127.0.0.1:TARGET_PORT,
 * as USER with the secret in the variable LOAD_SECRET.
 * Says "begin" when the window of measurement opens, "end {JSON}" when it closes, and then
 * keeps what is open until its input ends.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (256 * 1024)
#define THREADS_MAX 64
#define TIMES_MAX (1u << 20)
#define SHORT_BYTES 1024
#define PING_BYTES 64
#define WARM_S 0.4
#define PATIENCE_S 8

static struct {
    char kind;                  /* t, c, s */
    uint16_t port, target;
    const char *user;
    unsigned char ask[1024];    /* connect: the head; socks: the login */
    size_t ask_len;
} door;

static atomic_bool is_over, is_measuring;
static atomic_ullong bytes, errors;
static atomic_uint opened;

struct times {
    float *us;
    size_t n;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wait_s(double seconds)
{
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

    nanosleep(&t, NULL);
}

/* --- sockets ------------------------------------------------------------------------- */
static bool send_all(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n) {
        ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

        if (r <= 0)
            return false;
        at += r;
        n -= (size_t)r;
    }
    return true;
}

static bool receive_all(int fd, void *p, size_t n)
{
    char *at = p;

    while (n) {
        ssize_t r = recv(fd, at, n, 0);

        if (r <= 0)
            return false;
        at += r;
        n -= (size_t)r;
    }
    return true;
}

static int dial_port(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct timeval patience = { .tv_sec = PATIENCE_S };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* --- doors --------------------------------------------------------------------------- */
static bool enter_connect(int fd)
{
    char answer[2048];
    size_t n = 0;

    if (!send_all(fd, door.ask, door.ask_len))
        return false;
    while (n < 4 || memcmp(answer + n - 4, "\r\n\r\n", 4)) {    /* the target never speaks first */
        ssize_t r = recv(fd, answer + n, sizeof(answer) - n, 0);

        if (r <= 0)
            return false;
        n += (size_t)r;
    }
    return memcmp(answer, "HTTP/1.1 200", 12) == 0;
}

static bool enter_socks(int fd)
{
    unsigned char ask[10] = { 5, 1, 0, 1, 127, 0, 0, 1, door.target >> 8, door.target & 255 };
    unsigned char answer[10];

    return send_all(fd, "\5\1\2", 3) && receive_all(fd, answer, 2) && answer[1] == 2 &&
           send_all(fd, door.ask, door.ask_len) && receive_all(fd, answer, 2) && !answer[1] &&
           send_all(fd, ask, sizeof(ask)) && receive_all(fd, answer, 10) && !answer[1];
}

static int dial(void)
{
    int fd = dial_port(door.port);

    if (fd < 0 || door.kind == 't' || (door.kind == 'c' ? enter_connect(fd) : enter_socks(fd)))
        return fd;
    close(fd);
    return -1;
}

static void put_base64(char *dst, const unsigned char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);

        *dst++ = digits[v >> 18];
        *dst++ = digits[v >> 12 & 63];
        *dst++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *dst++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *dst = 0;
}

static void prepare_door(const char *kind)
{
    const char *secret = getenv("LOAD_SECRET") ? getenv("LOAD_SECRET") : "";
    char login[300], encoded[500], *ask = (char *)door.ask;
    int n = snprintf(login, sizeof(login), "%s:%s", door.user, secret);

    door.kind = kind[0];
    if (n < 0 || (size_t)n >= sizeof(login))
        exit(2);
    put_base64(encoded, (unsigned char *)login, (size_t)n);
    if (door.kind == 'c')
        n = snprintf(ask, sizeof(door.ask),
                     "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                     "Proxy-Authorization: Basic %s\r\n\r\n",
                     door.target, door.target, encoded);
    else
        n = snprintf(ask, sizeof(door.ask), "\1%c%s%c%s", (char)strlen(door.user), door.user,
                     (char)strlen(secret), secret);
    door.ask_len = (size_t)n;
}

/* --- figures ------------------------------------------------------------------------- */
static void say(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void begin(void)
{
    atomic_store(&is_measuring, true);
    say("begin\n");
}

/* The caller reads what it wants of us while all is still open. */
static void linger(void)
{
    char c;

    while (read(0, &c, 1) > 0)
        ;
    _exit(0);
}

static void note(struct times *t, double started)
{
    if (t->n < TIMES_MAX && atomic_load(&is_measuring) && !atomic_load(&is_over))
        t->us[t->n++] = (float)((now() - started) * 1e6);
}

static void times_init(struct times *t)
{
    t->n = 0;
    t->us = malloc(TIMES_MAX * sizeof(float));
    if (!t->us)
        exit(1);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static double part(const struct times *t, double share)
{
    return t->n ? (double)t->us[(size_t)((double)(t->n - 1) * share)] : -1;
}

static uint64_t dropped_by_target(void)
{
    uint64_t n = 0;
    int fd = dial_port(door.target);

    if (fd < 0 || !send_all(fd, "C", 1) || !receive_all(fd, &n, sizeof(n)))
        atomic_fetch_add(&errors, 1);
    close(fd);
    return n;
}

/* --- bulk ---------------------------------------------------------------------------- */
static void *stream_bytes(void *is_up)
{
    char *block = calloc(1, BLOCK);
    int fd = dial();

    if (!block || fd < 0 || !send_all(fd, is_up ? "D" : "S", 1)) {
        atomic_fetch_add(&errors, 1);
        return NULL;
    }
    atomic_fetch_add(&opened, 1);
    for (;;) {
        ssize_t n = is_up ? send(fd, block, BLOCK / 2, MSG_NOSIGNAL) : recv(fd, block, BLOCK, 0);

        if (n <= 0) {
            atomic_fetch_add(&errors, 1);
            return NULL;
        }
        atomic_fetch_add(&bytes, (unsigned long long)n);
    }
}

static void start_bulk(bool is_up, unsigned streams)
{
    pthread_t t;

    for (unsigned i = 0; i < streams; i++)
        pthread_create(&t, NULL, stream_bytes, is_up ? &door : NULL);
    for (double until = now() + PATIENCE_S;
         now() < until && atomic_load(&opened) + atomic_load(&errors) < streams;)
        wait_s(0.002);
    wait_s(WARM_S);
}

static void bulk(bool is_up, unsigned streams, double seconds)
{
    char text[200];
    uint64_t before, after;
    double started;

    start_bulk(is_up, streams);
    begin();
    before = is_up ? dropped_by_target() : atomic_load(&bytes);
    started = now();
    wait_s(seconds);
    after = is_up ? dropped_by_target() : atomic_load(&bytes);
    snprintf(text, sizeof(text), "end {\"bytes\":%llu,\"mb_s\":%.2f,\"errors\":%llu}\n",
             (unsigned long long)(after - before),
             (double)(after - before) / (now() - started) / 1e6, atomic_load(&errors));
    say(text);
    linger();
}

/* --- short --------------------------------------------------------------------------- */
static bool exchange_once(const char *request)
{
    char answer[SHORT_BYTES];
    int fd = dial();
    bool ok = fd >= 0 && send_all(fd, request, SHORT_BYTES + 1) &&
              receive_all(fd, answer, SHORT_BYTES);

    if (fd >= 0)
        close(fd);
    return ok;
}

static void *visit(void *arg)
{
    char request[SHORT_BYTES + 1] = { 'E' };

    while (!atomic_load(&is_over)) {
        double started = now();

        if (exchange_once(request)) {
            note(arg, started);
        } else if (!atomic_load(&is_over)) {
            atomic_fetch_add(&errors, 1);
            wait_s(0.002);
        }
    }
    return NULL;
}

static void visits(unsigned at_once, double seconds)
{
    static struct times each[THREADS_MAX];
    struct times all;
    pthread_t threads[THREADS_MAX];
    char text[300];

    if (at_once > THREADS_MAX)
        exit(2);
    for (unsigned i = 0; i < at_once; i++)
        times_init(&each[i]);
    times_init(&all);
    for (unsigned i = 0; i < at_once; i++)
        pthread_create(&threads[i], NULL, visit, &each[i]);
    wait_s(WARM_S);
    begin();
    wait_s(seconds);
    atomic_store(&is_over, true);
    say("end ");
    for (unsigned i = 0; i < at_once; i++) {
        pthread_join(threads[i], NULL);
        for (size_t k = 0; k < each[i].n && all.n < TIMES_MAX; k++)
            all.us[all.n++] = each[i].us[k];
    }
    qsort(all.us, all.n, sizeof(float), by_value);
    snprintf(text, sizeof(text),
             "{\"count\":%zu,\"per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":%llu}\n",
             all.n, (double)all.n / seconds, part(&all, .5), part(&all, .99),
             atomic_load(&errors));
    say(text);
    linger();
}

/* --- ping ---------------------------------------------------------------------------- */
static void ping(bool is_beside, double seconds)
{
    char message[PING_BYTES] = { 0 }, text[300];
    struct times t = { 0 };
    uint64_t before;
    double started;
    int fd = dial();
    bool ok = fd >= 0 && send_all(fd, "E", 1);

    times_init(&t);
    if (is_beside)
        start_bulk(false, 1);
    for (int i = 0; i < 50; i++)
        ok = ok && send_all(fd, message, PING_BYTES) && receive_all(fd, message, PING_BYTES);
    begin();
    before = atomic_load(&bytes);
    started = now();
    while (ok && now() - started < seconds) {
        double at = now();

        ok = send_all(fd, message, PING_BYTES) && receive_all(fd, message, PING_BYTES);
        note(&t, at);
    }
    qsort(t.us, t.n, sizeof(float), by_value);
    snprintf(text, sizeof(text),
             "end {\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"mb_s\":%.1f,\"errors\":%llu}\n",
             t.n, part(&t, .5), part(&t, .99),
             (double)(atomic_load(&bytes) - before) / (now() - started) / 1e6,
             atomic_load(&errors) + !ok);
    say(text);
    linger();
}

/* --- hold ---------------------------------------------------------------------------- */
static atomic_int left;

static void *hold_some(void *arg)
{
    (void)arg;
    while (atomic_fetch_sub(&left, 1) > 0) {
        char byte;
        int fd = dial();

        if (fd >= 0 && send_all(fd, "Ex", 2) && receive_all(fd, &byte, 1))
            atomic_fetch_add(&opened, 1);
        else
            atomic_fetch_add(&errors, 1);
    }
    return NULL;
}

static void hold(int streams)
{
    pthread_t threads[8];
    char text[100];

    atomic_store(&left, streams);
    for (size_t i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, hold_some, NULL);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    begin();
    snprintf(text, sizeof(text), "end {\"count\":%u,\"errors\":%llu}\n", atomic_load(&opened),
             atomic_load(&errors));
    say(text);
    linger();
}

/* --- crowd --------------------------------------------------------------------------- */
#define CROWD_MAX 4096
#define CROWD_PER_S 1000        /* messages, over all streams */

static struct pinger {
    int fd;
    size_t got;                 /* of the answer that is under way */
    double asked;               /* 0: none is */
} crowd_of[CROWD_MAX];

/* One thread dials: the other streams' own traffic is what is measured. */
static void crowd_dial(int poller, unsigned streams, unsigned stalled)
{
    for (unsigned i = 0; i < streams; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &crowd_of[i] };

        crowd_of[i].fd = dial();
        if (crowd_of[i].fd < 0 || !send_all(crowd_of[i].fd, "E", 1) ||
            epoll_ctl(poller, EPOLL_CTL_ADD, crowd_of[i].fd, &e))
            atomic_fetch_add(&errors, 1);
    }
    for (unsigned i = 0; i < stalled; i++) {
        int fd = dial();

        if (fd < 0 || !send_all(fd, "S", 1))
            atomic_fetch_add(&errors, 1);
    }
    wait_s(2 * WARM_S);             /* what stands still has filled what it may */
}

static void crowd_take(struct pinger *p, struct times *t)
{
    char answer[PING_BYTES];
    ssize_t n = recv(p->fd, answer, sizeof(answer), MSG_DONTWAIT);

    if (n == 0)
        atomic_fetch_add(&errors, 1);
    p->got += n > 0 ? (size_t)n : 0;
    if (p->got < PING_BYTES)
        return;
    note(t, p->asked);
    p->got = 0;
    p->asked = 0;
}

static void crowd_ask(struct pinger *p)
{
    static const char message[PING_BYTES];

    if (p->asked > 0)
        return;                     /* its answer is late: that is measured when it comes */
    p->asked = now();
    if (send(p->fd, message, PING_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) != PING_BYTES)
        atomic_fetch_add(&errors, 1);
}

static void crowd_run(int poller, unsigned streams, double until, struct times *t)
{
    double due = now();

    for (unsigned i = 0; now() < until;) {
        struct epoll_event events[64];
        int n = epoll_wait(poller, events, 64, now() < due ? 1 : 0);

        for (int k = 0; k < n; k++)
            crowd_take(events[k].data.ptr, t);
        for (; due <= now(); due += 1.0 / CROWD_PER_S, i++)
            crowd_ask(&crowd_of[i % streams]);
    }
}

static void crowd(unsigned streams, unsigned stalled, double seconds)
{
    int poller = epoll_create1(0);
    struct times t;
    char text[200];

    if (streams > CROWD_MAX || poller < 0)
        exit(2);
    times_init(&t);
    crowd_dial(poller, streams, stalled);
    crowd_run(poller, streams, now() + WARM_S, &t);
    begin();
    crowd_run(poller, streams, now() + seconds, &t);
    qsort(t.us, t.n, sizeof(float), by_value);
    snprintf(text, sizeof(text), "end {\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":%llu}\n",
             t.n, part(&t, .5), part(&t, .99), atomic_load(&errors));
    say(text);
    linger();
}

static double number(const char *text)
{
    return strtod(text, NULL);
}

int main(int argc, char **argv)
{
    struct rlimit files;

    if (argc < 7)
        return 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    door.port = (uint16_t)number(argv[2]);
    door.target = (uint16_t)number(argv[3]);
    door.user = argv[4];
    prepare_door(argv[1]);
    if (!strcmp(argv[5], "bulk") && argc == 9)
        bulk(!strcmp(argv[6], "up"), (unsigned)number(argv[7]), number(argv[8]));
    if (!strcmp(argv[5], "short") && argc == 8)
        visits((unsigned)number(argv[6]), number(argv[7]));
    if (!strcmp(argv[5], "ping") && argc == 8)
        ping(!strcmp(argv[6], "beside"), number(argv[7]));
    if (!strcmp(argv[5], "crowd") && argc == 9)
        crowd((unsigned)number(argv[6]), (unsigned)number(argv[7]), number(argv[8]));
    if (!strcmp(argv[5], "hold"))
        hold((int)number(argv[6]));
    return 2;
}
