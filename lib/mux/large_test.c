#include "lib/mux/mux_pair_test.h"
/*
 * DATA above 16,360 bytes, where both HELLOs offered it, and nowhere else.
 */
#define ALL 400000

static struct {
    struct mux_stream *s[2];
    size_t got;
} seen;

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    (void)user;
    (void)open;
    seen.s[1] = s;
    mux_stream_accept(s, &(struct mux_opened){ .boot_id = SPAN("b") });
}

static void on_readable(void *user, struct mux_stream *s)
{
    struct span span;

    (void)user;
    while (mux_stream_peek(s, &span, 1)) {
        for (size_t i = 0; i < span.n; i++)
            assert_int_equal((unsigned char)span.p[i], (seen.got + i) * 7 % 251);
        seen.got += span.n;
        mux_stream_consume(s, span.n);
    }
}

static void start(struct pair *p, bool is_large)
{
    const struct mux_handlers on = { .on_open = on_open, .on_readable = on_readable };
    const struct mux_config config = { .memory_limit = 8 << 20 };
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1 };

    memset(&seen, 0, sizeof(seen));
    pair_init(p, &config, on, 1);
    p->is_split = true;
    if (is_large)
        mux_link_large_data(p->side[0].link);
    pair_greet(p);
    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, NULL, p->now_ms, &seen.s[0]), 0);
}

static void say(struct pair *p)
{
    size_t said = 0, n;
    unsigned char *at;

    while (said < ALL) {
        while (said < ALL && (at = mux_stream_reserve(seen.s[0], &n))) {
            n = n < ALL - said ? n : ALL - said;
            for (size_t i = 0; i < n; i++)
                at[i] = (unsigned char)((said + i) * 7 % 251);
            mux_stream_commit(seen.s[0], n);
            said += n;
        }
        if (p->side[1].failed)
            return;
        pair_settle(p);
        p->now_ms += 60;
        (void)mux_link_tick(p->side[1].link, p->now_ms);
    }
    pair_settle(p);
}

static void test_large(void **state)
{
    static const struct { const char *it; bool here, there; uint64_t most; } rows[] = {
        { "is cut to 16,360 bytes where nobody offered more", false, false, UINT64_MAX },
        { "takes up to four times as much where both did", true, true, ALL / FRAME_DATA_MAX - 5 },
    };
    struct pair p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        start(&p, rows[i].here);
        if (rows[i].there)
            mux_link_large_data(p.side[1].link);
        pair_settle(&p);
        say(&p);
        assert_int_equal(seen.got, ALL);
        assert_int_equal(p.side[1].failed, 0);
        assert_in_range(mux_stats(p.side[0].mux)->frames_out[FRAME_DATA], ALL / FRAME_DATA_LARGE, rows[i].most);
        pair_deinit(&p);
    }
}

static void test_not_offered(void **state)
{
    struct pair p;

    (void)state;
    check_row("ends the link of a peer that was not asked to send so much");
    start(&p, true);
    pair_settle(&p);
    say(&p);
    assert_int_equal(p.side[1].failed, 1);
    assert_int_equal(p.side[1].why, REASON_PROTOCOL_ERROR);
    pair_deinit(&p);
}

static void test_header(void **state)
{
    static const struct { const char *it; uint8_t type; size_t data_max, length; int want; } rows[] = {
        { "takes the usual most", FRAME_DATA, FRAME_DATA_MAX, 16368, FRAME_E_PARTIAL },
        { "refuses a byte more", FRAME_DATA, FRAME_DATA_MAX, 16369, FRAME_E_LENGTH },
        { "takes the large most", FRAME_DATA, FRAME_DATA_LARGE, 65448, FRAME_E_PARTIAL },
        { "refuses a byte more than that", FRAME_DATA, FRAME_DATA_LARGE, 65449, FRAME_E_LENGTH },
        { "refuses another large frame", FRAME_DATAGRAM, FRAME_DATA_LARGE, 16369, FRAME_E_LENGTH },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char mem[FRAME_HEADER_LEN] = { rows[i].type, 0, (unsigned char)(rows[i].length >> 8),
                                                (unsigned char)rows[i].length, 0, 0, 0, 1 };
        struct frame f;

        check_row(rows[i].it);
        assert_int_equal(frame_read_upto(span_of(mem, sizeof(mem)), rows[i].data_max, &f), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_not_offered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
