#include "dataplane/sync/control_fixture.h"
#include "dataplane/sync/events.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

struct world {
    char dir[64];
    struct loop *loop;
    struct plane *plane;
    struct member *member;
    struct control *control;
    struct events *events;
    size_t want;
};

static void open_events(struct world *w)
{
    const struct control_config control = { .loop = w->loop, .url = w->plane->url, .member = w->member };
    struct events_config config = { .dir = w->dir, .spool_bytes = 64 << 20,
                                    .boot_id = { "01ARZ3NDEKTSV4RRFFQ69G5FAV" }, .refused_max = 3,
                                    .refused_ms = 50 };

    assert_int_equal(control_new(&control, &w->control), 0);
    config.control = w->control;
    assert_int_equal(events_new(&config, &w->events), 0);
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof(*w));
    log_set_level((enum log_level)-1);          /* refusals are what is tested here */
    assert_int_equal(loop_new(&w->loop), 0);
    w->plane = malloc(sizeof(*w->plane));
    plane_open(w->plane, w->loop);
    w->member = realm_member(&w->plane->realm, CERT_RELAY);
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-events-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    open_events(w);
}

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

static void world_close(struct world *w)
{
    events_free(w->events);
    control_free(w->control);
    member_free(w->member);
    plane_close(w->plane);
    free(w->plane);
    loop_free(w->loop);
    remove_dir(w->dir);
}

static void add(struct world *w, unsigned n)
{
    struct ulid id = random_ulid(1);
    char data[64];

    snprintf(data, sizeof(data), "{\"n\":%u}", n);
    events_add(w->events, "decision", &id, span_str(data));
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned n = 0;

    while ((text = strstr(text, word))) {
        text += strlen(word);
        n++;
    }
    return n;
}

static bool has_posted(void *arg)
{
    const struct world *w = arg;

    return w->plane->posted >= w->want;
}

static void wait_posts(struct world *w, unsigned posts)
{
    w->want = posts;
    assert_true(loop_run_until(w->loop, has_posted, w, 8000));
}

static bool is_all_delivered(void *arg)
{
    return events_waiting(((const struct world *)arg)->events) == 0;
}

static void wait_delivered(struct world *w)
{
    assert_true(loop_run_until(w->loop, is_all_delivered, w, 8000));
}

static bool never(void *arg) { return arg == NULL; }

static void test_sent(void **state)
{
    struct world w;
    char before[512];

    (void)state;
    check_row("sends what came together in one batch");
    world_open(&w);
    for (unsigned i = 0; i < 3; i++)
        add(&w, i);
    assert_int_equal(events_waiting(w.events), 3);
    wait_posts(&w, 1);
    assert_int_equal(count_of(w.plane->body, "\"type\":\"decision\""), 3);
    assert_non_null(strstr(w.plane->body, "\"boot_id\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\",\"data\":{\"n\":2}"));
    wait_delivered(&w);
    assert_int_equal(events_spooled_bytes(w.events), 0);

    check_row("sends the next when they come");
    add(&w, 7);
    wait_posts(&w, 2);
    assert_int_equal(count_of(w.plane->body, "\"type\""), 1);
    assert_non_null(strstr(w.plane->body, "{\"n\":7}"));

    check_row("sends the same again, by the same id, until it is taken");
    w.plane->status = 500;
    add(&w, 8);
    wait_posts(&w, 3);
    assert_true(span_copy(span_of(w.plane->body, w.plane->body_n), before, sizeof(before)));
    wait_posts(&w, 4);
    assert_string_equal(w.plane->body, before);
    w.plane->status = 204;
    wait_posts(&w, 5);
    assert_string_equal(w.plane->body, before);
    assert_false(loop_run_until(w.loop, never, &w, 400));
    assert_int_equal(w.plane->posted, 5);

    check_row("waits through a rate limit and while it is not let in, and goes on behind what is refused for good");
    w.plane->status = 429;
    add(&w, 9);
    wait_posts(&w, 6);
    w.plane->status = 403;
    wait_posts(&w, 7);
    w.plane->status = 400;
    wait_posts(&w, 8);
    assert_non_null(strstr(w.plane->body, "{\"n\":9}"));
    w.plane->status = 204;
    add(&w, 10);
    wait_posts(&w, 9);
    assert_null(strstr(w.plane->body, "{\"n\":9}"));
    assert_non_null(strstr(w.plane->body, "{\"n\":10}"));
    assert_int_equal(events_dropped(w.events), 1);
    world_close(&w);
}

static void test_batches(void **state)
{
    enum { EVENTS = 2 * EVENTS_BATCH_MAX + 5 };
    struct world w;

    (void)state;
    check_row("cuts batches, in order, and sends all");
    world_open(&w);
    for (unsigned i = 0; i < EVENTS; i++)
        add(&w, i);
    wait_posts(&w, 1);
    assert_int_equal(count_of(w.plane->body, "\"type\""), EVENTS_BATCH_MAX);
    assert_non_null(strstr(w.plane->body, "{\"n\":0}"));
    wait_posts(&w, 2);
    assert_int_equal(count_of(w.plane->body, "\"type\""), EVENTS_BATCH_MAX);
    wait_posts(&w, 3);
    assert_int_equal(count_of(w.plane->body, "\"type\""), 5);
    assert_non_null(strstr(w.plane->body, "{\"n\":2004}"));
    assert_int_equal(events_dropped(w.events), 0);
    world_close(&w);
}

static void test_bounds(void **state)
{
    enum { EVENTS = EVENTS_MAX + 1500, LARGE = EVENTS_DATA_MAX, MORE = EVENTS_BYTES_MAX / LARGE + 40 };
    struct ulid id = random_ulid(1);
    struct world w;
    char *large;

    (void)state;
    check_row("drops the oldest beyond so many, and counts them");
    world_open(&w);
    for (unsigned i = 0; i < EVENTS; i++)
        add(&w, i);
    assert_int_equal(events_waiting(w.events), EVENTS_MAX);
    assert_int_equal(events_dropped(w.events), 1500);
    wait_posts(&w, 1);
    assert_non_null(strstr(w.plane->body, "{\"n\":1500}"));
    assert_null(strstr(w.plane->body, "{\"n\":1499}"));
    world_close(&w);

    check_row("drops the oldest beyond so many bytes");
    world_open(&w);
    large = calloc(1, LARGE + 1);
    memset(large, ' ', LARGE + 1);
    for (unsigned i = 0; i < MORE; i++)
        events_add(w.events, "decision", &id, span_of(large, LARGE));
    assert_int_equal(events_waiting(w.events), EVENTS_BYTES_MAX / LARGE);
    assert_int_equal(events_dropped(w.events), 40);

    check_row("drops one that is too long");
    events_add(w.events, "decision", &id, span_of(large, LARGE + 1));
    assert_int_equal(events_waiting(w.events), EVENTS_BYTES_MAX / LARGE);
    assert_int_equal(events_dropped(w.events), 41);
    free(large);
    world_close(&w);
}

static void test_refused(void **state)
{
    const struct addr here = addr_v4(192, 0, 2, 7);
    struct world w;

    (void)state;
    check_row("tells of refusals in sum, a while after the first");
    world_open(&w);
    for (unsigned i = 0; i < 10; i++)
        events_refused(w.events, "http", i < 9 ? REASON_BAD_REQUEST : REASON_TOO_LARGE, NULL, &here);
    assert_int_equal(events_waiting(w.events), 0);
    wait_posts(&w, 1);
    assert_int_equal(count_of(w.plane->body, "\"type\":\"refused\""), 2);
    assert_non_null(strstr(w.plane->body, "\"count\":9"));
    events_refused(w.events, "http", REASON_BAD_REQUEST, NULL, &here);
    wait_posts(&w, 2);
    wait_delivered(&w);

    check_row("tells of them at once when the relay stops");
    events_refused(w.events, "tunnel", REASON_LOCKED, NULL, &here);
    events_tell_refused(w.events);
    assert_int_equal(events_waiting(w.events), 1);
    world_close(&w);
}

static void test_streams(void **state)
{
    struct ulid id = random_ulid(1), other = random_ulid(1);
    struct world w;

    (void)state;
    check_row("makes one event of a stream's beginning and its end");
    world_open(&w);
    events_stream_opened(w.events, &id, SPAN("{\"a\":1}"));
    assert_true(events_stream_passed(w.events, &id, SPAN("{\"b\":2,\"c\":3}")));
    assert_int_equal(events_waiting(w.events), 1);
    check_row("joins them once");
    assert_false(events_stream_passed(w.events, &id, SPAN("{\"b\":2}")));
    check_row("joins no other stream's");
    events_stream_opened(w.events, &id, SPAN("{\"d\":4}"));
    assert_false(events_stream_passed(w.events, &other, SPAN("{\"b\":2}")));
    wait_posts(&w, 1);
    assert_int_equal(count_of(w.plane->body, "\"type\""), 2);
    assert_non_null(strstr(w.plane->body, "\"type\":\"stream.passed\""));
    assert_non_null(strstr(w.plane->body, "\"data\":{\"a\":1,\"b\":2,\"c\":3}"));
    assert_non_null(strstr(w.plane->body, "\"type\":\"stream.opened\""));
    check_row("does not join what is on its way");
    assert_false(events_stream_passed(w.events, &id, SPAN("{\"b\":2}")));
    world_close(&w);
}

/* Far more streams than are remembered as young: whatever is joined is whole. */
static void test_many_streams(void **state)
{
    enum { STREAMS = 5000 };
    struct ulid *ids = calloc(STREAMS, sizeof(*ids));
    size_t joined = 0;
    struct world w;

    (void)state;
    check_row("joins those it remembers, and tells of the others that it does not");
    world_open(&w);
    for (size_t i = 0; i < STREAMS; i++) {
        ids[i] = random_ulid(1);
        events_stream_opened(w.events, &ids[i], SPAN("{\"a\":1}"));
    }
    for (size_t i = 0; i < STREAMS; i++)
        joined += events_stream_passed(w.events, &ids[i], SPAN("{\"b\":2}"));
    assert_true(joined > 0 && joined < STREAMS);
    assert_int_equal(events_waiting(w.events), STREAMS);
    check_row("joins none that was dropped");
    events_stream_opened(w.events, &ids[0], SPAN("{\"a\":1}"));
    for (size_t i = 0; i < EVENTS_MAX; i++)
        add(&w, 1);
    assert_false(events_stream_passed(w.events, &ids[0], SPAN("{\"b\":2}")));
    world_close(&w);
    free(ids);
}

static void *add_many(void *arg)
{
    for (unsigned i = 0; i < 500; i++)
        add(arg, i);
    return NULL;
}

static bool are_all_sent(void *arg)
{
    struct world *w = arg;
    static unsigned posted;

    if (w->plane->posted != posted) {
        posted = w->plane->posted;
        w->want += count_of(w->plane->body, "\"type\"");
    }
    return w->want >= 2000;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    struct world w;

    (void)state;
    check_row("takes events from several threads while it sends");
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &w), 0);
    assert_true(loop_run_until(w.loop, are_all_sent, &w, 10000));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    wait_delivered(&w);
    assert_int_equal(w.want, 2000);
    assert_int_equal(events_dropped(w.events), 0);
    world_close(&w);
}

static void reopen(struct world *w)
{
    events_free(w->events);
    control_free(w->control);
    open_events(w);
}

static void test_restart(void **state)
{
    struct world w;

    (void)state;
    check_row("sends after a restart what was not delivered, and what nobody had written down at a stop");
    world_open(&w);
    w.plane->status = 500;
    add(&w, 1);
    wait_posts(&w, 1);
    add(&w, 2);
    assert_false(loop_run_until(w.loop, never, &w, 1));     /* the post of it is run */
    reopen(&w);
    assert_int_equal(events_waiting(w.events), 2);
    w.plane->status = 204;
    add(&w, 3);
    wait_delivered(&w);
    assert_non_null(strstr(w.plane->body, "{\"n\":3}"));

    check_row("sends nothing twice that was delivered");
    w.want = w.plane->posted;
    reopen(&w);
    assert_int_equal(events_waiting(w.events), 0);
    assert_false(loop_run_until(w.loop, never, &w, 100));
    assert_int_equal(w.plane->posted, w.want);
    world_close(&w);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full(void **state)
{
    struct world w;

    (void)state;
    check_row("sends from memory while the disk is full");
    signal(SIGXFSZ, SIG_IGN);
    world_open(&w);
    limit_files(0);
    w.plane->status = 500;
    add(&w, 1);
    wait_posts(&w, 1);
    add(&w, 2);
    assert_int_equal(events_spooled_bytes(w.events), 0);
    w.plane->status = 204;
    wait_delivered(&w);
    assert_non_null(strstr(w.plane->body, "{\"n\":2}"));
    assert_int_equal(events_dropped(w.events), 0);

    check_row("keeps them on disk when there is room again");
    w.plane->status = 500;
    add(&w, 3);
    wait_posts(&w, w.plane->posted + 1);
    limit_files(RLIM_INFINITY);
    reopen(&w);
    assert_int_equal(events_waiting(w.events), 1);
    w.plane->status = 204;
    wait_delivered(&w);
    assert_non_null(strstr(w.plane->body, "{\"n\":3}"));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent), cmocka_unit_test(test_batches), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_streams), cmocka_unit_test(test_many_streams),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
