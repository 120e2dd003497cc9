#include "lib/mux/mux_pair_test.h"
/*
 * What a link says that it carried: bytes both ways, and how many of its streams were bulk.
 */
static struct mux_stream *taken[2];

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    (void)user;
    taken[open->uid[0]] = s;
    mux_stream_accept(s, &(struct mux_opened){ .boot_id = SPAN("b") });
}

static void write_bytes(struct mux_stream *s, size_t n)
{
    while (n) {
        size_t room;
        unsigned char *p = mux_stream_reserve(s, &room);

        assert_non_null(p);
        room = room < n ? room : n;
        memset(p, 'x', room);
        mux_stream_commit(s, room);
        n -= room;
    }
}

static struct mux_stream *open_one(struct pair *p, unsigned char uid)
{
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .uid = { uid } };
    struct mux_stream *s = NULL;

    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, NULL, p->now_ms, &s), 0);
    pair_settle(p);
    return s;
}

static void begin(struct pair *p)
{
    struct mux_handlers on = { .on_open = on_open };
    const struct mux_config config = { .memory_limit = 8 << 20, .random_seed = 1, .boot_id = "b" };

    pair_init(p, &config, on, 1);
    pair_greet(p);
}

static void measure(struct pair *p, int side, uint64_t bytes, uint32_t bulk)
{
    struct mux_load load;

    mux_link_measure(p->side[side].link, &load);
    assert_int_equal(load.bytes, bytes);
    assert_int_equal(load.bulk, bulk);
}

static void test_measure(void **state)
{
    static struct pair p;
    struct mux_stream *much, *little;

    (void)state;
    begin(&p);
    much = open_one(&p, 0);
    little = open_one(&p, 1);
    check_row("says nothing of nothing");
    measure(&p, 0, 0, 0);

    check_row("counts both ends alike, and the bulk ones");
    write_bytes(much, MUX_BULK_BYTES);
    write_bytes(little, MUX_BULK_BYTES - 1000);
    pair_settle(&p);
    measure(&p, 0, 2 * MUX_BULK_BYTES - 1000, 1);
    measure(&p, 1, 2 * MUX_BULK_BYTES - 1000, 1);
    assert_true(mux_stream_is_bulk(much));
    assert_false(mux_stream_is_bulk(little));
    assert_true(mux_stream_is_bulk(taken[0]));

    check_row("counts both ways, and begins anew");
    mux_stream_consume(taken[0], MUX_BULK_BYTES);
    write_bytes(taken[0], 10);
    write_bytes(much, 5);
    pair_settle(&p);
    measure(&p, 0, 15, 0);
    assert_false(mux_stream_is_bulk(much));

    check_row("forgets who was bulk two measures ago");
    write_bytes(little, MUX_BULK_BYTES);
    pair_settle(&p);
    measure(&p, 0, MUX_BULK_BYTES, 1);
    measure(&p, 0, 0, 0);
    assert_false(mux_stream_is_bulk(little));
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_measure) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
