#include "controlplane/routes/zone.h"
#include "lib/base/buf.h"
#include "lib/check/check.h"

/* A file made by hand: UTC+1, and UTC+2 between 1000 and 2000 and from 3000 on. */
static void make_file(struct buf *b)
{
    static const uint32_t v1[6] = { 0, 0, 0, 0, 1, 1 }, v2[6] = { 0, 0, 0, 3, 2, 4 };
    static const int64_t times[] = { 1000, 2000, 3000 };

    buf_put_str(b, "TZif2");
    buf_put(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    for (size_t i = 0; i < 6; i++)
        buf_put_u32(b, v1[i]);
    buf_put(b, "\0\0\0\0\0\0\0", 7);            /* one type, one character */
    buf_put_str(b, "TZif2");
    buf_put(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    for (size_t i = 0; i < 6; i++)
        buf_put_u32(b, v2[i]);
    for (size_t i = 0; i < 3; i++)
        buf_put_u64(b, (uint64_t)times[i]);
    buf_put(b, "\1\0\1", 3);
    buf_put_u32(b, 3600);
    buf_put(b, "\0\0", 2);
    buf_put_u32(b, 7200);
    buf_put(b, "\1\0", 2);
    buf_put(b, "ABC\0", 4);
}

static void test_hand_made(void **state)
{
    static const struct {
        const char *it;
        int64_t from_s, to_s;
        size_t count;
        struct zone_offset offsets[4];
    } rows[] = {
        { "begins with the first offset", 0, 500, 1, { { 0, 3600 } } },
        { "takes changes within", 500, 2500, 3, { { 500, 3600 }, { 1000, 7200 }, { 2000, 3600 } } },
        { "begins amid a summer", 1500, 2500, 2, { { 1500, 7200 }, { 2000, 3600 } } },
        { "stays with the last", 9000, 9999, 1, { { 9000, 7200 } } },
    };
    AUTO(buf_deinit) struct buf file;

    (void)state;
    buf_init_heap(&file, 4096);
    make_file(&file);
    assert_int_equal(buf_error(&file), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct zone_offset *offsets;
        size_t count;

        check_row(rows[i].it);
        assert_int_equal(
            zone_offsets_of(buf_span(&file), rows[i].from_s, rows[i].to_s, &offsets, &count), 0);
        assert_int_equal(count, rows[i].count);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(offsets[k].from_s, rows[i].offsets[k].from_s);
            assert_int_equal(offsets[k].offset_s, rows[i].offsets[k].offset_s);
        }
        free(offsets);
    }
    check_row(NULL);
}

static void test_every_cut_is_refused(void **state)
{
    AUTO(buf_deinit) struct buf file;
    struct zone_offset *offsets;
    size_t count;

    (void)state;
    buf_init_heap(&file, 4096);
    make_file(&file);
    for (size_t n = 0; n + 4 < file.len; n++)   /* the names at the end are not read */
        assert_int_not_equal(
            zone_offsets_of(span_first(buf_span(&file), n), 0, 9999, &offsets, &count), 0);
}

static void test_no_such_zone(void **state)
{
    struct zone_offset *offsets;
    size_t count;

    (void)state;
    assert_int_equal(zone_offsets(SPAN("Nowhere/Never"), 0, 1, &offsets, &count), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand_made),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_no_such_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
