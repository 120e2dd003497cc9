#include "dataplane/sync/control_fixture.h"
#include "dataplane/sync/source.h"
#include "lib/log/log.h"

struct world {
    struct loop *loop;
    struct plane *plane;
    struct member *member;
    struct control *control;
    struct freshness freshness;
    struct source *source;
    struct view *view;
    unsigned views, keysets;
    char dir[128];
    size_t compact_bytes;
};

static void on_view(void *user, struct view *v)
{
    struct world *w = user;

    if (w->view)
        view_unref(w->view);
    w->view = v;
    w->views++;
}

static void on_keyset(void *user, struct span text, uint64_t serial)
{
    struct world *w = user;

    assert_true(text.n > 0);
    assert_int_equal(serial, w->plane->keyset_serial);
    w->keysets++;
}

static void start(struct world *w)
{
    const struct control_config control = { .loop = w->loop, .url = w->plane->url, .member = w->member };
    char dir[128];
    struct source_config config = {
        .member = w->member, .freshness = &w->freshness, .dir = dir, .on_view = on_view, .on_keyset = on_keyset,
        .user = w, .compact_bytes = w->compact_bytes,
    };
    unsigned char memory[256];
    struct buf err;

    buf_init_fixed(&err, memory, sizeof(memory));
    snprintf(dir, sizeof(dir), "%s", w->dir);
    atomic_init(&w->freshness.heard_ms, 0);
    atomic_init(&w->freshness.max_ms, 3600000);
    assert_int_equal(control_new(&control, &w->control), 0);
    config.control = w->control;
    assert_int_equal(source_new(&config, &w->source, &err), 0);
    memset(dir, 'x', sizeof(dir) - 1);          /* it was copied */
}

static void stop(struct world *w)
{
    source_free(w->source);
    control_free(w->control);
    if (w->view)
        view_unref(TAKE(w->view));
    w->views = w->keysets = 0;
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof(*w));
    log_set_level(LOG_ERROR);
    assert_int_equal(loop_new(&w->loop), 0);
    w->plane = malloc(sizeof(*w->plane));
    plane_open(w->plane, w->loop);
    w->member = realm_member(&w->plane->realm, CERT_RELAY);
    snprintf(w->dir, sizeof(w->dir), "%s/state", w->plane->realm.dir);
}

static void world_close(struct world *w)
{
    member_free(w->member);
    plane_close(w->plane);
    free(w->plane);
    loop_free(w->loop);
}

static bool has_view(void *arg) { return ((struct world *)arg)->views > 0; }
static bool is_taken(void *arg) { return ((struct world *)arg)->plane->state.len == 0; }
static bool is_held(void *arg)
{
    const struct world *w = arg;

    for (size_t i = 0; i < w->plane->conn_count; i++) {
        if (w->plane->conns[i]->is_held)
            return true;
    }
    return false;
}

/* The question that waits is a new one. */
static bool has_asked(void *arg)
{
    return ((struct world *)arg)->plane->after[0] && is_held(arg);
}

static bool has_refused(void *arg)
{
    struct source_status status;

    source_status(((struct world *)arg)->source, &status);
    return status.refused > 0;
}

static const char *setting(const struct world *w, const char *name)
{
    static char text[64];

    if (!span_copy(policy_setting(w->view->policy, name), text, sizeof(text)))
        text[0] = 0;
    return text;
}

/* Snapshot 1 (a=1) is in force and the next question waits. */
static void bring_up(struct world *w)
{
    plane_put_head(w->plane, 1, 1, (int64_t)wall_ms());
    plane_put_change(w->plane, DOCUMENT_SNAPSHOT, 1, "a", "1");
    start(w);
    assert_true(loop_run_until(w->loop, has_view, w, 5000));
    assert_true(loop_run_until(w->loop, is_held, w, 5000));
    assert_string_equal(setting(w, "a"), "1");
}

static void test_first(void **state)
{
    struct source_status status;
    struct world w;

    (void)state;
    check_row("gets keys, then the state; keys alone are no view");
    world_open(&w);
    start(&w);
    assert_true(loop_run_until(w.loop, is_held, &w, 5000));
    assert_int_equal(w.views, 0);
    assert_int_equal(w.keysets, 1);
    assert_string_equal(w.plane->after, "0.0");
    source_status(w.source, &status);
    assert_true(status.has_keys && status.is_reachable && !status.is_from_disk);
    assert_true(status.age_ms == UINT64_MAX);

    plane_put_head(w.plane, 1, 1, (int64_t)wall_ms());
    plane_put_change(w.plane, DOCUMENT_SNAPSHOT, 1, "a", "1");
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, has_view, &w, 5000));
    assert_string_equal(setting(&w, "a"), "1");
    assert_int_equal(w.view->credential.count, 1);
    assert_int_equal(w.view->credential.keys[0][31], 7);
    source_status(w.source, &status);
    assert_int_equal(status.position.revision, 1);
    assert_true(status.age_ms < 5000);

    check_row("follows a delta");
    assert_true(loop_run_until(w.loop, is_held, &w, 5000));
    assert_string_equal(w.plane->after, "1.1");
    w.views = 0;
    plane_put_change(w.plane, DOCUMENT_DELTA, 2, "b", "2");
    plane_put_head(w.plane, 2, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, has_view, &w, 5000));
    assert_string_equal(setting(&w, "a"), "1");
    assert_string_equal(setting(&w, "b"), "2");
    stop(&w);
    world_close(&w);
}

/* --- what is refused leaves the last good state in force ------------------------------------------- */

static void put_gap(struct world *w)
{
    plane_put_change(w->plane, DOCUMENT_DELTA, 3, "a", "bad");
    plane_put_head(w->plane, 3, 1, (int64_t)wall_ms());
}

static void put_older_head(struct world *w)
{
    plane_put_head(w->plane, 0, 9, (int64_t)wall_ms());
}

static void put_foreign(struct world *w)
{
    struct key *mine = w->plane->signer;

    assert_int_equal(key_generate(&w->plane->signer), 0);
    plane_put_change(w->plane, DOCUMENT_DELTA, 2, "a", "bad");
    plane_put_head(w->plane, 2, 1, (int64_t)wall_ms());
    key_free(w->plane->signer);
    w->plane->signer = mine;
}

static void put_changed(struct world *w)
{
    char *at;

    plane_put_change(w->plane, DOCUMENT_DELTA, 2, "a", "bod");
    at = memmem(w->plane->state.data, w->plane->state.len, "bod", 3);
    at[1] = 'a';
}

static void put_cut(struct world *w)
{
    plane_put_change(w->plane, DOCUMENT_DELTA, 2, "a", "bad");
    w->plane->state.len -= 5;
}

static void put_garbage(struct world *w) { buf_put_str(&w->plane->state, "<html>\n"); }

static void test_refused(void **state)
{
    static const struct { const char *it; void (*put)(struct world *w); } rows[] = {
        { "refuses a gap", put_gap },
        { "refuses a head that is older", put_older_head },
        { "refuses another key", put_foreign },
        { "refuses bytes that were changed", put_changed },
        { "refuses half a document", put_cut },
        { "refuses what is no document", put_garbage },
    };

    (void)state;
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct source_status status;
        char digest[65];
        struct world w;

        check_row(rows[i].it);
        world_open(&w);
        bring_up(&w);
        w.views = 0;
        memcpy(digest, w.plane->digest, sizeof(digest));
        rows[i].put(&w);
        plane_publish(w.plane);
        assert_true(loop_run_until(w.loop, has_refused, &w, 5000));
        assert_true(loop_run_until(w.loop, is_taken, &w, 5000));
        assert_true(loop_run_until(w.loop, is_held, &w, 5000));
        assert_int_equal(w.views, 0);
        assert_string_equal(setting(&w, "a"), "1");
        source_status(w.source, &status);
        assert_int_equal(status.position.revision, 1);
        assert_true(status.last_error[0] != 0);

        memcpy(w.plane->digest, digest, sizeof(digest));
        plane_put_change(w.plane, DOCUMENT_DELTA, 2, "a", "good");
        plane_put_head(w.plane, 2, 1, (int64_t)wall_ms());
        plane_publish(w.plane);
        assert_true(loop_run_until(w.loop, has_view, &w, 5000));
        assert_string_equal(setting(&w, "a"), "good");
        stop(&w);
        world_close(&w);
    }
}

static bool asked_whole(void *arg)
{
    return strcmp(((struct world *)arg)->plane->after, "0.0") == 0 && is_held(arg);
}

static bool is_too_old(void *arg)
{
    struct source_status status;

    source_status(((struct world *)arg)->source, &status);
    return status.is_too_old;
}

/* A newer control plane: what is marked is skipped; what is not is refused, until a whole state
 * without it comes. */
static void test_newer(void **state)
{
    struct source_status status;
    struct world w;

    (void)state;
    check_row("skips records of a kind that is marked");
    world_open(&w);
    bring_up(&w);
    w.views = 0;
    plane_put_lines(w.plane, DOCUMENT_DELTA, 2, "+weather? 01J00000000000000000000001 {\"sky\":\"blue\"}\n"
                                                "+setting b {\"value\":\"2\"}\n");
    plane_put_head(w.plane, 2, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, has_view, &w, 5000));
    assert_string_equal(setting(&w, "b"), "2");
    source_status(w.source, &status);
    assert_int_equal(status.position.skipped, 1);
    assert_false(status.is_too_old);

    check_row("keeps what it has when it meets one that is not");
    assert_true(loop_run_until(w.loop, is_held, &w, 5000));
    w.views = 0;
    w.plane->after[0] = 0;
    plane_put_lines(w.plane, DOCUMENT_DELTA, 3, "+curfew 01J00000000000000000000001 {}\n+setting b {\"value\":\"3\"}\n");
    plane_put_head(w.plane, 3, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, is_too_old, &w, 5000));
    source_status(w.source, &status);
    assert_non_null(strstr(status.last_error, "the kind curfew is not known here"));
    assert_string_equal(setting(&w, "b"), "2");

    check_row("asks for the whole, and goes on when that is without it");
    assert_true(loop_run_until(w.loop, asked_whole, &w, 5000));
    plane_put_head(w.plane, 3, 2, (int64_t)wall_ms());
    plane_put_change(w.plane, DOCUMENT_SNAPSHOT, 3, "b", "3");
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, has_view, &w, 5000));
    assert_string_equal(setting(&w, "b"), "3");
    source_status(w.source, &status);
    assert_false(status.is_too_old);
    assert_int_equal(status.position.skipped, 0);
    stop(&w);
    world_close(&w);
}

static void test_disk(void **state)
{
    struct source_status status;
    struct world w;

    (void)state;
    check_row("serves from disk at once when the control plane is away, with users' keys");
    world_open(&w);
    bring_up(&w);
    w.views = 0;
    plane_put_change(w.plane, DOCUMENT_DELTA, 2, "b", "2");
    plane_put_head(w.plane, 2, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, has_view, &w, 5000));
    stop(&w);
    plane_leaves(w.plane);
    start(&w);
    assert_int_equal(w.views, 1);
    assert_string_equal(setting(&w, "a"), "1");
    assert_string_equal(setting(&w, "b"), "2");
    assert_int_equal(w.view->credential.count, 1);
    source_status(w.source, &status);
    assert_true(status.is_from_disk);
    assert_true(status.age_ms < 60000);

    check_row("goes on from there when it is back");
    plane_listen(w.plane, 0);
    stop(&w);
    w.plane->after[0] = 0;
    start(&w);
    assert_true(loop_run_until(w.loop, has_asked, &w, 5000));
    assert_string_equal(w.plane->after, "1.2");
    stop(&w);
    world_close(&w);
}

static void spoil_state(const struct world *w)
{
    char path[160];
    FILE *f;

    snprintf(path, sizeof(path), "%s/state", w->dir);
    f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, -20, SEEK_END);
    fputc('#', f);
    fclose(f);
}

static void test_disk_changed(void **state)
{
    struct world w;

    (void)state;
    check_row("takes nothing that was changed on disk, and asks for it anew");
    world_open(&w);
    bring_up(&w);
    stop(&w);
    spoil_state(&w);
    w.plane->after[0] = 0;
    start(&w);
    assert_int_equal(w.views, 0);
    assert_true(loop_run_until(w.loop, has_asked, &w, 5000));
    assert_string_equal(w.plane->after, "0.0");
    stop(&w);
    world_close(&w);
}

static void test_compacted(void **state)
{
    struct world w;

    (void)state;
    check_row("asks for a whole state when the deltas on disk are long, and keeps both parts of it");
    world_open(&w);
    w.compact_bytes = 100;
    bring_up(&w);
    plane_put_change(w.plane, DOCUMENT_DELTA, 2, "b", "2");
    plane_put_head(w.plane, 2, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, asked_whole, &w, 5000));

    snprintf(w.plane->digest, sizeof(w.plane->digest), "%s", STATE_DIGEST_NONE);
    {
        struct buf documents;

        plane_put_change(w.plane, DOCUMENT_SNAPSHOT, 1, "a", "1");
        plane_put_change(w.plane, DOCUMENT_DELTA, 2, "b", "2");
        documents = w.plane->state;
        buf_init_heap(&w.plane->state, 1 << 20);
        plane_put_head(w.plane, 2, 2, (int64_t)wall_ms());
        plane_put(w.plane, &documents);
    }
    plane_publish(w.plane);
    w.plane->after[0] = 0;
    assert_true(loop_run_until(w.loop, has_asked, &w, 5000));
    assert_string_equal(w.plane->after, "1.2");
    stop(&w);
    plane_leaves(w.plane);
    start(&w);
    assert_int_equal(w.views, 1);
    assert_string_equal(setting(&w, "a"), "1");
    assert_string_equal(setting(&w, "b"), "2");
    stop(&w);
    world_close(&w);
}

static void test_beats(void **state)
{
    struct world w;
    uint64_t heard_ms;

    (void)state;
    check_row("is as fresh as the newest beat, whatever repeats an old one");
    world_open(&w);
    bring_up(&w);
    heard_ms = atomic_load(&w.freshness.heard_ms);
    assert_true(heard_ms > 0);
    atomic_store(&w.freshness.heard_ms, 1);
    plane_put_head(w.plane, 1, 1, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, is_held, &w, 5000));
    assert_true(atomic_load(&w.freshness.heard_ms) == 1);
    plane_put_head(w.plane, 1, 2, (int64_t)wall_ms());
    plane_publish(w.plane);
    assert_true(loop_run_until(w.loop, is_held, &w, 5000));
    assert_true(atomic_load(&w.freshness.heard_ms) >= heard_ms);
    stop(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first), cmocka_unit_test(test_refused), cmocka_unit_test(test_newer), cmocka_unit_test(test_disk),
        cmocka_unit_test(test_disk_changed), cmocka_unit_test(test_compacted), cmocka_unit_test(test_beats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
